"""The child runs that a ledger shows: those that it waits for, and those that have ended."""

from __future__ import annotations

import attrs

from kando.schema.events import RUN_ENDED, RUN_REQUESTED, RecordedEvent
from kando.views.pending import answered_by

__all__ = ["RequestedRun", "track_children"]


@attrs.frozen
class RequestedRun:
    """A child run that a ledger asks for.

    Attributes:
        event_id: id of its ``run.requested``.
        kit: name of its kit.
        lineage_key: of the ``run.requested``.
        run_id: of the child, once it has ended; else None.
        state: with which it ended, or None.
    """

    event_id: str
    kit: str
    lineage_key: str
    run_id: str | None = None
    state: str | None = None


def track_children(known: dict[str, RequestedRun], event: RecordedEvent) -> None:
    """Update the child runs with the next event of a ledger.

    Args:
        known: by the id of their ``run.requested``; changed in place. One that ended without a run,
            such as a denied one, is left out.
        event: any event.
    """
    if event.type == RUN_REQUESTED:
        kit = str(event.data.get("kit") or "")
        known[event.id] = RequestedRun(event.id, kit, event.lineage_key)
    elif event.type == RUN_ENDED:
        for id in answered_by(event):
            asked, run_id, state = (
                known.pop(id, None),
                event.data.get("run_id"),
                event.data.get("state"),
            )
            if asked is not None and isinstance(run_id, str) and isinstance(state, str):
                known[id] = attrs.evolve(asked, run_id=run_id, state=state)
