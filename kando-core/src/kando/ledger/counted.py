"""A ledger that counts the events that are read from it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TypeVar

from kando.ledger.interface import LedgerStore, Link
from kando.schema.events import KandoEvent, RecordedEvent
from kando.schema.firing import Firing

__all__ = ["CountedLedger"]

Item = TypeVar("Item", RecordedEvent, RecordedEvent | Firing)

#: How many events are counted together, at least.
_AT_ONCE = 100


class CountedLedger(LedgerStore):
    """A view of a ledger that reports how many events are read.

    Args:
        ledger: that stores the events.
        count: called with a number of events that were read since the last call.
    """

    def __init__(self, ledger: LedgerStore, count: Callable[[int], None]) -> None:
        self._ledger = ledger
        self.keeps_blobs = ledger.keeps_blobs
        self._count = count

    def append(self, events: list[KandoEvent], *, expected_length: int | None = None) -> int:
        return self._ledger.append(events, expected_length=expected_length)

    def append_firings(
        self, items: Sequence[RecordedEvent | Firing], *, expected_length: int | None = None
    ) -> int:
        return self._ledger.append_firings(items, expected_length=expected_length)

    def read(self, from_position: int = 0) -> Iterator[RecordedEvent]:
        # Not a generator itself: a negative position is reported at once, as the ledger does.
        return self._counted(self._ledger.read(from_position))

    def read_firings(self, from_position: int = 0) -> Iterator[RecordedEvent | Firing]:
        return self._counted(self._ledger.read_firings(from_position))

    def _counted(self, items: Iterator[Item]) -> Iterator[Item]:
        number = 0
        for item in items:
            number += len(item) if isinstance(item, Firing) else 1
            if number >= _AT_ONCE:
                self._count(number)
                number = 0
            yield item
        self._count(number)

    def blobs(self, digests: Sequence[bytes]) -> Mapping[bytes, bytes]:
        return self._ledger.blobs(digests)

    def store_blobs(self, bodies: Sequence[bytes]) -> None:
        self._ledger.store_blobs(bodies)

    def stream_name(self) -> str:
        return self._ledger.stream_name()

    def length(self) -> int:
        return self._ledger.length()

    def at(self, position: int) -> RecordedEvent | None:
        return self._ledger.at(position)

    def find(self, event_id: str) -> RecordedEvent | None:
        return self._ledger.find(event_id)

    def links(self, start: int, stop: int, *, excluding: Collection[str] = ()) -> Iterator[Link]:
        return self._ledger.links(start, stop, excluding=excluding)

    def events_about(
        self, objects: Collection[str], relations: Collection[str], stop: int
    ) -> Iterator[RecordedEvent]:
        return self._ledger.events_about(objects, relations, stop)

    def stray_position(self) -> int | None:
        return self._ledger.stray_position()

    def digest(self, position: int) -> bytes:
        return self._ledger.digest(position)

    def close(self) -> None:
        self._ledger.close()
