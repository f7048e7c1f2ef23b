"""Where the snapshots of runs are kept: in the substrate, or in a folder that was named."""

from __future__ import annotations

from pathlib import Path

import attrs

from kando.app.context import App, id_of
from kando.app.demo import DEMO_ID
from kando.ledger.interface import LedgerStore
from kando.ledger.substrate import Substrate
from kando.world.snapshot import FileSnapshots, SnapshotStore, StoredSnapshot, open_snapshot

__all__ = ["snapshots_of", "stored_snapshot"]


def snapshots_of(app: App, ledger: LedgerStore, *, read_only: bool = True) -> SnapshotStore | None:
    """Return where a ledger's snapshot is kept: ``KANDO_SNAPSHOT_DIR``, else the substrate.

    Args:
        app: where.
        ledger: of a run or branch.
        read_only: whether nothing will be put there.

    Returns:
        None for the demo run, which is kept nowhere.
    """
    directory = app.environ.get("KANDO_SNAPSHOT_DIR")
    if directory:
        return FileSnapshots(Path(directory), ledger)
    if id_of(ledger) == DEMO_ID:
        return None
    return _SubstrateSnapshots(app.substrate(read_only=read_only), id_of(ledger))


def stored_snapshot(app: App, ledger: LedgerStore) -> StoredSnapshot | None:
    """Return the snapshot of a ledger, nothing in it decoded yet, or None."""
    store = snapshots_of(app, ledger)
    return open_snapshot(ledger, store) if store is not None else None


@attrs.frozen
class _SubstrateSnapshots:
    """The snapshot of a ledger in its substrate."""

    substrate: Substrate
    ledger_id: str
    #: Fewer events are read from the ledger in a few milliseconds.
    least: int = 1000

    def get(self) -> bytes | None:
        """Return what is kept, or None."""
        return self.substrate.snapshot(self.ledger_id)

    def put(self, body: bytes) -> None:
        """Keep a snapshot in place of the one before."""
        self.substrate.keep_snapshot(self.ledger_id, body)
