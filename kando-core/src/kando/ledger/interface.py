"""What a ledger is: an append-only, ordered, durable log of one run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from itertools import chain, islice
from typing import NamedTuple

from kando.schema.events import (
    OBJECT_CREATED,
    OBJECT_PATCHED,
    RELATION_CREATED,
    RELATION_REMOVED,
    KandoEvent,
    RecordedEvent,
)

__all__ = ["OBJECT_TYPES", "WORLD_TYPES", "LedgerStore", "Link"]

#: Types of the events that change a world; the ``id`` in their data says which object or relation.
WORLD_TYPES = (OBJECT_CREATED, OBJECT_PATCHED, RELATION_CREATED, RELATION_REMOVED)

#: Those of them that are about objects.
OBJECT_TYPES = (OBJECT_CREATED, OBJECT_PATCHED)


class Link(NamedTuple):
    """Where an event stands and what it follows from, without what it says.

    Attributes:
        position: of the event.
        id: of the event.
        cause: ids of the events it follows from.
    """

    position: int
    id: str
    cause: list[str]


class LedgerStore(ABC):
    """One ledger. Implementations are judged by ``kando.testing.ledgers.LedgerContract``."""

    @abstractmethod
    def append(self, events: list[KandoEvent], *, expected_length: int | None = None) -> int:
        """Append events as one atomic step and return the length of the ledger afterwards.

        When it returns, the events are as durable as the substrate promises. An event that is
        not a `RecordedEvent` yet is completed by `kando.ledger.completion.complete`.

        Args:
            events: in order; may be empty.
            expected_length: the length the writer believes the ledger has.

        Raises:
            ConcurrencyError: the ledger has another length; nothing was written.
            DuplicateEvent: an id is taken; nothing was written.
        """

    @abstractmethod
    def read(self, from_position: int = 0) -> Iterator[RecordedEvent]:
        """Yield the events from a position on, in order.

        A reader sees the ledger as it was when it began, and whole batches only. A position at
        or past the end yields nothing.

        Raises:
            PositionOutOfRange: the position is negative.
        """

    def read_all(self) -> Iterator[RecordedEvent]:
        """Yield every event, in order."""
        return self.read(0)

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
        """Yield the links of the events from `start` to before `stop`, in order.

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
        """Yield, in order, the events that say what some objects and relations are.

        These are, of each one that is there after the first `stop` events, the one that created
        it last and those that changed it since.

        Args:
            objects: ids.
            relations: ids.
            stop: position after the last event that counts.
        """
        told: dict[tuple[bool, str], list[RecordedEvent]] = {}
        for event in islice(self.read(0), stop if objects or relations else 0):
            if event.type not in WORLD_TYPES:
                continue
            id, is_object = event.data.get("id"), event.type in OBJECT_TYPES
            if not isinstance(id, str) or id not in (objects if is_object else relations):
                continue
            if event.type == OBJECT_PATCHED:
                told.setdefault((is_object, id), []).append(event)
            elif event.type == RELATION_REMOVED:
                told.pop((is_object, id), None)
            else:
                told[is_object, id] = [event]
        yield from sorted(chain.from_iterable(told.values()), key=lambda event: event.position)

    def stray_position(self) -> int | None:
        """Return the position of a stored event that is no part of this ledger, or None."""
        length = self.length()
        return length if self.at(length) is not None else None

    def digest(self, position: int) -> bytes:
        """Return the chained SHA-256 over the first `position` events (see `kando.ledger.chain`).

        Raises:
            PositionOutOfRange: the ledger is shorter.
        """
        from kando.ledger.chain import digest_of

        return digest_of(self.read(0), position)

    def close(self) -> None:  # noqa: B027 - optional: most ledgers hold nothing open themselves
        """Release what the ledger holds open."""
