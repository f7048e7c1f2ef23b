"""The interface of a ledger: the append-only, ordered, durable event log of one run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import NamedTuple

from kando.errors import StoreError
from kando.schema.events import (
    OBJECT_CREATED,
    OBJECT_PATCHED,
    RELATION_CREATED,
    RELATION_REMOVED,
    KandoEvent,
    RecordedEvent,
)
from kando.schema.firing import Firing, flattened, grouped

__all__ = ["OBJECT_TYPES", "WORLD_TYPES", "LedgerStore", "Link"]

#: Types of events that change a world; the ``id`` in their data names the object or relation.
WORLD_TYPES = (OBJECT_CREATED, OBJECT_PATCHED, RELATION_CREATED, RELATION_REMOVED)

#: Types of events that change objects.
OBJECT_TYPES = (OBJECT_CREATED, OBJECT_PATCHED)


class Link(NamedTuple):
    """The position, id and causes of an event, without its data.

    Attributes:
        position: of the event.
        id: of the event.
        cause: ids of the events that caused it.
    """

    position: int
    id: str
    cause: list[str]


class LedgerStore(ABC):
    """One ledger. Implementations must pass ``kando.testing.ledgers.LedgerContract``.

    Attributes:
        keeps_blobs: whether the store keeps the parts of events apart from them (see
            `kando.schema.parts`): long texts once, and of a growing list of messages what is new.
            Its `append` stores, in the same step as the events, the blobs that
            ``parts_of(event).missing(is_stored, is_whole)`` returns; its events are read by
            `make_unread_event` if their encoding has references. Other stores get events whose
            encoding is whole.
    """

    keeps_blobs: bool = False

    @abstractmethod
    def append(self, events: list[KandoEvent], *, expected_length: int | None = None) -> int:
        """Append events as one atomic step and return the length of the ledger afterwards.

        When it returns, the events are as durable as the substrate promises. An event that is
        not a `RecordedEvent` yet is completed by `kando.ledger.completion.complete`.

        Args:
            events: in order; may be empty.
            expected_length: the length that the writer expects the ledger to have.

        Raises:
            ConcurrencyError: the ledger has another length; nothing was written.
            DuplicateEvent: an event id already exists; nothing was written.
        """

    @abstractmethod
    def read(self, from_position: int = 0) -> Iterator[RecordedEvent]:
        """Yield the events from a position on, in order.

        A reader sees the ledger as it was when reading began, and only whole batches. A position
        at or past the end yields nothing.

        Raises:
            PositionOutOfRange: the position is negative.
        """

    def append_firings(
        self, items: Sequence[RecordedEvent | Firing], *, expected_length: int | None = None
    ) -> int:
        """Append events and whole firings, as `append` appends their events.

        A ledger that stores a firing in less space than its events overrides it.

        Args:
            items: in order, complete, and numbered from the length of the ledger on.
            expected_length: as for `append`.

        Raises:
            ConcurrencyError, DuplicateEvent: as for `append`.
        """
        return self.append([*flattened(items)], expected_length=expected_length)

    def read_all(self) -> Iterator[RecordedEvent]:
        """Yield every event, in order."""
        return self.read(0)

    def read_firings(self, from_position: int = 0) -> Iterator[RecordedEvent | Firing]:
        """Yield the events from a position on, as `read` does, but each whole firing as one item.

        Raises:
            PositionOutOfRange: the position is negative.
        """
        return grouped(self.read(from_position))

    @abstractmethod
    def stream_name(self) -> str:
        """Return the ledger's identity: ``run:{id}`` or ``branch:{id}``."""

    def length(self) -> int:
        """Return the number of events; on a branch the shared prefix counts."""
        return sum(1 for _ in self.read(0))

    def at(self, position: int) -> RecordedEvent | None:
        """Return the event at a position, or None past the end."""
        return next(self.read(position), None)

    def find(self, event_id: str) -> RecordedEvent | None:
        """Return the event with this id, or None."""
        return next((event for event in self.read(0) if event.id == event_id), None)

    def links(self, start: int, stop: int, *, excluding: Collection[str] = ()) -> Iterator[Link]:
        """Yield the links of the events from `start` up to `stop`, in order.

        Args:
            start: first position.
            stop: position after the last.
            excluding: types of events to leave out.
        """
        for event in islice(self.read(start), max(stop - start, 0)):
            if event.type not in excluding:
                yield Link(event.position, event.id, event.cause)

    def events_about(
        self, objects: Collection[str], relations: Collection[str], stop: int
    ) -> Iterator[RecordedEvent]:
        """Yield, in order, the events that define the state of some objects and relations.

        For each one that exists after the first `stop` events, these are the last event that
        created it and the events that changed it since.

        Args:
            objects: ids.
            relations: ids.
            stop: position after the last event that counts.
        """
        found: dict[tuple[bool, str], list[RecordedEvent]] = {}
        for event in islice(self.read(0), stop if objects or relations else 0):
            if event.type not in WORLD_TYPES:
                continue
            id, is_object = event.data.get("id"), event.type in OBJECT_TYPES
            if not isinstance(id, str) or id not in (objects if is_object else relations):
                continue
            if event.type == OBJECT_PATCHED:
                found.setdefault((is_object, id), []).append(event)
            elif event.type == RELATION_REMOVED:
                found.pop((is_object, id), None)
            else:
                found[is_object, id] = [event]
        yield from sorted(chain.from_iterable(found.values()), key=lambda event: event.position)

    def stray_position(self) -> int | None:
        """Return the position of a stored event outside the ledger's own positions, or None."""
        length = self.length()
        return length if self.at(length) is not None else None

    def digest(self, position: int) -> bytes:
        """Return the chained SHA-256 over the first `position` events (see `kando.ledger.chain`).

        Raises:
            PositionOutOfRange: the ledger is shorter.
        """
        from kando.ledger.chain import digest_of

        return digest_of(self.read(0), position)

    def blobs(self, digests: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """Return the stored blobs with these SHA-256 digests; those that are missing are left out.

        A store that keeps no blobs returns none.
        """
        return {}

    def store_blobs(self, bodies: Sequence[bytes]) -> None:
        """Store blobs by their SHA-256 digest, durably; those that are stored already stay.

        A blob belongs to the store and is never removed, so that an event that is appended later
        may name it: in this ledger, and in its branches.

        Args:
            bodies: of the blobs; none is empty.

        Raises:
            StoreError: the store keeps no blobs.
        """
        msg = f"The store of {self.stream_name()} keeps no blobs."
        raise StoreError(msg, hint="Use a SQLite file, or an EventStoreDB server.")

    def close(self) -> None:  # noqa: B027 - optional: most ledgers hold nothing open themselves
        """Release files and connections that the ledger holds open."""
