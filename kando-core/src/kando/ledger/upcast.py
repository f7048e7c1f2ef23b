"""A ledger whose events are upcast to the current version of their schema when they are read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import attrs

from kando.ledger.interface import LedgerStore, Link
from kando.schema.events import (
    RESPONDER_COMPLETED,
    RESPONDER_FIRED,
    KandoEvent,
    RecordedEvent,
)
from kando.schema.firing import Firing
from kando.schema.upcasting import Upcaster, Upcasters

__all__ = ["UpcastLedger", "upcast"]

_LIFECYCLE = frozenset({RESPONDER_FIRED, RESPONDER_COMPLETED})


def upcast(ledger: LedgerStore, steps: Iterable[Upcaster]) -> LedgerStore:
    """Return a ledger that reads through upcasters, or the same ledger if there are none.

    Raises:
        ConfigurationError: two upcasters convert from the same version, or a version is missing.
    """
    upcasters = Upcasters(steps)
    return UpcastLedger(ledger, upcasters) if upcasters else ledger


class UpcastLedger(LedgerStore):
    """A view of a ledger through upcasters; the stored events and their hash chain do not change.

    Args:
        ledger: that stores the events.
        upcasters: convert events that are read, and define the version of new ones.
    """

    def __init__(self, ledger: LedgerStore, upcasters: Upcasters) -> None:
        self._ledger = ledger
        self.keeps_blobs = ledger.keeps_blobs
        self._upcasters = upcasters

    @property
    def versions(self) -> dict[str, int]:
        """The current version of each event type that has more than one version."""
        return self._upcasters.versions

    def append(self, events: list[KandoEvent], *, expected_length: int | None = None) -> int:
        stamped = [self._stamped(event) for event in events]
        return self._ledger.append(stamped, expected_length=expected_length)

    def append_firings(
        self, items: Sequence[RecordedEvent | Firing], *, expected_length: int | None = None
    ) -> int:
        if not _LIFECYCLE.isdisjoint(self.versions):
            return super().append_firings(items, expected_length=expected_length)
        stamped = [self._converted(item, self._stamped_recorded) for item in items]
        return self._ledger.append_firings(stamped, expected_length=expected_length)

    def read_firings(self, from_position: int = 0) -> Iterator[RecordedEvent | Firing]:
        if not _LIFECYCLE.isdisjoint(self.versions):
            return super().read_firings(from_position)
        items, upcast = self._ledger.read_firings(from_position), self._upcasters.upcast
        return (self._converted(item, upcast) for item in items)

    @staticmethod
    def _converted(
        item: RecordedEvent | Firing, convert: Callable[[RecordedEvent], RecordedEvent]
    ) -> RecordedEvent | Firing:
        """Return an item with its events converted, except for those of a firing's lifecycle."""
        if isinstance(item, Firing):
            return item.with_outputs([convert(event) for event in item.outputs])
        return convert(item)

    def _stamped_recorded(self, event: RecordedEvent) -> RecordedEvent:
        version = self._upcasters.version_of(event.type)
        return event if event.version == version else attrs.evolve(event, version=version)

    def _stamped(self, event: KandoEvent) -> KandoEvent:
        return self._stamped_recorded(event) if isinstance(event, RecordedEvent) else event

    def read(self, from_position: int = 0) -> Iterator[RecordedEvent]:
        return map(self._upcasters.upcast, self._ledger.read(from_position))

    def blobs(self, digests: Sequence[bytes]) -> Mapping[bytes, bytes]:
        return self._ledger.blobs(digests)

    def store_blobs(self, bodies: Sequence[bytes]) -> None:
        self._ledger.store_blobs(bodies)

    def stream_name(self) -> str:
        return self._ledger.stream_name()

    def length(self) -> int:
        return self._ledger.length()

    def at(self, position: int) -> RecordedEvent | None:
        event = self._ledger.at(position)
        return None if event is None else self._upcasters.upcast(event)

    def find(self, event_id: str) -> RecordedEvent | None:
        event = self._ledger.find(event_id)
        return None if event is None else self._upcasters.upcast(event)

    def links(self, start: int, stop: int, *, excluding: Collection[str] = ()) -> Iterator[Link]:
        return self._ledger.links(start, stop, excluding=excluding)

    def events_about(
        self, objects: Collection[str], relations: Collection[str], stop: int
    ) -> Iterator[RecordedEvent]:
        return map(self._upcasters.upcast, self._ledger.events_about(objects, relations, stop))

    def stray_position(self) -> int | None:
        return self._ledger.stray_position()

    def digest(self, position: int) -> bytes:
        return self._ledger.digest(position)

    def close(self) -> None:
        self._ledger.close()
