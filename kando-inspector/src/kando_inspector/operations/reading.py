"""Operations that read a run: events, worlds, traces, differences, branches and approvals."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import attrs

from kando.app.approvals import Approval
from kando.app.run import Run
from kando.app.shapes import approval_dict, diff_dict, event_dict, world_dict
from kando.app.trace import Trace
from kando.errors import LedgerNotFound
from kando.views.questions import Question
from kando_inspector.encoding import encoded
from kando_inspector.paging import MAX_BYTES, cursor_number, page, page_from, page_of
from kando_inspector.parameters import AT, CURSOR, RUN, limit
from kando_inspector.table import Call, Operation, Parameter

__all__ = ["OPERATIONS"]

_MAX_EVENTS = 1000

#: How many events a page reads at most, to find those of one type.
_MAX_READ = 20_000


def _events(call: Call) -> dict[str, Any]:
    given = call.arguments
    run, end = call.run_at()
    if "branch" in given:
        run, end = _branch_of(call, run)
    after = cursor_number(given["cursor"]) if "cursor" in given else given.get("after", -1)
    wanted, most = given.get("type"), given.get("limit", 100)
    found: list[Any] = []
    size, last = 0, min(after, end - 1)
    for event in islice(run.events(last + 1, at=end), _MAX_READ):
        if wanted in (None, event.type):
            item = event_dict(event)
            size += len(encoded(item))
            if len(found) == most or (found and size > MAX_BYTES):
                break
            found.append(item)
        last = event.position
    return page(found, str(last) if last + 1 < end else None)


def _branch_of(call: Call, run: Run) -> tuple[Run, int]:
    """Return the branch of a run whose events are asked for, and how many of them count."""
    branch = call.service.store.run(call.arguments["branch"])
    above: Run | None = branch
    while above is not None and above.id != run.id:
        meta = above.branch_meta()
        above = call.service.store.run(meta.parent_run_id) if meta is not None else None
    if above is None:
        msg = f"{branch.id} is not a branch of {run.id}."
        raise LedgerNotFound(msg, hint=f"`kando branches {run.id}` lists them.")
    return call.service.store.run_at(branch.id, call.arguments.get("at"))


def _event(call: Call) -> dict[str, Any]:
    run, at = call.run_at()
    return event_dict(run.event(call.arguments["event"], at=at))


def _world(call: Call) -> dict[str, Any]:
    service, given = call.service, call.arguments
    with service.worlds.borrow(service.store, given["run"], given.get("at")) as (world, _, at):
        return world_dict(world, at, given.get("type"))


def _object(call: Call) -> dict[str, Any]:
    run, at = call.run_at()
    return attrs.asdict(run.object(call.arguments["object"], at=at))


def _relation(call: Call) -> dict[str, Any]:
    run, at = call.run_at()
    return attrs.asdict(run.relation(call.arguments["relation"], at=at))


def _conversations(call: Call) -> dict[str, Any]:
    run, at = call.run_at()
    items = (attrs.asdict(each) for each in run.conversations(at=at))
    return page_of(items, call.arguments.get("limit", 100), call.arguments.get("cursor"))


def _trace(call: Call) -> dict[str, Any]:
    given = call.arguments
    run, end = call.run_at()
    found = call.service.traces.trace(
        run,
        given["event"],
        end,
        is_down=given.get("direction") == "effects",
        depth=given.get("depth"),
        with_bookkeeping=given.get("all", False),
    )
    cursor = given.get("cursor")
    start = cursor_number(cursor) if cursor is not None else 0
    return page_from(_traced(found, start), given.get("limit", 500), start)


def _traced(found: Trace, start: int) -> Iterator[dict[str, Any]]:
    """Yield the events of a trace, and of those with which it continues in other ledgers.

    Args:
        found: the trace.
        start: number of events to leave out, which are not read.
    """
    for part in found.parts():
        run_id = part.ledger.stream_name().partition(":")[2]
        for step, event in zip(part.steps[start:], part.events(start), strict=True):
            yield event_dict(event) | {"run_id": run_id, "depth": step.depth}
        start = max(start - len(part.steps), 0)


def _diff(call: Call) -> dict[str, Any]:
    store = call.service.store
    (a, at), (b, other_at) = store.run_at(call.arguments["a"]), store.run_at(call.arguments["b"])
    return diff_dict(a.diff(b, at=at, other_at=other_at))


def _branches(call: Call) -> dict[str, Any]:
    given = call.arguments
    items = (attrs.asdict(each) for each in call.run().branches())
    return page_of(items, given.get("limit", 1000), given.get("cursor"))


def _approvals(call: Call) -> dict[str, Any]:
    """Return the approvals and questions of a run that wait, and of child runs that it waits for."""
    given = call.arguments
    run, at = call.folded_run_at()
    runs: list[tuple[Run, int | None]] = [(run, at)]
    # The children that a run waited for at some time are those of its ledger then.
    if "at" not in given:
        runs += [(each, None) for each in run.children()]
    return page_of(_waiting(runs), given.get("limit", 100), given.get("cursor"))


def _waiting(runs: list[tuple[Run, int | None]]) -> Iterator[dict[str, Any]]:
    for run, at in runs:
        waiting: list[Approval | Question] = [*run.approvals(at=at), *run.questions(at=at)]
        for each in waiting:
            yield approval_dict(each) | {"run_id": run.id}


_MANY = (404, 409)
_EVENT = Parameter("event", "Id of an event of the run.", is_in_path=True)

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "list_events",
        "GET",
        "/runs/{run}/events",
        "List events of a run, in order. A page may have fewer than `limit` although others follow.",
        _events,
        "EventPage",
        (
            RUN,
            Parameter(
                "after",
                "Position of the last event that is known: the page starts with the next one.",
                {"type": "integer", "minimum": -1, "maximum": 999_999_999_999},
            ),
            limit(_MAX_EVENTS, 100),
            CURSOR,
            Parameter("type", "Only events of this type."),
            Parameter("branch", "A branch of the run, whose events are listed instead."),
            AT,
        ),
        errors=_MANY,
        is_of_ledger=True,
    ),
    Operation(
        "get_event",
        "GET",
        "/runs/{run}/events/{event}",
        "Return one event of a run.",
        _event,
        "Event",
        (RUN, _EVENT, AT),
        errors=_MANY,
        is_of_ledger=True,
    ),
    Operation(
        "get_world",
        "GET",
        "/runs/{run}/world",
        "Return the objects and relations of a run.",
        _world,
        "World",
        (RUN, Parameter("type", "Only objects of this type, and no relations."), AT),
        errors=_MANY,
        is_of_ledger=True,
    ),
    Operation(
        "get_object",
        "GET",
        "/runs/{run}/objects/{object}",
        "Return one object of a run.",
        _object,
        "Object",
        (RUN, Parameter("object", "Id of the object.", is_in_path=True), AT),
        errors=_MANY,
        is_of_ledger=True,
    ),
    Operation(
        "get_relation",
        "GET",
        "/runs/{run}/relations/{relation}",
        "Return one relation of a run.",
        _relation,
        "Relation",
        (RUN, Parameter("relation", "Id of the relation.", is_in_path=True), AT),
        errors=_MANY,
        is_of_ledger=True,
    ),
    Operation(
        "list_conversations",
        "GET",
        "/runs/{run}/conversations",
        "List the conversations of a run with models, and the single requests to them.",
        _conversations,
        "ConversationPage",
        (RUN, limit(_MAX_EVENTS, 100), CURSOR, AT),
        errors=_MANY,
        is_of_ledger=True,
    ),
    Operation(
        "get_trace",
        "GET",
        "/runs/{run}/trace/{event}",
        "List why an event exists, or what followed from it; the event comes first.",
        _trace,
        "TracePage",
        (
            RUN,
            Parameter(
                "event",
                "Id of an event, or of an object or relation, which stands for the event that "
                "created it.",
                is_in_path=True,
            ),
            Parameter(
                "direction",
                "The causes of the event, or its effects.",
                {"type": "string", "enum": ["causes", "effects"], "default": "causes"},
            ),
            Parameter(
                "depth",
                "Maximum number of links to follow.",
                {"type": "integer", "minimum": 0, "maximum": 1_000_000},
            ),
            Parameter(
                "all",
                "Whether effects include the bookkeeping events of the runtime.",
                {"type": "boolean", "default": False},
            ),
            limit(_MAX_EVENTS, 500),
            CURSOR,
            AT,
        ),
        errors=_MANY,
    ),
    Operation(
        "list_branches",
        "GET",
        "/runs/{run}/branches",
        "List the run that this one descends from, its branches and child runs, as a tree.",
        _branches,
        "BranchPage",
        (RUN, limit(5000, 1000), CURSOR),
        errors=_MANY,
    ),
    Operation(
        "list_approvals",
        "GET",
        "/runs/{run}/approvals",
        "List the approvals and questions that wait for a person, also those of child runs.",
        _approvals,
        "ApprovalPage",
        (RUN, limit(_MAX_EVENTS, 100), CURSOR, AT),
        errors=_MANY,
    ),
    Operation(
        "get_diff",
        "GET",
        "/diff",
        "Compare two runs: worlds, steps and costs.",
        _diff,
        "Diff",
        (
            Parameter("a", "The first run, as RUN or RUN@N.", is_required=True),
            Parameter("b", "The second run, as RUN or RUN@N.", is_required=True),
        ),
        errors=_MANY,
    ),
)
