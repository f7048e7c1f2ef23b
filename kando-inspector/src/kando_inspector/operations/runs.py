"""Operations about the server and its runs: the session, the list of runs, and the state of one."""

from __future__ import annotations

from typing import Any

from kando.app.shapes import listed_status_dict, status_dict
from kando.views.labels import parse_labels
from kando_inspector.paging import page
from kando_inspector.parameters import AT, CURSOR, RUN, limit
from kando_inspector.service import VERSION, Service
from kando_inspector.table import Call, Operation, Parameter

__all__ = ["OPERATIONS", "session_dict"]

_MAX_RUNS = 200


def session_dict(service: Service, role: str) -> dict[str, Any]:
    """Return the JSON of a session.

    Args:
        service: that is served.
        role: of the client.
    """
    return {"role": role, "version": VERSION, "limits": service.limits.as_dict()}


def _session(call: Call) -> dict[str, Any]:
    return session_dict(call.service, call.role)


def _open_session(call: Call) -> dict[str, Any]:
    """Return the session; the application sets the cookie."""
    return session_dict(call.service, call.role)


def _runs(call: Call) -> dict[str, Any]:
    given = call.arguments
    found = call.service.store.runs(
        state=given.get("state"),
        kit=given.get("kit"),
        text=given.get("q"),
        labels=parse_labels(given.get("label", [])),
        limit=given.get("limit", 20),
        cursor=given.get("cursor"),
    )
    return page([listed_status_dict(each) for each in found], found.next_cursor)


def _run(call: Call) -> dict[str, Any]:
    run, at = call.folded_run_at()
    return status_dict(run.status(at=at if "at" in call.arguments else None))


_STATES = [
    "finished",
    "waiting",
    "stopped",
    "running",
    "exhausted",
    "failed",
    "damaged",
    "paused",
    "cancelled",
]

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "get_session",
        "GET",
        "/session",
        "Return the role of the client, and the limits of the operator.",
        _session,
        "Session",
    ),
    Operation(
        "open_session",
        "POST",
        "/session",
        "Exchange a token for a cookie.",
        _open_session,
        "Session",
        body="Token",
        errors=(413, 415, 422),
    ),
    Operation(
        "list_runs",
        "GET",
        "/runs",
        "List runs and branches, newest first; long texts are truncated.",
        _runs,
        "RunPage",
        (
            Parameter("state", "Only runs in this state.", {"type": "string", "enum": _STATES}),
            Parameter("kit", "Only runs of this kit."),
            Parameter("q", "Only runs whose id or goal contains this text, in any case."),
            Parameter(
                "label",
                "Only runs with this label, as NAME=VALUE; repeated: with all of them.",
                {"type": "array", "items": {"type": "string"}, "maxItems": 32},
            ),
            limit(_MAX_RUNS, 20),
            CURSOR,
        ),
        errors=(422,),
    ),
    Operation(
        "get_run",
        "GET",
        "/runs/{run}",
        "Return the state of a run.",
        _run,
        "RunStatus",
        (RUN, AT),
        errors=(404, 409),
    ),
)
