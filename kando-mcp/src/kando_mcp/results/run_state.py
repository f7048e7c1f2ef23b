"""The state of a run as the tools tell it: what it is, and what may be done next."""

from __future__ import annotations

from collections.abc import Mapping

from kando.app.status import (
    CANCELLED,
    DAMAGED,
    EXHAUSTED,
    FAILED,
    PAUSED,
    RUNNING,
    STOPPED,
    WAITING,
    RunStatus,
)
from kando.app.store import Store
from kando_mcp.results.approvals import open_questions
from kando_mcp.results.paging import clip
from kando_mcp.results.shapes import ApprovalShape, RunState
from kando_mcp.worker.order import Report

__all__ = ["run_state"]

_GOAL_CHARS = 500
_PROBLEM_CHARS = 2_000
_TYPES = 50

_LOOKS = ("get_run(", "query_world(", "explain_trace(")


def run_state(
    app: Store, run: str, report: Report | None = None, *, is_read_only: bool
) -> RunState:
    """Return the state of a run or branch.

    Args:
        app: where.
        run: an id, a unique prefix, ``@last`` or ``demo``.
        is_read_only: whether only tools that read can be advised.
        report: what the process said at its end that worked on it last.

    Raises:
        LedgerNotFound, AmbiguousName: there is no such run.
    """
    status = app.run(run).status()
    is_told = report is not None and report.events == status.events and status.state != RUNNING
    asked = open_questions(app, status.run_id) if status.approvals else []
    problem = report.message if report is not None and is_told else None
    return _state_of(status, problem, asked, is_read_only)


def _state_of(
    status: RunStatus, problem: str | None, asked: list[ApprovalShape], is_read_only: bool
) -> RunState:
    told = status.problem or problem
    objects = ", ".join(f"{n} {type}" for type, n in list(status.objects.items())[:8])
    said = f": {clip(told, 300)}" if told else ""
    return {
        "summary": f"{status.run_id} is {status.state} after {status.events} events"
        f" ({objects or 'no objects'}){said}",
        "run_id": status.run_id,
        "state": status.state,
        "goal": clip(status.goal, _GOAL_CHARS) if status.goal is not None else None,
        "kit": status.kit,
        "events": status.events,
        "objects": _counts(status.objects),
        "relations": _counts(status.relations),
        "llm_requests": status.llm_requests,
        "llm_answered": status.llm_answered,
        "llm_cached": status.llm_cached,
        "llm_cost_usd": status.llm_cost_usd,
        "unanswered": status.unanswered,
        "timers": status.timers,
        "last_event_id": status.last_event_id,
        "problem": clip(told, _PROBLEM_CHARS) if told else None,
        "approvals": asked,
        "parent_id": status.parent_id,
        "fork_position": status.fork_position,
        "next_steps": _looks(status) if is_read_only else _next_steps(status),
    }


def _counts(counts: Mapping[str, int]) -> dict[str, int]:
    kept = dict(list(counts.items())[:_TYPES])
    rest = sum(list(counts.values())[_TYPES:])
    return {clip(type, 100): n for type, n in kept.items()} | ({"...": rest} if rest else {})


def _looks(status: RunStatus) -> list[str]:
    """Return the next steps of those who may only look."""
    steps = [step for step in _next_steps(status) if step.startswith(_LOOKS)]
    return steps or [_look(status)]


def _look(status: RunStatus) -> str:
    return f"query_world(run_id={status.run_id}) shows its objects and relations."


def _next_steps(status: RunStatus) -> list[str]:
    run = f"run_id={status.run_id}"
    look = [_look(status)]
    if status.state in (RUNNING, WAITING) and status.approvals:
        return [
            f"{status.approvals} approvals are a person's to give: show them what waits, then "
            f"answer_approval({run}, event_id=ID, approved=true or false).",
            *look,
        ]
    if status.state == RUNNING:
        return [f"get_run({run}, wait_s=30) waits for it.", f"cancel_run({run}) stops it."]
    if status.state == WAITING and status.unanswered:
        return [
            f"{status.unanswered} requests are unanswered: resume_run({run}, llm=PROVIDER) has "
            "them answered; list_kits lists providers.",
            *look,
        ]
    if status.state in (STOPPED, PAUSED, WAITING):
        return [f"resume_run({run}) goes on with it.", *look]
    if status.state == EXHAUSTED:
        return [f"resume_run({run}) goes on, with a larger budget_usd if cost was the limit."]
    if status.state == FAILED:
        return [
            f"explain_trace({run}, event_id={status.last_event_id}) shows what led to it.",
            f"resume_run({run}) tries the failed step again.",
        ]
    if status.state == CANCELLED:
        return [f"fork_run({run}, fork_at=N, continue=true) goes on from any position."]
    if status.state == DAMAGED:
        return ["Restore the store from a copy; `kando verify` names the damage."]
    return [*look, f"fork_run({run}, fork_at=N) branches off after N events."]
