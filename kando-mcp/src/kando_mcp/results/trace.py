"""A trace as pages: from an event up to its goal, or down to its effects."""

from __future__ import annotations

from kando.app.store import Store
from kando.app.trace import Trace
from kando.errors import EventNotFound
from kando.schema.events import RecordedEvent
from kando.trace.figure import about
from kando.trace.walk import Step
from kando_mcp.results.errors import event_not_found
from kando_mcp.results.paging import format_cursor, page, parse_cursor, truncate
from kando_mcp.results.shapes import Direction, TraceResult, TraceStep

__all__ = ["DEFAULT_DEPTH", "trace_page"]

DEFAULT_DEPTH = 100


def trace_page(
    store: Store,
    event_id: str,
    run: str,
    direction: Direction,
    depth: int,
    with_data: bool,
    cursor: str | None,
    limit: int,
    chars: int,
) -> TraceResult:
    """Return a page of a trace, which starts with the event itself.

    Args:
        store: the store of the run.
        event_id: id of an event, object or relation.
        run: an id, a unique prefix, ``@last`` or ``demo``, or ``RUN@N`` for its first N events.
        direction: ``up`` to the causes, ``down`` to the effects.
        depth: maximum distance from the event.
        with_data: whether to include the data of the events.
        cursor: cursor of the page; None for the first page.
        limit: maximum number of steps.
        chars: maximum length of the page, in characters of its JSON.

    Raises:
        LedgerNotFound, AmbiguousName: no run, or more than one, has this id.
        EventNotFound: no event, object or relation has this id; the hint names the nearest.
        ConfigurationError: the cursor is malformed.
    """
    (start,) = parse_cursor(cursor, 1) if cursor is not None else (0,)
    named, end = store.run_at(run)
    try:
        found = named.trace(event_id, at=end, down=direction == "down", depth=depth)
    except EventNotFound as error:
        raise event_not_found(store, run, event_id) from error
    entries = zip(found.steps, found.events(), strict=True)
    steps, stop = page(entries, start, limit, chars, _with_data if with_data else _step)
    arrow = " <- " if direction == "up" else " -> "
    chain = arrow.join(event.id for event in Trace(found.ledger, found.steps[:8]).events())
    return {
        "summary": truncate(chain, 1_000) + (" ..." if len(found.steps) > 8 else ""),
        "run_id": named.id,
        "direction": direction,
        "steps": steps,
        "next_cursor": format_cursor(stop) if stop is not None else None,
    }


def _step(entry: tuple[Step, RecordedEvent]) -> TraceStep:
    step, event = entry
    return {
        "id": event.id,
        "type": event.type,
        "actor": event.actor,
        "cause": event.cause[:50],
        "position": event.position,
        "depth": step.depth,
        "is_root": event.is_root,
        "about": truncate(about(event), 200),
    }


def _with_data(entry: tuple[Step, RecordedEvent]) -> TraceStep:
    return {**_step(entry), "data": entry[1].data}
