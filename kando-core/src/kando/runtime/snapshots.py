"""Snapshots of a run's world, kept as its ledger grows."""

from __future__ import annotations

import warnings

from kando.errors import StoreError
from kando.ledger.interface import LedgerStore
from kando.world.graph import World
from kando.world.snapshot import SnapshotStore, load_snapshot, save_snapshot

__all__ = ["Snapshots"]


class Snapshots:
    """Keeps the snapshot of one ledger up to date.

    The one that is kept must have grown by half before it is replaced during a run, so that all
    snapshots together cost no more than a share of the run, however long it becomes.

    Args:
        ledger: whose world is kept.
        store: where.
        interval: how many events pass at least between two snapshots during a run.
    """

    def __init__(self, ledger: LedgerStore, store: SnapshotStore, interval: int) -> None:
        self._ledger = ledger
        self._store = store
        self._interval = interval
        self._least = store.least
        # One that does not fit its ledger counts as none, and is replaced.
        found = load_snapshot(ledger, store) if ledger.length() >= self._least else None
        self._position = found.position if found is not None else 0

    def grown(self, world: World, position: int) -> None:
        """Take note that the world of the first `position` events is saved."""
        if position - self._position >= max(self._interval, self._position // 2):
            self._keep(world, position)

    def finished(self, world: World, position: int) -> None:
        """Take note that nothing is left to do."""
        if position - self._position >= self._least:
            self._keep(world, position)

    def _keep(self, world: World, position: int) -> None:
        try:
            save_snapshot(world, self._ledger, self._store, position)
        except (OSError, StoreError) as error:
            # The ledger has everything; only the next reader's time is lost.
            warnings.warn(
                f"No snapshot of {self._ledger.stream_name()} is kept: {error}.", stacklevel=2
            )
        self._position = position
