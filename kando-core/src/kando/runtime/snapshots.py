"""Snapshots of a run's world and other views, updated as its ledger grows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from kando.errors import StoreError
from kando.ledger.interface import LedgerStore
from kando.schema.events import RecordedEvent
from kando.schema.firing import Firing
from kando.views.status import StatusFold
from kando.views.stored import Views
from kando.world.graph import World
from kando.world.snapshot import SnapshotStore, open_snapshot, save_snapshot

__all__ = ["Snapshots"]

#: How many events the views process together.
_AT_ONCE = 1000


class Snapshots:
    """Keeps the snapshot of one ledger up to date.

    During a run, the snapshot is replaced only when the ledger has grown by half since the last one,
    so all snapshots together take a bounded share of the time of the run, however long it is.

    Args:
        ledger: of the run.
        store: stores the snapshot.
        interval: minimum number of events between two snapshots during a run.
        position_of: returns the position of an event by its id, or None.
    """

    def __init__(
        self,
        ledger: LedgerStore,
        store: SnapshotStore,
        interval: int,
        position_of: Callable[[str], int | None],
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._interval = interval
        self._least = store.least
        self._position_of = position_of
        self._views: Views | None = Views(position_of)
        # A snapshot that does not match its ledger is ignored and replaced.
        stored = open_snapshot(ledger, store) if ledger.length() >= self._least else None
        is_whole = stored is not None and stored.world() is not None
        if stored is not None and is_whole and self._views.restore(stored):
            self._position = stored.position
        else:
            self._position = 0

    @property
    def status(self) -> StatusFold | None:
        """The fold of the run's status; None if the views cannot process its events."""
        return self._views.status if self._views is not None else None

    def observe_restored(
        self, items: Iterable[RecordedEvent | Firing]
    ) -> Iterator[RecordedEvent | Firing]:
        """Pass on the items of the ledger, and show the views the events that they have not seen."""
        new: list[RecordedEvent | Firing] = []
        for item in items:
            # The positions of the earlier events are known: their items are restored.
            if len(new) >= _AT_ONCE:
                self.observe(new)
                new = []
            if item.position >= self._position:
                new.append(item)
            elif isinstance(item, Firing):
                # The snapshot may have been taken within it.
                new += [each for each in item.events() if each.position >= self._position]
            yield item
        self.observe(new)

    def observe(self, items: Sequence[RecordedEvent | Firing]) -> None:
        """Show recorded events to the views."""
        if self._views is None:
            return
        try:
            self._views.observe(items)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            # Views must not stop the run: events written by hand may lack fields that they count.
            problem = f"{type(error).__name__}: {error}"
            self._warn(f"they cannot process one of its events ({problem})", "views", "are")
            self._views = None

    def update(self, world: World, position: int) -> None:
        """Store a snapshot of the world of the first `position` events, if it is time for one."""
        if position - self._position >= max(self._interval, self._position // 2):
            self._keep(world, position)

    def finish(
        self, world: World, position: int, resting_kit: Mapping[str, Any] | None = None
    ) -> None:
        """Store the snapshot at the end of a run.

        Args:
            world: of the first `position` events, which are saved.
            position: the length of the ledger.
            resting_kit: name, version and distribution of the kit, if the run is idle with it; None
                if work may be pending.
        """
        if position - self._position >= self._least:
            self._keep(world, position, resting_kit)
        elif self._position and resting_kit is not None:
            self._note_rest(resting_kit)

    def _keep(
        self, world: World, position: int, resting_kit: Mapping[str, Any] | None = None
    ) -> None:
        try:
            views = self._views.states(world) if self._views is not None else {}
            save_snapshot(
                world, self._ledger, self._store, position, views=views, resting_kit=resting_kit
            )
        except (OSError, StoreError) as error:
            # Nothing is lost but time: the next reader projects the ledger.
            self._warn(str(error))
        self._position = position

    def _note_rest(self, kit: Mapping[str, Any]) -> None:
        """Note in the stored snapshot that the run is idle with this kit."""
        stored = open_snapshot(self._ledger, self._store)
        if stored is None or stored.is_at_rest(kit):
            return
        try:
            self._store.put(stored.resting(kit))
        except (OSError, StoreError) as error:
            self._warn(str(error))

    def _warn(self, problem: str, what: str = "snapshot", verb: str = "is") -> None:
        msg = f"The {what} of {self._ledger.stream_name()} {verb} not stored: {problem}."
        warnings.warn(msg, stacklevel=3)
