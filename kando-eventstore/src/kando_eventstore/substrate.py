"""Many ledgers in an EventStoreDB or KurrentDB server or cluster."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import sha256

from kando.errors import LedgerDeleted, LedgerInUse, StoreError
from kando.ledger.checks import check_fork_position, has_branches
from kando.ledger.claims import Claim, Slot, Worker, calls_lane
from kando.ledger.groups import check_group
from kando.ledger.inbox import InboxEntry
from kando.ledger.substrate import LedgerInfo, Substrate, check_ledger_id
from kando.schema.events import RecordedEvent
from kando_eventstore._claims import Claims, claim_stream
from kando_eventstore._connection import Connection
from kando_eventstore._inbox import Inbox, inbox_stream
from kando_eventstore._index import Index, IndexEntry
from kando_eventstore._slots import Slots
from kando_eventstore._snapshots import Snapshots, snapshot_stream
from kando_eventstore._streams import DELETED, DELETING, NO_EVENTS, NewEvent, Streams
from kando_eventstore.groups import EventStoreGroup, group_names
from kando_eventstore.ledger import EventStoreLedger, Segment

__all__ = ["EventStoreSubstrate", "open_eventstore"]

_CACHED = "cache.stored"
_CACHED_ELSEWHERE = "cache.stored.elsewhere"

# Larger responses are stored in chunks.
_INLINE_BYTES = 400_000

_INBOXES = 100

# Names the stream of a cached response.
_CACHES = "cache.named"

# A deletion was given up.
_KEPT = "ledger.kept"


def open_eventstore(url: str, *, read_only: bool = False) -> EventStoreSubstrate:
    """Open a server or cluster; nothing is sent to it yet.

    Args:
        url: ``http://HOST:2113``, ``https://USER:PASSWORD@HOST:2113``, or a connection string
            ``esdb://`` or ``kurrentdb://``.
        read_only: write nothing.

    Raises:
        ConfigurationError: the URL is malformed.
        StoreError: no client is installed.
    """
    return EventStoreSubstrate(Connection(url), read_only=read_only)


class EventStoreSubstrate(Substrate):
    """Ledgers in the streams of a server; it may be used from several threads.

    A run lives in the stream ``run:{id}``, a branch in ``branch:{id}``: position 0 of a run is
    revision 0 of its stream. The stream ``ledger:{id}`` records which of them owns an id.

    Args:
        connection: to the server.
        read_only: write nothing.
    """

    def __init__(self, connection: Connection, *, read_only: bool = False) -> None:
        self.connection = connection
        self.is_read_only = read_only
        self._streams = Streams(connection)
        self._index = Index(self._streams)
        self._snapshots = Snapshots(self._streams)
        self._claims = Claims(self._streams)
        self._slots = Slots(self._streams)
        self._inboxes: OrderedDict[str, Inbox] = OrderedDict()

    def create(self, ledger_id: str) -> EventStoreLedger:
        self._refuse_if_read_only()
        return self._ledger([self._index.create(check_ledger_id(ledger_id))])

    def open(self, ledger_id: str) -> EventStoreLedger:
        # It may have been deleted since its entry was read.
        self._index.forget(ledger_id)
        return self._ledger(self._index.ancestry(ledger_id))

    def fork(self, parent_id: str, position: int, branch_id: str) -> EventStoreLedger:
        return self.fork_with(parent_id, position, branch_id, ())

    def fork_with(
        self, parent_id: str, position: int, branch_id: str, events: Sequence[RecordedEvent]
    ) -> EventStoreLedger:
        self._refuse_if_read_only()
        ancestry = self._index.ancestry(parent_id)
        parent = self._ledger(ancestry)
        check_fork_position(parent.stream_name(), position, parent.length())

        # The tail is written before the branch is claimed, so a branch that exists is complete.
        def begin(entry: IndexEntry) -> bool:
            return not events or self._ledger([entry, *ancestry]).append_first(events)

        entry = self._index.create(check_ledger_id(branch_id), parent_id, position, begin)
        try:
            # A deletion looks for branches after it has begun, so one of the two sees the other.
            self._index.refuse_deletion(parent_id)
        except LedgerDeleted:
            self.delete(branch_id)
            raise
        return self._ledger([entry, *ancestry])

    def _ledger(self, ancestry: list[IndexEntry]) -> EventStoreLedger:
        segments: list[Segment] = []
        stop: int | None = None
        for entry in ancestry:
            # A fork within the events that its parent shares has none of the parent's own.
            if stop is None or stop > entry.fork_position:
                segments.append(Segment(entry.stream, entry.fork_position, stop))
            stop = entry.fork_position if stop is None else min(stop, entry.fork_position)
        return EventStoreLedger(self._streams, segments[::-1], is_read_only=self.is_read_only)

    def info(self, ledger_id: str) -> LedgerInfo:
        return self._described(self._index.entry(ledger_id))

    def _described(self, entry: IndexEntry) -> LedgerInfo:
        last = self._streams.last(entry.stream)
        length = entry.fork_position + (last.revision + 1 if last is not None else 0)
        shared = entry.fork_position if entry.parent is not None else None
        return LedgerInfo(entry.id, entry.created_at, length, entry.parent, shared)

    def ledgers(self) -> Iterator[LedgerInfo]:
        for entry in self._index.newest_first():
            try:
                yield self._described(entry)
            except LedgerDeleted:
                # Since its entry was read.
                self._index.forget(entry.id)

    def ids_starting_with(self, prefix: str, limit: int) -> list[str]:
        return self._index.ids_starting_with(prefix, limit)

    def delete(self, ledger_id: str) -> None:
        """Delete a ledger; see `kando.ledger.substrate.Substrate.delete`.

        The server has no transactions over several streams: a deletion that is interrupted leaves a
        ledger that can be deleted again, until its events are gone. Its long texts and files stay, since
        writers of other ledgers may rely on them at any moment.
        """
        self._refuse_if_read_only()
        self._index.forget(ledger_id)
        stream = self._index.entry(ledger_id).stream
        self._refuse_branches(ledger_id)
        self._index.mark(ledger_id, DELETING)
        try:
            self._refuse_branches(ledger_id)
        except LedgerInUse:
            self._index.mark(ledger_id, _KEPT)
            raise
        caches = _caches_stream(ledger_id)
        for named in self._streams.forwards(caches):
            self._streams.delete(named.data.decode())
        for each in (caches, inbox_stream(ledger_id), snapshot_stream(ledger_id), stream):
            self._streams.delete(each)
        self._slots.remove(calls_lane(ledger_id))
        # Last, since the caller of a deletion that is repeated claims the ledger.
        self._streams.delete(claim_stream(ledger_id))
        self._inboxes.pop(ledger_id, None)
        self._index.mark(ledger_id, DELETED)

    def _refuse_branches(self, ledger_id: str) -> None:
        branches = self._index.branches_of(ledger_id)
        if branches:
            raise has_branches(ledger_id, branches)

    def cached(self, ledger_id: str, key: str) -> bytes | None:
        for entry in self._index.ancestry(ledger_id):
            for found in self._streams.page(_cache_stream(entry.id, key), 0, 1):
                if found.type == _CACHED_ELSEWHERE:
                    return self._streams.content(found.data.decode())
                return found.data
        return None

    def cache(self, ledger_id: str, key: str, response: bytes) -> None:
        self._refuse_if_read_only()
        self._index.entry(ledger_id)
        new = NewEvent(_CACHED, response, is_json=False)
        if len(response) > _INLINE_BYTES:
            new = NewEvent(_CACHED_ELSEWHERE, self._streams.store(response).encode(), is_json=False)
        stream = _cache_stream(ledger_id, key)
        # First, so that a deletion finds every response.
        name = NewEvent(_CACHES, stream.encode(), is_json=False)
        self._streams.append(_caches_stream(ledger_id), [name], after=None)
        # If two writers cache a response to one request, both are served the first.
        self._streams.append(stream, [new], after=NO_EVENTS)

    def snapshot(self, ledger_id: str) -> bytes | None:
        return self._snapshots.last(ledger_id)

    def store_snapshot(self, ledger_id: str, body: bytes) -> None:
        self._refuse_if_read_only()
        self._index.entry(ledger_id)
        self._snapshots.store(ledger_id, body)

    def deliver(self, ledger_id: str, entry: InboxEntry) -> bool:
        self._refuse_if_read_only()
        return self._inbox(ledger_id).deliver(entry)

    def inbox(self, ledger_id: str) -> list[InboxEntry]:
        return self._inbox(ledger_id).entries()

    def acknowledge(self, ledger_id: str, key: str) -> None:
        self._refuse_if_read_only()
        self._inbox(ledger_id).acknowledge(key)

    def _inbox(self, ledger_id: str) -> Inbox:
        self._index.entry(ledger_id)
        # Inboxes stay in memory, since an active run reads its inbox all the time.
        inbox = self._inboxes.pop(ledger_id, None) or Inbox(self._streams, ledger_id)
        self._inboxes[ledger_id] = inbox
        if len(self._inboxes) > _INBOXES:
            self._inboxes.popitem(last=False)
        return inbox

    def claim(
        self, ledger_id: str, worker: Worker, seconds: float, *, take_over: bool = False
    ) -> Claim | None:
        self._refuse_if_read_only()
        self._index.entry(ledger_id)
        return self._claims.claim(ledger_id, worker, seconds, take_over=take_over)

    def renew(self, claim: Claim, seconds: float) -> bool:
        self._refuse_if_read_only()
        try:
            return self._claims.replace(claim, claim.renewed(seconds))
        except LedgerDeleted:
            return False

    def release(self, claim: Claim) -> None:
        self._refuse_if_read_only()
        with suppress(LedgerDeleted):
            self._claims.replace(claim, claim.released())

    def claim_of(self, ledger_id: str) -> Claim | None:
        last = self.last_claim(ledger_id)
        return last if last is not None and last.is_held else None

    def last_claim(self, ledger_id: str) -> Claim | None:
        self._index.entry(ledger_id)
        return self._claims.last(ledger_id)

    def acquire_slot(
        self, lane: str, limit: float, worker: Worker, seconds: float, weight: float = 1.0
    ) -> Slot | None:
        self._refuse_if_read_only()
        return self._slots.acquire(lane, limit, worker, seconds, weight)

    def renew_slot(self, slot: Slot, seconds: float) -> bool:
        self._refuse_if_read_only()
        return self._slots.replace(slot, slot.renewed(seconds))

    def release_slot(self, slot: Slot) -> None:
        self._refuse_if_read_only()
        self._slots.replace(slot, None)

    def slots(self, lane: str) -> list[Slot]:
        return self._slots.live(lane)

    def group(self, name: str) -> EventStoreGroup:
        self._refuse_if_read_only()
        return EventStoreGroup(check_group(name), self._streams)

    def groups(self) -> list[str]:
        return group_names(self._streams)

    def close(self) -> None:
        self.connection.close()

    def _refuse_if_read_only(self) -> None:
        if self.is_read_only:
            msg = f"{self.connection.display_url} was opened read-only."
            raise StoreError(msg, hint="Open it for writing.")


def _cache_stream(ledger_id: str, key: str) -> str:
    return f"cache:{ledger_id}:{sha256(key.encode()).hexdigest()}"


def _caches_stream(ledger_id: str) -> str:
    return f"caches:{ledger_id}"
