"""The causal chain from an event back to the goal that it came from."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from kando.errors import EventNotFound
from kando.schema.events import KandoEvent

__all__ = ["build_lineage_index", "explain", "trace"]


def build_lineage_index(events: Iterable[KandoEvent]) -> dict[str, list[str]]:
    """Return the ids of each event's causes, by event id."""
    return {event.id: list(event.cause) for event in events}


def trace(event_id: str, index: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the ids of an event and everything it follows from.

    Breadth first: the event itself comes first and the roots come last. Each id is listed once.
    An id that is not in the index counts as a root.

    Args:
        event_id: where to start.
        index: the ids of each event's causes, as `build_lineage_index` returns them.
    """
    seen = {event_id}
    waiting = deque([event_id])
    between: list[str] = []
    roots: list[str] = []
    while waiting:
        id = waiting.popleft()
        causes = index.get(id, ())
        (between if causes else roots).append(id)
        for cause in causes:
            if cause not in seen:
                seen.add(cause)
                waiting.append(cause)
    return between + roots


def explain(event_id: str, events: Iterable[KandoEvent]) -> list[KandoEvent]:
    """Return an event and everything it follows from, in the order of `trace`.

    Causes that are not among `events` are left out.

    Raises:
        EventNotFound: no event has this id.
    """
    by_id = {event.id: event for event in events}
    if event_id not in by_id:
        msg = f"There is no event {event_id!r} in this ledger."
        raise EventNotFound(msg, hint="`kando events RUN` lists them.")
    index = {id: event.cause for id, event in by_id.items()}
    return [by_id[id] for id in trace(event_id, index) if id in by_id]
