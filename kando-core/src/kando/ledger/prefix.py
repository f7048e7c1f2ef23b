"""The first events of a ledger, as a ledger that ends there and is read-only."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice

from kando.errors import StoreError
from kando.ledger.interface import LedgerStore, Link
from kando.schema.events import KandoEvent, RecordedEvent

__all__ = ["LedgerPrefix"]


class LedgerPrefix(LedgerStore):
    """A view of a ledger that shows its first events only.

    Args:
        ledger: that stores the events.
        end: how many of them it shows; the ledger has at least as many.
    """

    def __init__(self, ledger: LedgerStore, end: int) -> None:
        self._ledger = ledger
        self._end = end

    def append(self, events: list[KandoEvent], *, expected_length: int | None = None) -> int:
        msg = f"The first {self._end} events of {self.stream_name()} are read-only."
        raise StoreError(msg, hint="Append to the ledger itself, or fork the run there.")

    def read(self, from_position: int = 0) -> Iterator[RecordedEvent]:
        # Not a generator itself: a negative position is reported at once, as the ledger does.
        return islice(self._ledger.read(from_position), max(self._end - from_position, 0))

    def stream_name(self) -> str:
        return self._ledger.stream_name()

    def length(self) -> int:
        return self._end

    def at(self, position: int) -> RecordedEvent | None:
        return self._ledger.at(position) if position < self._end else None

    def find(self, event_id: str) -> RecordedEvent | None:
        event = self._ledger.find(event_id)
        return event if event is not None and event.position < self._end else None

    def links(self, start: int, stop: int, *, excluding: Collection[str] = ()) -> Iterator[Link]:
        return self._ledger.links(start, min(stop, self._end), excluding=excluding)

    def events_about(
        self, objects: Collection[str], relations: Collection[str], stop: int
    ) -> Iterator[RecordedEvent]:
        return self._ledger.events_about(objects, relations, min(stop, self._end))

    def digest(self, position: int) -> bytes:
        return self._ledger.digest(position)
