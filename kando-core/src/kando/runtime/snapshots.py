"""Snapshots of a run's world and other views, kept as its ledger grows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from kando.errors import StoreError
from kando.ledger.interface import LedgerStore
from kando.schema.events import RecordedEvent
from kando.views.stored import Views
from kando.world.graph import World
from kando.world.snapshot import SnapshotStore, open_snapshot, save_snapshot

__all__ = ["Snapshots"]

#: Events of a ledger that are taken into the views together.
_AT_ONCE = 1000


class Snapshots:
    """Keeps the snapshot of one ledger up to date.

    The one that is kept must have grown by half before it is replaced during a run, so that all
    snapshots together cost no more than a share of the run, however long it becomes.

    Args:
        ledger: whose views are kept.
        store: where.
        interval: how many events pass at least between two snapshots during a run.
        position_of: returns where an event stands, by its id; None if it does not know.
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
        # One that does not fit its ledger counts as none, and is replaced.
        stored = open_snapshot(ledger, store) if ledger.length() >= self._least else None
        is_whole = stored is not None and stored.world() is not None
        if stored is not None and is_whole and self._views.restore(stored):
            self._position = stored.position
        else:
            self._position = 0

    def recovering(self, events: Iterable[RecordedEvent]) -> Iterator[RecordedEvent]:
        """Pass on the events that the ledger holds, and take those into the views that they lack."""
        new: list[RecordedEvent] = []
        for event in events:
            # Who is told of an event knows its place only later, when its whole firing is there.
            if len(new) >= _AT_ONCE and self._position_of(new[-1].id) is not None:
                self.see(new)
                new = []
            if event.position >= self._position:
                new.append(event)
            yield event
        self.see(new)

    def see(self, events: Sequence[RecordedEvent]) -> None:
        """Take what is recorded into the views."""
        if self._views is None:
            return
        try:
            self._views.observe(events)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            # The run is what matters: what somebody wrote by hand may lack what a view counts.
            problem = f"{type(error).__name__}: {error}"
            self._warn(f"they cannot take in what it holds ({problem})", "views", "are")
            self._views = None

    def grown(self, world: World, position: int) -> None:
        """Take note that the world of the first `position` events is saved."""
        if position - self._position >= max(self._interval, self._position // 2):
            self._keep(world, position)

    def finished(
        self, world: World, position: int, resting_kit: Mapping[str, Any] | None = None
    ) -> None:
        """Take note that a run is over.

        Args:
            world: of the first `position` events, which are saved.
            position: the length of the ledger.
            resting_kit: name, version and distribution of the kit that has nothing left to do;
                None if something may be left.
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
            # The ledger has everything; only the next reader's time is lost.
            self._warn(str(error))
        self._position = position

    def _note_rest(self, kit: Mapping[str, Any]) -> None:
        """Note in the snapshot that is kept that nothing is left to do."""
        stored = open_snapshot(self._ledger, self._store)
        if stored is None or stored.is_at_rest(kit):
            return
        try:
            self._store.put(stored.resting(kit))
        except (OSError, StoreError) as error:
            self._warn(str(error))

    def _warn(self, problem: str, what: str = "snapshot", verb: str = "is") -> None:
        msg = f"No {what} of {self._ledger.stream_name()} {verb} kept: {problem}."
        warnings.warn(msg, stacklevel=3)
