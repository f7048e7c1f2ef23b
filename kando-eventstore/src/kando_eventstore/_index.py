"""The index of ledgers: one stream that claims each id, and one stream that lists them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import msgspec

from kando.errors import LedgerDeleted, LedgerExists, LedgerNotFound, StoreDamaged
from kando_eventstore._streams import DELETED, DELETING, NO_EVENTS, NewEvent, Streams

__all__ = ["Index", "IndexEntry"]

#: The stream that lists every ledger, oldest first.
_LIST = "kando:ledgers"

_CREATED = "ledger.created"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@attrs.frozen
class IndexEntry:
    """The facts that are recorded when a ledger is created.

    Attributes:
        id: of the run or branch.
        created_us: time of creation, in microseconds since 1970 in UTC.
        parent: id of the ledger it was forked from; None for a run.
        fork_position: how many events it shares with its parent; 0 for a run.
    """

    id: str
    created_us: int
    parent: str | None = None
    fork_position: int = 0

    @property
    def stream(self) -> str:
        """Name of the ledger's stream."""
        return f"run:{self.id}" if self.parent is None else f"branch:{self.id}"

    @property
    def created_at(self) -> datetime:
        """When it was created."""
        return _EPOCH + timedelta(microseconds=self.created_us)


def now_us() -> int:
    """Return the time in microseconds since 1970 in UTC."""
    return (datetime.now(UTC) - _EPOCH) // timedelta(microseconds=1)


class Index:
    """The ledgers of a server.

    Runs and branches share one set of ids, but their streams are named differently. So a third
    stream, ``ledger:{id}``, records the owner of an id; the first writer of its first event wins. The
    deletion of the ledger is recorded there, too: its other streams are gone, and so is its id.

    Args:
        streams: of the server.
    """

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        # An entry does not change until its ledger is deleted.
        self._entries: dict[str, IndexEntry] = {}

    def create(
        self,
        id: str,
        parent: str | None = None,
        fork_position: int = 0,
        begin: Callable[[IndexEntry], bool] = lambda entry: True,
    ) -> IndexEntry:
        """Claim an id.

        Args:
            id: of the run or branch.
            parent: id of the ledger it is forked from; None for a run.
            fork_position: how many events it shares with its parent.
            begin: writes the events that the ledger starts with; returns False if it cannot.

        Raises:
            LedgerExists: the id is taken.
        """
        if self._is_deleted(id):
            msg = f"{id} was deleted, and {self._streams.connection.display_url} cannot use its id again."
            raise LedgerExists(msg, hint="Choose another id, or another store.")
        entry = IndexEntry(id, now_us(), parent, fork_position)
        if self._found(id) is None and begin(entry):
            event = NewEvent(_CREATED, msgspec.json.encode(attrs.asdict(entry)))
            # Listed first: a process that dies in between leaves an entry without a ledger, which
            # is skipped; in the other order it would leave a ledger that is not listed.
            self._streams.append(_LIST, [event], after=None)
            if self._streams.append(_stream(id), [event], after=NO_EVENTS):
                self._entries[id] = entry
                return entry
        msg = f"Ledger {id!r} already exists in {self._streams.connection.display_url}."
        raise LedgerExists(msg, hint="Choose another id.")

    def entry(self, id: str) -> IndexEntry:
        """Return the entry of a ledger.

        Raises:
            LedgerNotFound: no ledger has this id.
        """
        found = self._found(id)
        if found is None and self._is_deleted(id):
            msg = f"{id} was deleted from {self._streams.connection.display_url}."
            raise LedgerDeleted(msg, hint="`kando runs` lists what is left.")
        if found is None:
            msg = f"Run or branch {id!r} does not exist in {self._streams.connection.display_url}."
            raise LedgerNotFound(msg, hint="`kando runs` lists them.")
        return found

    def _found(self, id: str) -> IndexEntry | None:
        if id not in self._entries:
            page = self._streams.page(_stream(id))
            if not page or page[-1].type == DELETED:
                return None
            self._entries[id] = self._decoded(page[0].data)
        return self._entries[id]

    def _is_deleted(self, id: str) -> bool:
        last = self._streams.last(_stream(id))
        return last is not None and last.type == DELETED

    def forget(self, id: str) -> None:
        """Read the entry of a ledger again when it is asked for next."""
        self._entries.pop(id, None)

    def refuse_deletion(self, id: str) -> None:
        """Refuse a ledger that is deleted, or about to be.

        Raises:
            LedgerDeleted: it is.
        """
        last = self._streams.last(_stream(id))
        if last is not None and last.type in (DELETING, DELETED):
            msg = f"{id} was deleted from {self._streams.connection.display_url}."
            raise LedgerDeleted(msg, hint="`kando runs` lists what is left.")

    def mark(self, id: str, kind: str) -> None:
        """Record that the deletion of a ledger begins, has ended, or was given up.

        Args:
            id: of the ledger.
            kind: type of the event.
        """
        at = msgspec.json.encode({"at_us": now_us()})
        self._streams.append(_stream(id), [NewEvent(kind, at)], after=None)
        self.forget(id)

    def branches_of(self, id: str) -> list[str]:
        """Return the ids of the branches that were forked from a ledger, oldest first."""
        return [entry.id for entry in self.newest_first() if entry.parent == id][::-1]

    def ancestry(self, id: str) -> list[IndexEntry]:
        """Return a ledger and its ancestors, itself first.

        Raises:
            LedgerNotFound: no ledger has this id.
        """
        entries = [self.entry(id)]
        while entries[-1].parent is not None:
            entries.append(self.entry(entries[-1].parent))
        return entries

    def newest_first(self) -> Iterator[IndexEntry]:
        """Yield every ledger, newest first."""
        seen: set[str] = set()
        for event in self._streams.backwards(_LIST):
            listed = self._decoded(event.data)
            # Several writers that claimed an id at once each left an entry.
            if listed.id not in seen:
                seen.add(listed.id)
                entry = self._found(listed.id)
                if entry is not None:
                    yield entry

    def ids_starting_with(self, prefix: str, limit: int) -> list[str]:
        """Return up to `limit` ids that start with `prefix`, sorted."""
        listed = {self._decoded(event.data).id for event in self._streams.forwards(_LIST)}
        matching = (id for id in sorted(listed) if id.startswith(prefix) and self._found(id))
        return [id for id, _ in zip(matching, range(limit), strict=False)]

    def _decoded(self, data: bytes) -> IndexEntry:
        try:
            fields: dict[str, Any] = msgspec.json.decode(data)
            return IndexEntry(**fields)
        except (msgspec.DecodeError, TypeError) as error:
            msg = (
                f"{self._streams.connection.display_url}: the list of ledgers is damaged: {error}."
            )
            raise StoreDamaged(msg, hint="Restore the server from a backup.") from error


def _stream(id: str) -> str:
    return f"ledger:{id}"
