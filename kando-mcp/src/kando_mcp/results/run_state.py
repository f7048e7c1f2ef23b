"""The state of a run, and the calls that may follow."""

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
    ChildRun,
    RunStatus,
)
from kando.app.store import Store
from kando_mcp.results.approvals import pending_approvals, pending_questions
from kando_mcp.results.paging import truncate
from kando_mcp.results.shapes import ApprovalShape, QuestionShape, RunState
from kando_mcp.worker.order import Report

__all__ = ["run_state"]

_GOAL_CHARS = 500
_PROBLEM_CHARS = 2_000
_TYPES = 50
_REASONS = 10

_READ_ONLY = ("get_run(", "query_world(", "explain_trace(")


def run_state(
    store: Store, run: str, report: Report | None = None, *, is_read_only: bool
) -> RunState:
    """Return the state of a run or branch.

    Args:
        store: the store of the run.
        run: an id, a unique prefix, ``@last`` or ``demo``.
        report: report of the last worker process, if it ended early.
        is_read_only: whether to suggest read-only tools only.

    Raises:
        LedgerNotFound, AmbiguousName: no run, or more than one, has this id.
    """
    status = store.run(run).status()
    is_current = report is not None and report.events == status.events and status.state != RUNNING
    pending = pending_approvals(store, status.run_id) if status.approvals else []
    asked = pending_questions(store, status.run_id) if status.questions else []
    problem = report.message if report is not None and is_current else None
    return _state_of(status, problem, pending, asked, is_read_only)


def _state_of(
    status: RunStatus,
    problem: str | None,
    pending: list[ApprovalShape],
    asked: list[QuestionShape],
    is_read_only: bool,
) -> RunState:
    # Why the worker ended early says more than that messages are unread.
    is_ended = status.state in (FAILED, EXHAUSTED, DAMAGED)
    why = problem
    problem = status.problem if is_ended or problem is None else problem
    objects = ", ".join(f"{n} {type}" for type, n in list(status.objects.items())[:8])
    reason = f": {truncate(problem, 300)}" if problem else ""
    return {
        "summary": f"{status.run_id} is {status.state} after {status.events} events"
        f" ({objects or 'no objects'}){reason}",
        "run_id": status.run_id,
        "state": status.state,
        "goal": truncate(status.goal, _GOAL_CHARS) if status.goal is not None else None,
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
        "labels": status.labels,
        "unread": status.unread,
        "parked": status.parked,
        "parked_reasons": [truncate(each, 300) for each in status.parked_reasons[:_REASONS]],
        "last_event_id": status.last_event_id,
        "problem": truncate(problem, _PROBLEM_CHARS) if problem else None,
        "approvals": pending,
        "questions": asked,
        "deadlines": [
            {"event_id": each.event_id, "expires_at": each.expires_at.isoformat()}
            for each in status.deadlines[:_REASONS]
        ],
        "children": [
            {
                "run_id": each.run_id,
                "event_id": each.event_id,
                "kit": truncate(each.kit, 100),
                "state": each.state,
            }
            for each in _open_children(status)[:_REASONS]
        ],
        "parent_id": status.parent_id,
        "fork_position": status.fork_position,
        "next_steps": _read_only_steps(status) if is_read_only else _next_steps(status, why),
    }


def _counts(counts: Mapping[str, int]) -> dict[str, int]:
    kept = dict(list(counts.items())[:_TYPES])
    rest = sum(list(counts.values())[_TYPES:])
    return {truncate(type, 100): n for type, n in kept.items()} | ({"...": rest} if rest else {})


def _open_children(status: RunStatus) -> list[ChildRun]:
    return [each for each in status.children if each.is_open]


def _read_only_steps(status: RunStatus) -> list[str]:
    """Return the next steps that a read-only server can suggest."""
    steps = [step for step in _next_steps(status) if step.startswith(_READ_ONLY)]
    return steps or [_world_step(status)]


def _world_step(status: RunStatus) -> str:
    return f"query_world(run_id={status.run_id}) shows its objects and relations."


def _next_steps(status: RunStatus, why: str | None = None) -> list[str]:
    """Return the next steps; `why` is the error that ended the last worker early."""
    run = f"run_id={status.run_id}"
    inspect = [_world_step(status)]
    if status.state in (RUNNING, WAITING) and status.approvals:
        return [
            f"{status.approvals} approvals are pending: ask the person, then call "
            f"answer_approval({run}, event_id=ID, approved=true or false).",
            *inspect,
        ]
    if status.state in (RUNNING, WAITING) and status.questions:
        return [
            f"{status.questions} questions wait for a reply: ask the person, then call "
            f"answer_request({run}, request_id=ID, reply=ANSWER).",
            *inspect,
        ]
    if status.state == RUNNING:
        return [f"get_run({run}, wait_s=30) waits for it.", f"cancel_run({run}) stops it."]
    if status.state == WAITING and (waiting := [e for e in _open_children(status) if e.state]):
        return [
            f"The child run {waiting[0].run_id} is {waiting[0].state}: "
            f"get_run(run_id={waiting[0].run_id}) shows what it waits for; then resume_run({run}).",
            *inspect,
        ]
    if status.state == WAITING and status.unanswered:
        return [
            f"{status.unanswered} requests are unanswered: resume_run({run}, llm=PROVIDER) sends "
            "them to a provider; list_kits lists providers.",
            *inspect,
        ]
    if status.state == STOPPED and status.unread:
        return [f"resume_run({run}) records the {status.unread} unread messages.", *inspect]
    if status.state in (STOPPED, PAUSED, WAITING):
        return [f"resume_run({run}) resumes the run.", *inspect]
    if status.state == EXHAUSTED and why is not None:
        return [f"{why} resume_run({run}) resumes the run then."]
    if status.state == EXHAUSTED:
        return [
            f"resume_run({run}) resumes the run, with a larger budget_usd if cost was the limit."
        ]
    if status.state == FAILED:
        return [
            f"explain_trace({run}, event_id={status.last_event_id}) shows what led to it.",
            f"resume_run({run}) retries the failed step, and park_firing({run}, event_id=ID, "
            "responder=NAME) steps over it.",
        ]
    if status.state == CANCELLED:
        return [f"fork_run({run}, fork_at=N, continue=true) continues from any position."]
    if status.state == DAMAGED:
        return ["Restore the store from a backup; `kando verify` describes the damage."]
    return [*inspect, f"fork_run({run}, fork_at=N) creates a branch after N events."]
