"""The child runs that a ledger shows: those that it waits for, and those that have ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from kando.schema.events import RUN_ENDED, RUN_REQUESTED, RecordedEvent
from kando.views.pending import answered_by

__all__ = ["RequestedRun", "keys_of_requested_runs", "open_children", "track_children"]


@attrs.frozen
class RequestedRun:
    """A child run that a ledger asks for.

    Attributes:
        event_id: id of its ``run.requested``.
        kit: name of its kit.
        lineage_key: of the ``run.requested``.
        run_id: of the child, once it has ended; else None.
        state: with which it ended, or None.
        cause_object_id: id of the object that it is about, or None.
    """

    event_id: str
    kit: str
    lineage_key: str
    run_id: str | None = None
    state: str | None = None
    cause_object_id: str | None = None


def track_children(known: dict[str, RequestedRun], event: RecordedEvent) -> None:
    """Update the child runs with the next event of a ledger.

    Args:
        known: by the id of their ``run.requested``; changed in place. One that got an answer without
            a run, such as a denied one, is left out.
        event: any event.
    """
    if event.type == RUN_REQUESTED:
        kit = str(event.data.get("kit") or "")
        about = event.data.get("cause_object_id")
        about = about if isinstance(about, str) else None
        known[event.id] = RequestedRun(event.id, kit, event.lineage_key, cause_object_id=about)
    elif event.type == RUN_ENDED:
        for id in answered_by(event):
            run_id, state = event.data.get("run_id"), event.data.get("state")
            if id in known and isinstance(run_id, str) and isinstance(state, str):
                known[id] = attrs.evolve(known[id], run_id=run_id, state=state)
            else:
                known.pop(id, None)


def open_children(events: Iterable[RecordedEvent]) -> list[RequestedRun]:
    """Return the child runs that a ledger waits for, in order."""
    known: dict[str, RequestedRun] = {}
    for event in events:
        track_children(known, event)
    return [each for each in known.values() if each.run_id is None]


def keys_of_requested_runs(events: Iterable[RecordedEvent]) -> Iterator[str]:
    """Yield the lineage key of each ``run.requested``, ended or not: its child run follows from it."""
    return (event.lineage_key for event in events if event.type == RUN_REQUESTED)
