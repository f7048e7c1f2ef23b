"""The causal chain from an event back to the goal that it came from."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from kando.errors import EventNotFound
from kando.schema.events import KandoEvent

__all__ = ["build_lineage_index", "explain", "trace", "trace_by"]


def build_lineage_index(events: Iterable[KandoEvent]) -> dict[str, list[str]]:
    """Return the ids of each event's causes, by event id."""
    return {event.id: list(event.cause) for event in events}


def trace(event_id: str, index: dict[str, list[str]]) -> list[str]:
    """Return the ids of an event and everything it follows from.

    Breadth first: the event itself comes first and the roots come last. Each id stands once.

    Args:
        event_id: where to start.
        index: as `build_lineage_index` returns it.

    Raises:
        EventNotFound: the index has no such event.
    """
    return trace_by(event_id, index.get)


def trace_by(event_id: str, causes_of: Callable[[str], Sequence[str] | None]) -> list[str]:
    """Do what `trace` does, asking `causes_of` for only those events that it meets.

    Args:
        event_id: where to start.
        causes_of: returns the ids of an event's causes, or None for an unknown event.

    Raises:
        EventNotFound: `causes_of` does not know an event that was met.
    """
    seen = {event_id}
    waiting = deque([event_id])
    between: list[str] = []
    roots: list[str] = []
    while waiting:
        id = waiting.popleft()
        causes = causes_of(id)
        if causes is None:
            msg = f"There is no event {id!r} in this ledger."
            raise EventNotFound(msg, hint="`kando events RUN` lists them.")
        (between if causes else roots).append(id)
        for cause in causes:
            if cause not in seen:
                seen.add(cause)
                waiting.append(cause)
    return between + roots


def explain(event_id: str, events: Iterable[KandoEvent]) -> list[KandoEvent]:
    """Return an event and everything it follows from, in the order of `trace`.

    Raises:
        EventNotFound: no event has this id.
    """
    by_id = {event.id: event for event in events}
    index = {id: event.cause for id, event in by_id.items()}
    return [by_id[id] for id in trace(event_id, index)]
