"""A cache of snapshots in memory, so that a server need not fold the same events at each request."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import attrs

from kando.errors import InvalidData
from kando.ledger.interface import LedgerStore
from kando.ledger.prefix import LedgerPrefix
from kando.schema.events import RecordedEvent
from kando.schema.firing import Firing, outputs_of
from kando.views.stored import Views
from kando.world.graph import World
from kando.world.projection import change_of, commit
from kando.world.snapshot import StoredSnapshot, open_snapshot, save_snapshot

if TYPE_CHECKING:
    from kando.app.opened import OpenedRun

__all__ = ["SnapshotCache"]


@attrs.frozen
class _Entry:
    stream: str
    position: int
    digest: bytes
    body: bytes


@attrs.define
class SnapshotCache:
    """Snapshots of the ledgers that were read last, in addition to those that are stored.

    They are what a runtime stores: an opened run whose context has this cache reads them in the same
    way. A snapshot is used only if the ledger still has the same digest at its position.

    Attributes:
        least: a snapshot is made for this many new events; fewer are read in a fraction of a second.
        step: number of events after which a snapshot is kept on the way to another one.
        max_bytes: limit for all snapshots together; the newest one is always kept.
    """

    least: int = 4_000
    step: int = 8_000
    max_bytes: int = 64_000_000
    _entries: list[_Entry] = attrs.field(factory=list, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)
    _folding: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def catch_up(self, run: OpenedRun, end: int) -> None:
        """Keep a snapshot of a run at a position, unless the latest one before it is near.

        Only the events since that one are read.

        Args:
            run: opened before the call; open it again to read it with the snapshot.
            end: number of events that count.
        """
        # A second request for the same run waits, and finds the snapshot.
        with self._folding:
            stored = run.snapshot_at(end)
            if end - (stored.position if stored is not None else 0) < self.least:
                return
            try:
                self._fold(run.current, stored, end)
            except InvalidData:
                # The kit's upcasters cannot convert an event: it is read as it was recorded.
                return

    def _fold(self, ledger: LedgerStore, stored: StoredSnapshot | None, end: int) -> None:
        places: dict[str, int] = {}

        def position_of(id: str) -> int | None:
            place = places.get(id)
            if place is None and (event := ledger.find(id)) is not None:
                place = event.position
            return place

        views, world, start = Views(position_of), World(), 0
        restored = stored.world() if stored is not None else None
        if stored is not None and restored is not None and views.restore(stored):
            world, start = restored, stored.position
        batch: list[RecordedEvent | Firing] = []
        position = kept = start
        for item in _items(ledger, start, end):
            batch.append(item)
            for event in outputs_of([item]):
                places[event.id] = event.position
                # Its objects share the data of the events, which nothing changes.
                commit(world, change_of(event, world))
            position += _size(item)
            if position - kept >= self.step or position == end:
                views.observe(batch)
                body = _Body()
                save_snapshot(world, ledger, body, position, views=views.states(world))
                self.put(ledger, position, body.get())
                batch, kept = [], position

    def latest(self, ledger: LedgerStore, end: int) -> StoredSnapshot | None:
        """Return the latest snapshot of a ledger up to a position, or None.

        Args:
            ledger: with its events as recorded, or upcast.
            end: number of events that count.
        """
        stream = ledger.stream_name()
        with self._lock:
            usable = [e for e in self._entries if e.stream == stream and e.position <= end]
            if not usable:
                return None
            found = max(usable, key=lambda entry: entry.position)
            # Those that are used stay longest.
            self._entries.remove(found)
            self._entries.append(found)
        if ledger.digest(found.position) == found.digest:
            return open_snapshot(ledger, _Body(found.body))
        with self._lock:
            # A run was deleted, and another one has its id now.
            self._entries = [each for each in self._entries if each.stream != stream]
        return None

    def note_rest(self, ledger: LedgerStore, end: int, kit: Mapping[str, Any]) -> None:
        """Note in the latest snapshot of a run that a kit has nothing left to do, if it is kept here.

        Args:
            ledger: of the run.
            end: number of its events when the kit had nothing left to do.
            kit: name, version and distribution of the kit.
        """
        stored = self.latest(ledger, end)
        if stored is not None:
            body = attrs.evolve(stored, ledger=LedgerPrefix(ledger, end)).resting(kit)
            self.put(ledger, stored.position, body)

    def put(self, ledger: LedgerStore, position: int, body: bytes) -> None:
        """Keep a snapshot, and drop those that were not used for the longest time.

        Args:
            ledger: that the snapshot is of.
            position: number of events that it covers.
            body: of the snapshot.
        """
        new = _Entry(ledger.stream_name(), position, ledger.digest(position), body)
        with self._lock:
            self._entries = [
                e for e in self._entries if (e.stream, e.position) != (new.stream, position)
            ]
            self._entries.append(new)
            while (
                len(self._entries) > 1 and sum(len(e.body) for e in self._entries) > self.max_bytes
            ):
                del self._entries[0]


@attrs.define
class _Body:
    """Holds one snapshot in memory."""

    _body: bytes = b""
    least: int = 0

    def get(self) -> bytes:
        return self._body

    def put(self, body: bytes) -> None:
        self._body = body


def _items(ledger: LedgerStore, start: int, end: int) -> Iterator[RecordedEvent | Firing]:
    """Yield the events and firings up to a position; a firing that it cuts as single events."""
    position = start
    for item in ledger.read_firings(start):
        if position + _size(item) > end:
            break
        yield item
        position += _size(item)
    yield from islice(ledger.read(position), end - position)


def _size(item: RecordedEvent | Firing) -> int:
    return len(item) if isinstance(item, Firing) else 1
