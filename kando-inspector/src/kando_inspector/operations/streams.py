"""Operations that stream what happens as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from sse_starlette import EventSourceResponse
from starlette.concurrency import run_in_threadpool

from kando.errors import PositionOutOfRange
from kando_inspector.following import Sent
from kando_inspector.parameters import RUN
from kando_inspector.problems import Problem
from kando_inspector.table import Call, Operation, Parameter

__all__ = ["OPERATIONS"]

#: Seconds between two comments on a stream without news, so that no proxy closes it.
_PING_SECONDS = 15


async def _run(call: Call) -> Any:
    run = await run_in_threadpool(call.run)
    after = _last_id(call)
    length = await run_in_threadpool(run.length)
    if after >= length:
        msg = f"{run.source} has {length} events; it has no event at position {after}."
        raise PositionOutOfRange(msg, hint="Leave it out to read the run from its first event.")
    return _response(call.service.following.events(run.id, after))


async def _all(call: Call) -> Any:
    return _response(call.service.following.runs(_last_id(call)))


def _last_id(call: Call) -> int:
    """Return the last id that the client knows: of the connection before, else of the query."""
    given = call.headers.get("last-event-id", "").strip()
    if not given:
        return int(call.arguments.get("after", -1))
    if not given.isascii() or not given.isdecimal() or len(given) > 14:
        msg = "Last-Event-ID is not an id of this stream."
        raise Problem(400, "usage", msg, "Leave it out.")
    return int(given)


def _response(events: AsyncIterator[Sent]) -> EventSourceResponse:
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return EventSourceResponse(events, headers=headers, ping=_PING_SECONDS)


def _after(about: str) -> Parameter:
    schema = {"type": "integer", "minimum": -1, "maximum": 99_999_999_999_999}
    return Parameter("after", about + " The header Last-Event-ID takes precedence.", schema)


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "follow_run",
        "GET",
        "/runs/{run}/stream",
        "Stream the events of a run from a position on, its states, and answers as they stream in.",
        _run,
        None,
        (RUN, _after("Position of the last event that the client knows; -1 for the whole run.")),
        errors=(404, 409),
        is_stream=True,
    ),
    Operation(
        "follow_runs",
        "GET",
        "/stream",
        "Stream the states of all runs as they change.",
        _all,
        None,
        (_after("Id of the last state that the client knows; -1 for changes from now on."),),
        is_stream=True,
    ),
)
