"""A trace as pages: from an event back to its goal, or on to what followed from it."""

from __future__ import annotations

from kando.app.store import Store
from kando.app.trace import Trace
from kando.errors import EventNotFound
from kando.schema.events import RecordedEvent
from kando.trace.figure import about
from kando.trace.walk import Step
from kando_mcp.results.errors import no_such_event
from kando_mcp.results.paging import clip, cursor_text, page, read_cursor
from kando_mcp.results.shapes import Direction, TraceResult, TraceStep

__all__ = ["DEFAULT_DEPTH", "trace_page"]

DEFAULT_DEPTH = 100


def trace_page(
    app: Store,
    event_id: str,
    run: str,
    direction: Direction,
    depth: int,
    with_data: bool,
    cursor: str | None,
    limit: int,
    chars: int,
) -> TraceResult:
    """Return a page of a trace, the event itself first.

    Args:
        app: where.
        event_id: an event, object or relation.
        run: an id, a unique prefix, ``@last`` or ``demo``, or ``RUN@N`` for its first N events.
        direction: ``up`` to the causes, ``down`` to the effects.
        depth: how many steps away at most.
        with_data: whether the data of the events is shown.
        cursor: of the page.
        limit: of steps.
        chars: of the page.

    Raises:
        LedgerNotFound, AmbiguousName: there is no such run.
        EventNotFound: it has no such event, object or relation; the nearest are named.
        ConfigurationError: the cursor is none.
    """
    (start,) = read_cursor(cursor, 1) if cursor is not None else (0,)
    named, end = app.run_at(run)
    try:
        found = named.trace(event_id, at=end, down=direction == "down", depth=depth)
    except EventNotFound as error:
        raise no_such_event(app, run, event_id) from error
    entries = zip(found.steps, found.events(), strict=True)
    steps, stop = page(entries, start, limit, chars, _with_data if with_data else _step)
    arrow = " <- " if direction == "up" else " -> "
    chain = arrow.join(event.id for event in Trace(found.ledger, found.steps[:8]).events())
    return {
        "summary": clip(chain, 1_000) + (" ..." if len(found.steps) > 8 else ""),
        "run_id": named.id,
        "direction": direction,
        "steps": steps,
        "next_cursor": cursor_text(stop) if stop is not None else None,
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
        "about": clip(about(event), 200),
    }


def _with_data(entry: tuple[Step, RecordedEvent]) -> TraceStep:
    return {**_step(entry), "data": entry[1].data}
