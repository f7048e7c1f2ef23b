"""Ledgers in memory: for tests, and for runs that are not needed once the process ends."""

# long: a ledger and a substrate, with a short method for each verb of their interfaces.

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING

from kando.errors import LedgerDeleted, LedgerExists, LedgerNotFound, PositionOutOfRange
from kando.ledger.chain import GENESIS, link
from kando.ledger.checks import (
    check_expected_length,
    check_fork_position,
    check_from_position,
    duplicate,
    has_branches,
)
from kando.ledger.claims import Claim, Slot, Worker, calls_lane, has_room, new_slot, next_claim
from kando.ledger.completion import complete_all
from kando.ledger.inbox import InboxEntry, decode_entry, encode_entry
from kando.ledger.interface import LedgerStore
from kando.ledger.substrate import LedgerInfo, Substrate, check_ledger_id
from kando.schema.events import KandoEvent, RecordedEvent, detach, parts_of
from kando.schema.identity import stream_of
from kando.schema.parts import has_references

if TYPE_CHECKING:
    import sqlite3

    from kando.ledger._sqlite_groups import SQLiteGroup

__all__ = ["MemoryLedgerStore", "MemorySubstrate"]


class MemoryLedgerStore(LedgerStore):
    """A ledger in this process's memory.

    Args:
        run_id: id of the run. A prefix ``run:`` or ``branch:`` is the kind of the ledger; a branch
            that is made this way shares no events with another ledger.

    Raises:
        ConfigurationError: the id is malformed.
    """

    keeps_blobs = True

    def __init__(self, run_id: str) -> None:
        self._stream = stream_of(run_id)
        id = check_ledger_id(self._stream.partition(":")[2])
        self._info = LedgerInfo(id, datetime.now(UTC), 0)
        self._parent: MemoryLedgerStore | None = None
        self._shared = 0
        self._own: list[RecordedEvent] = []
        self._positions: dict[str, int] = {}
        # Chained hashes after each event of its own, as far as they were requested.
        self._digests: list[bytes] = []
        # Blobs of the first events of its own, as far as they were requested.
        self._blobs: dict[bytes, bytes] = {}
        # Nodes whose blobs, and those of all that they name, are among these.
        self._whole: set[bytes] = set()
        self._indexed = 0
        self._is_deleted = False
        self._lock = threading.Lock()

    def append(self, events: list[KandoEvent], *, expected_length: int | None = None) -> int:
        with self._lock:
            return self._append(events, expected_length)

    def _append(self, events: list[KandoEvent], expected_length: int | None) -> int:
        stream, length = self.stream_name(), self.length()
        check_expected_length(stream, length, expected_length)
        whole = complete_all(
            events, length, stream, lambda: self._heads_before(length), keeps_blobs=True
        )
        positions: dict[str, int] = {}
        for event in whole:
            taken = positions.get(event.id, self._position_of(event.id))
            if taken is not None:
                raise duplicate(stream, event.id, taken)
            positions[event.id] = event.position
            if has_references(event.encoded):
                # From now on it does not depend on the store that it may have been read from.
                detach(event)
        self._own += whole
        self._positions |= positions
        return length + len(whole)

    def read(self, from_position: int = 0) -> Iterator[RecordedEvent]:
        check_from_position(self.stream_name(), from_position)
        return self._read(from_position, self.length())

    def _read(self, start: int, stop: int) -> Iterator[RecordedEvent]:
        if self._parent is not None and start < self._shared:
            yield from self._parent._read(start, min(self._shared, stop))
        own = max(min(start, stop) - self._shared, 0)
        yield from islice(self._own, own, max(stop - self._shared, 0))

    def blobs(self, digests: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """Return the blobs of the events with these digests; they are made of the events' data."""
        wanted = set(digests)
        found: dict[bytes, bytes] = {}
        while (number := self._indexed) < len(self._own):
            parts = parts_of(self._own[number])
            if parts is not None:
                whole = self._whole.__contains__
                new = parts.unproven(whole)
                self._blobs |= parts.missing(self._blobs.__contains__, whole)
                self._whole.update(node.digest for node in new)
            self._indexed = number + 1
        for digest in wanted & self._blobs.keys():
            found[digest] = self._blobs[digest]
        if self._parent is not None and len(found) < len(wanted):
            found |= self._parent.blobs([*wanted - found.keys()])
        return found

    def store_blobs(self, bodies: Sequence[bytes]) -> None:
        self.length()
        self._blobs |= {sha256(body).digest(): body for body in bodies}

    def stream_name(self) -> str:
        return self._stream

    def length(self) -> int:
        if self._is_deleted:
            raise _deleted(self._info.id)
        return self._shared + len(self._own)

    def at(self, position: int) -> RecordedEvent | None:
        check_from_position(self.stream_name(), position)
        if self._is_deleted:
            raise _deleted(self._info.id)
        if self._parent is not None and position < self._shared:
            return self._parent.at(position)
        own = position - self._shared
        return self._own[own] if own < len(self._own) else None

    def find(self, event_id: str) -> RecordedEvent | None:
        self.length()
        position = self._position_of(event_id)
        return None if position is None else self.at(position)

    def _position_of(self, event_id: str) -> int | None:
        position = self._positions.get(event_id)
        if position is None and self._parent is not None:
            position = self._parent._position_of(event_id)
            if position is not None and position >= self._shared:
                return None
        return position

    def _heads_before(self, position: int) -> int:
        has_head = bool(self._own) and self._shared < position and self._own[0].is_head
        if self._parent is None:
            return int(has_head)
        return has_head + self._parent._heads_before(min(self._shared, position))

    def digest(self, position: int) -> bytes:
        check_from_position(self.stream_name(), position)
        if self._is_deleted:
            raise _deleted(self._info.id)
        if position <= self._shared:
            return self._parent.digest(position) if self._parent is not None else GENESIS
        if position > self.length():
            msg = f"Position {position} is outside {self.stream_name()} of {self.length()} events."
            raise PositionOutOfRange(msg, hint=f"Use 0 to {self.length()}.")
        with self._lock:
            while (known := len(self._digests)) < position - self._shared:
                previous = self._digests[-1] if known else self.digest(self._shared)
                self._digests.append(link(previous, self._own[known]))
        return self._digests[position - self._shared - 1]

    def _forked(self, branch_id: str, position: int) -> MemoryLedgerStore:
        branch = MemoryLedgerStore(f"branch:{branch_id}")
        branch._info = LedgerInfo(branch_id, datetime.now(UTC), position, self._info.id, position)
        branch._parent, branch._shared = self, position
        return branch


class MemorySubstrate(Substrate):
    """Many ledgers in this process's memory; it may be used from several threads."""

    def __init__(self) -> None:
        # Held where a thread would see what another is changing.
        self._lock = threading.Lock()
        self._ledgers: dict[str, MemoryLedgerStore] = {}
        self._cache: dict[tuple[str, str], bytes] = {}
        # Encoded entries by ledger and key; None once taken.
        self._inboxes: dict[str, dict[str, bytes | None]] = {}
        # The last claim of each ledger.
        self._claims: dict[str, Claim] = {}
        # By lane and token.
        self._slots: defaultdict[str, dict[str, Slot]] = defaultdict(dict)
        # Jobs are what a table does best, also in memory.
        self._jobs: sqlite3.Connection | None = None
        self._jobs_lock = threading.Lock()
        self._snapshots: dict[str, bytes] = {}
        # The last epoch of each ledger that was deleted.
        self._deleted: dict[str, int] = {}

    def create(self, ledger_id: str) -> MemoryLedgerStore:
        return self._add(MemoryLedgerStore(check_ledger_id(ledger_id)))

    def open(self, ledger_id: str) -> MemoryLedgerStore:
        try:
            return self._ledgers[ledger_id]
        except KeyError:
            if ledger_id in self._deleted:
                raise _deleted(ledger_id) from None
            msg = f"No run or branch {ledger_id!r} in memory."
            raise LedgerNotFound(msg, hint="A memory ledger ends with its process.") from None

    def fork(self, parent_id: str, position: int, branch_id: str) -> MemoryLedgerStore:
        parent = self.open(parent_id)
        check_fork_position(parent.stream_name(), position, parent.length())
        return self._add(parent._forked(check_ledger_id(branch_id), position))

    def _add(self, ledger: MemoryLedgerStore) -> MemoryLedgerStore:
        with self._lock:
            if ledger._parent is not None and ledger._parent._is_deleted:
                raise _deleted(ledger._parent._info.id)
            is_new = self._ledgers.setdefault(ledger._info.id, ledger) is ledger
        if not is_new:
            msg = f"There is a ledger {ledger._info.id!r} already."
            raise LedgerExists(msg, hint="Choose another id.")
        return ledger

    def info(self, ledger_id: str) -> LedgerInfo:
        return self._described(self.open(ledger_id))

    def ledgers(self) -> Iterator[LedgerInfo]:
        with self._lock:
            newest_first = [*reversed(self._ledgers.values())]
        return map(self._described, newest_first)

    @staticmethod
    def _described(ledger: MemoryLedgerStore) -> LedgerInfo:
        known = ledger._info
        return LedgerInfo(
            known.id, known.created_at, ledger.length(), known.parent_id, known.fork_position
        )

    def delete(self, ledger_id: str) -> None:
        with self._lock:
            ledger = self.open(ledger_id)
            others = self._ledgers.values()
            branches = [each._info.id for each in others if each._parent is ledger]
            if branches:
                raise has_branches(ledger_id, branches)
            with ledger._lock:
                # A reader that has begun has its events still.
                ledger._is_deleted = True
            claim = self._claims.pop(ledger_id, None)
            last = self._deleted.get(ledger_id, 0)
            self._deleted[ledger_id] = max(last, claim.epoch if claim is not None else 0)
            for place in [place for place in self._cache if place[0] == ledger_id]:
                del self._cache[place]
            self._inboxes.pop(ledger_id, None)
            self._snapshots.pop(ledger_id, None)
            self._slots.pop(calls_lane(ledger_id), None)
            del self._ledgers[ledger_id]
        if self._jobs is not None:
            from kando.ledger._sqlite_groups import remove_jobs

            with self._writing_jobs() as connection:
                remove_jobs(connection, ledger_id)

    def cached(self, ledger_id: str, key: str) -> bytes | None:
        ledger: MemoryLedgerStore | None = self.open(ledger_id)
        while ledger is not None:
            response = self._cache.get((ledger._info.id, key))
            if response is not None:
                return response
            ledger = ledger._parent
        return None

    def cache(self, ledger_id: str, key: str, response: bytes) -> None:
        with self._lock:
            self.open(ledger_id)
            self._cache.setdefault((ledger_id, key), response)

    def snapshot(self, ledger_id: str) -> bytes | None:
        return self._snapshots.get(ledger_id)

    def store_snapshot(self, ledger_id: str, body: bytes) -> None:
        with self._lock:
            self.open(ledger_id)
            self._snapshots[ledger_id] = body

    def deliver(self, ledger_id: str, entry: InboxEntry) -> bool:
        body = encode_entry(entry)
        with self._lock:
            self.open(ledger_id)
            inbox = self._inboxes.setdefault(ledger_id, {})
            if entry.key in inbox:
                return False
            inbox[entry.key] = body
            return True

    def inbox(self, ledger_id: str) -> list[InboxEntry]:
        self.open(ledger_id)
        with self._lock:
            entries = [*self._inboxes.get(ledger_id, {}).items()]
        return [decode_entry(key, body) for key, body in entries if body is not None]

    def acknowledge(self, ledger_id: str, key: str) -> None:
        with self._lock:
            if key in self._inboxes.get(ledger_id, {}):
                self._inboxes[ledger_id][key] = None

    def claim(
        self, ledger_id: str, worker: Worker, seconds: float, *, take_over: bool = False
    ) -> Claim | None:
        with self._lock:
            self.open(ledger_id)
            last, after = self._claims.get(ledger_id), self._deleted.get(ledger_id, 0)
            claim = next_claim(ledger_id, last, worker, seconds, take_over=take_over, after=after)
            if claim is not None:
                self._claims[ledger_id] = claim
            return claim

    def renew(self, claim: Claim, seconds: float) -> bool:
        with self._lock:
            return self._replace(claim, claim.renewed(seconds))

    def release(self, claim: Claim) -> None:
        with self._lock:
            self._replace(claim, claim.released())

    def _replace(self, claim: Claim, by: Claim) -> bool:
        last = self._claims.get(claim.ledger_id)
        if last is None or not last.is_held or last.epoch != claim.epoch:
            return False
        self._claims[claim.ledger_id] = by
        return True

    def claim_of(self, ledger_id: str) -> Claim | None:
        last = self.last_claim(ledger_id)
        return last if last is not None and last.is_held else None

    def last_claim(self, ledger_id: str) -> Claim | None:
        self.open(ledger_id)
        return self._claims.get(ledger_id)

    def acquire_slot(
        self, lane: str, limit: float, worker: Worker, seconds: float, weight: float = 1.0
    ) -> Slot | None:
        with self._lock:
            live = self._slots[lane] = {t: s for t, s in self._slots[lane].items() if s.is_live()}
            if not has_room(live.values(), limit, weight):
                return None
            slot = new_slot(lane, worker, seconds, weight)
            live[slot.token] = slot
            return slot

    def renew_slot(self, slot: Slot, seconds: float) -> bool:
        with self._lock:
            if slot.token not in self._slots[slot.lane]:
                return False
            self._slots[slot.lane][slot.token] = slot.renewed(seconds)
            return True

    def release_slot(self, slot: Slot) -> None:
        with self._lock:
            self._slots[slot.lane].pop(slot.token, None)

    def slots(self, lane: str) -> list[Slot]:
        with self._lock:
            return [slot for slot in self._slots[lane].values() if slot.is_live()]

    def group(self, name: str) -> SQLiteGroup:
        from kando.ledger._sqlite_groups import SQLiteGroup
        from kando.ledger.groups import check_group

        return SQLiteGroup(
            check_group(name),
            self._writing_jobs,
            lambda connection, ledger_id, entry: self.deliver(ledger_id, entry),
        )

    def groups(self) -> list[str]:
        with self._writing_jobs() as connection:
            from kando.ledger._sqlite_groups import group_names

            return group_names(connection)

    @contextmanager
    def _writing_jobs(self, *, is_synchronised: bool = True) -> Iterator[sqlite3.Connection]:
        with self._jobs_lock:
            if self._jobs is None:
                import sqlite3

                self._jobs = sqlite3.connect(
                    ":memory:", check_same_thread=False, isolation_level=None
                )
            yield self._jobs

    def close(self) -> None:
        """Forget the jobs of groups; the ledgers stay readable."""
        with self._jobs_lock:
            if self._jobs is not None:
                self._jobs.close()
                self._jobs = None


def _deleted(ledger_id: str) -> LedgerDeleted:
    return LedgerDeleted(f"{ledger_id} was deleted.", hint="`kando runs` lists what is left.")
