"""The views that a runtime keeps beside the world, as folds over what it records."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kando.schema.events import RecordedEvent
from kando.trace.index import LINEAGE_INDEX, LineageIndex
from kando.world.snapshot import StoredSnapshot

__all__ = ["Views", "lineage_of"]


def lineage_of(stored: StoredSnapshot) -> LineageIndex | None:
    """Return the lineage index of a snapshot, or None; a damaged one is ignored with a warning."""

    def decode(state: bytes) -> LineageIndex:
        index = LineageIndex.of_state(state)
        if len(index) != stored.position:
            msg = "it is of another position"
            raise ValueError(msg)
        return index

    return stored.view(LINEAGE_INDEX, decode, of_data=False)


class Views:
    """Every view of one ledger but its world.

    Args:
        position_of: returns where an event stands, by its id; None if it does not know.
    """

    def __init__(self, position_of: Callable[[str], int | None]) -> None:
        self._position_of = position_of
        self.length = 0
        self._lineage = LineageIndex()

    def take_up(self, stored: StoredSnapshot) -> bool:
        """Go on from those of a snapshot; False if it does not have them all."""
        lineage = lineage_of(stored)
        if lineage is None:
            return False
        self._lineage = lineage
        self.length = stored.position
        return True

    def see(self, events: Sequence[RecordedEvent]) -> None:
        """Take in the events that follow."""
        self._lineage.extend(events, self._position_of)
        self.length += len(events)

    def states(self) -> dict[str, bytes]:
        """Return the views as they are stored, by name."""
        return {LINEAGE_INDEX: self._lineage.state()}
