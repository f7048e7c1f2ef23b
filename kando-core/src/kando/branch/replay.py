"""Read a branch: the events that it shares with its parent, then its own."""

from __future__ import annotations

from collections.abc import Iterator

from kando.ledger.substrate import Substrate
from kando.schema.events import RecordedEvent

__all__ = ["read_branch"]


def read_branch(
    substrate: Substrate, branch_id: str, *, own_only: bool = False
) -> Iterator[RecordedEvent]:
    """Yield the events of a branch, in order.

    Args:
        substrate: where the branch lives.
        branch_id: of the branch; a run is read as a branch without a shared prefix.
        own_only: leave out the shared prefix.

    Raises:
        LedgerNotFound: the branch does not exist.
    """
    shared = substrate.info(branch_id).fork_position or 0
    return substrate.open(branch_id).read(shared if own_only else 0)
