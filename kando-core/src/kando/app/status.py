"""The state of a run, as its ledger tells it."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

import attrs

from kando.ledger.interface import LedgerStore
from kando.ledger.substrate import LedgerInfo
from kando.responders.accounts import CHARGED, Accounts
from kando.responders.approvals import ApprovalsFold
from kando.schema.events import (
    BRANCH_CHANGED,
    BRANCH_CREATED,
    BUDGET_EXHAUSTED,
    KIT_LOADED,
    LLM_REQUEST,
    LLM_RESPONSE,
    OBJECT_CREATED,
    RESPONDER_FAILED,
    RUN_CANCELLED,
    RUN_PAUSED,
    RUN_RESUMED,
    TIMER_FIRED,
    TIMER_SET,
    TOOL_CALLED,
    TOOL_RETURNED,
    RecordedEvent,
)
from kando.world.graph import World
from kando.world.projection import apply

__all__ = [
    "CANCELLED",
    "DAMAGED",
    "EXHAUSTED",
    "FAILED",
    "FINISHED",
    "PAUSED",
    "STOPPED",
    "WAITING",
    "RunStatus",
    "damaged_status",
    "read_status",
]

FINISHED = "finished"
WAITING = "waiting"
STOPPED = "stopped"
RUNNING = "running"
EXHAUSTED = "exhausted"
FAILED = "failed"
DAMAGED = "damaged"
PAUSED = "paused"
CANCELLED = "cancelled"

_HALTS = {RUN_PAUSED: PAUSED, RUN_RESUMED: None, RUN_CANCELLED: CANCELLED}
_INTENTS = {LLM_REQUEST, TOOL_CALLED}
_ANSWERS = {LLM_RESPONSE, TOOL_RETURNED}


@attrs.frozen
class RunStatus:
    """What a ledger says about its run.

    Attributes:
        run_id: of the run or branch.
        state: ``finished``; ``waiting`` for answers, a person or a time; ``running`` while a
            process is at work; ``stopped`` with work left and nobody at it;
            ``exhausted`` by its budget; ``failed`` because a responder raised; ``paused`` or
            ``cancelled`` by somebody; ``damaged`` if it cannot be read.
        goal: text of the first seed, or None.
        kit: its name, or None for a run made by hand.
        kit_version: as loaded, or None.
        events: length of the ledger.
        objects: how many of each type, by type.
        relations: how many of each type, by type.
        llm_requests: asked.
        llm_answered: of these, answered.
        llm_cached: of these, from the cache.
        llm_cost_usd: what the answers cost, in US dollars, as far as it is known.
        unanswered: intents of any kind that wait for an answer.
        timers: that are set and have not fired.
        created_at: time of the first event, or None for an empty ledger.
        updated_at: time of the last.
        last_event_id: or None.
        problem: why it failed or cannot be read, or which limits were reached; or None.
        parent_id: of the ledger it was forked from, or None.
        fork_position: or None.
        llm_unpriced: answers of which nobody knows what they cost.
        llm_tokens: that the answers took in and gave out.
        tool_calls: tools that were called.
        own: what a branch has spent itself: ``llm_calls``, ``llm_tokens``, ``llm_cost_usd``,
            ``llm_unpriced`` and ``tool_calls``; None for a run.
        approvals: that a person has not given or denied yet.
    """

    run_id: str
    state: str
    goal: str | None
    kit: str | None
    kit_version: str | None
    events: int
    objects: dict[str, int]
    relations: dict[str, int]
    llm_requests: int
    llm_answered: int
    llm_cached: int
    llm_cost_usd: float
    unanswered: int
    timers: int
    created_at: datetime | None
    updated_at: datetime | None
    last_event_id: str | None
    problem: str | None
    parent_id: str | None = None
    fork_position: int | None = None
    llm_unpriced: int = 0
    llm_tokens: int = 0
    tool_calls: int = 0
    own: dict[str, Any] | None = None
    approvals: int = 0


def read_status(ledger: LedgerStore) -> RunStatus:
    """Return what a ledger says about its run, in one pass over it.

    ``stopped`` is not among what it tells: whether work is left only the responders know (see
    `kando.app.reading.status_of`).
    """
    world, counts = World(), Counter[str]()
    open_intents, timers = set[str](), set[str]()
    first: RecordedEvent | None = None
    last: RecordedEvent | None = None
    facts: dict[str, Any] = {}
    spent, before = Accounts(), Accounts()
    asked = ApprovalsFold()
    for event in ledger.read_all():
        first, last = first or event, event
        apply(world, event)
        counts[event.type] += 1
        if event.type in CHARGED:
            spent = spent.apply(event)
        asked.see(event)
        if event.type in _INTENTS:
            open_intents.add(event.id)
        elif event.type in _ANSWERS:
            open_intents.difference_update(event.cause)
            counts["cached"] += event.data.get("cached") is True
        elif event.type == TIMER_SET:
            timers.add(event.id)
        elif event.type == TIMER_FIRED:
            timers.difference_update(event.cause)
        elif event.type in _HALTS:
            facts["halted"] = _HALTS[event.type]
        elif event.type == RESPONDER_FAILED and event.data["outcome"] == "parked":
            open_intents.discard(event.data["trigger"])
        elif event.type == KIT_LOADED:
            facts["kit"] = event.data
        elif event.type == BRANCH_CREATED:
            facts["branch"], before = event.data, spent
        elif event.type == BRANCH_CHANGED:
            facts["goal"] = event.data.get("goal", facts.get("goal"))
        elif event.type == OBJECT_CREATED and event.is_root and "goal" not in facts:
            facts["goal"] = _goal(event.data["data"])
    state, problem = _state(last, bool(open_intents or timers or asked.open()))
    state = facts.get("halted") or state
    kit, branch = facts.get("kit", {}), facts.get("branch", {})
    return RunStatus(
        ledger.stream_name().partition(":")[2],
        state,
        facts.get("goal"),
        kit.get("name"),
        kit.get("version"),
        last.position + 1 if last is not None else 0,
        dict(sorted(Counter(o.type for o in world.objects.values()).items())),
        dict(sorted(Counter(r.type for r in world.relations.values()).items())),
        counts[LLM_REQUEST],
        counts[LLM_RESPONSE],
        counts["cached"],
        spent.llm_cost_usd,
        len(open_intents),
        len(timers),
        first.timestamp if first is not None else None,
        last.timestamp if last is not None else None,
        last.id if last is not None else None,
        problem,
        branch.get("parent_run_id"),
        branch.get("fork_position"),
        spent.llm_unpriced,
        spent.llm_tokens,
        spent.tool_calls,
        spent.since(before) if branch else None,
        len(asked.open()),
    )


def damaged_status(info: LedgerInfo, problem: str) -> RunStatus:
    """Return what is known of a run whose events cannot be read."""
    return RunStatus(
        run_id=info.id,
        state=DAMAGED,
        goal=None,
        kit=None,
        kit_version=None,
        events=info.length,
        objects={},
        relations={},
        llm_requests=0,
        llm_answered=0,
        llm_cached=0,
        llm_cost_usd=0.0,
        unanswered=0,
        timers=0,
        created_at=info.created_at,
        updated_at=None,
        last_event_id=None,
        problem=problem,
        parent_id=info.parent_id,
        fork_position=info.fork_position,
    )


def _state(last: RecordedEvent | None, is_waiting: bool) -> tuple[str, str | None]:
    if last is not None and last.type == RESPONDER_FAILED and last.data["outcome"] == "raised":
        error = last.data["error"]
        return FAILED, f"{last.data['responder']}: {error['type']}: {error['message']}"
    if last is not None and last.type == BUDGET_EXHAUSTED:
        return EXHAUSTED, ", ".join(last.data["reasons"])
    return (WAITING if is_waiting else FINISHED), None


def _goal(data: dict[str, Any]) -> str | None:
    for field in ("text", "name", "goal"):
        value = data.get(field)
        if isinstance(value, str):
            return value
    return None
