"""The fold behind the state of a run: what its ledger says of it so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any

import attrs
import msgspec

from kando.schema.events import (
    APPROVAL_DENIED,
    APPROVAL_GRANTED,
    APPROVAL_REQUESTED,
    BRANCH_CHANGED,
    BRANCH_CREATED,
    BUDGET_EXHAUSTED,
    BUDGET_SET,
    KIT_LOADED,
    LLM_REQUEST,
    LLM_RESPONSE,
    OBJECT_CREATED,
    PARKED,
    RAISED,
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
from kando.views.approvals import ApprovalsFold
from kando.views.spending import CHARGED, Accounts
from kando.world.graph import World
from kando.world.projection import due_at

__all__ = ["StatusFold"]


@attrs.define
class StatusFold:
    """What the events seen so far say about their run.

    Attributes:
        length: how many they are.
        created_at: time of the first, or None.
        updated_at: time of the last.
        last_event_id: or None.
        failure: what a responder raised, if that is the last event.
        limits: that were reached, if that is the last event.
        budget: limits of the run by name, as it was given them last.
        halted_by: type of the event by which somebody stopped the run, or None.
        goal: text of the first seed, or None.
        has_goal: whether later seeds are no goal any more.
        first_kit: data of the first ``kit.loaded``, or None.
        kit: data of the last.
        branch: data of the last ``branch.created``, or None.
        intents: ids of those that wait for an answer.
        timers: ids of those that are set and have not fired.
        approvals: that are open.
        requests: to language models.
        answers: to these.
        cached: of these, from the cache.
        spent: on calls.
        spent_before: of this, before the branch was forked.
        objects: how many of each type, by type; as `count` was told.
        relations: the same.
    """

    length: int = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None
    last_event_id: str | None = None
    failure: str | None = None
    limits: str | None = None
    budget: dict[str, Any] = attrs.field(factory=dict)
    halted_by: str | None = None
    goal: str | None = None
    has_goal: bool = False
    first_kit: dict[str, Any] | None = None
    kit: dict[str, Any] | None = None
    branch: dict[str, Any] | None = None
    intents: dict[str, None] = attrs.field(factory=dict)
    timers: dict[str, None] = attrs.field(factory=dict)
    approvals: ApprovalsFold = attrs.field(factory=ApprovalsFold)
    requests: int = 0
    answers: int = 0
    cached: int = 0
    spent: Accounts = attrs.field(factory=Accounts)
    spent_before: Accounts = attrs.field(factory=Accounts)
    objects: dict[str, int] = attrs.field(factory=dict)
    relations: dict[str, int] = attrs.field(factory=dict)

    def observe(self, event: RecordedEvent) -> None:
        """Take an event into account."""
        if self.created_at is None:
            self.created_at = event.timestamp
        self.length += 1
        self.updated_at = event.timestamp
        self.last_event_id = event.id
        self.failure = self.limits = None
        if event.type in CHARGED:
            self.spent = self.spent.apply(event)
        take = _TAKE.get(event.type)
        if take is not None:
            take(self, event)

    def count(self, world: World) -> None:
        """Take note of what is in the world as the events seen so far have made it."""
        objects = Counter(each.type for each in world.objects.values())
        relations = Counter(each.type for each in world.relations.values())
        self.objects, self.relations = (
            dict(sorted(objects.items())),
            dict(sorted(relations.items())),
        )

    @property
    def is_waiting(self) -> bool:
        """Whether something waits for an answer, a person or a time."""
        return bool(self.intents or self.timers or self.approvals.waiting)

    def state(self) -> bytes:
        """Return the fold as it is stored."""
        return msgspec.json.encode(self)

    @classmethod
    def from_state(cls, state: bytes) -> StatusFold:
        """Return the fold that `state` returned.

        Raises:
            msgspec.DecodeError: it is damaged.
        """
        return msgspec.json.decode(state, type=StatusFold)


def _take_object(fold: StatusFold, event: RecordedEvent) -> None:
    if fold.has_goal or event.cause:
        return
    data = event.data.get("data") or {}
    texts = (data.get(field) for field in ("text", "name", "goal"))
    fold.goal = next((text for text in texts if isinstance(text, str)), None)
    fold.has_goal = True


def _take_intent(fold: StatusFold, event: RecordedEvent) -> None:
    fold.intents[event.id] = None
    fold.requests += event.type == LLM_REQUEST


def _take_answer(fold: StatusFold, event: RecordedEvent) -> None:
    for cause in event.cause:
        fold.intents.pop(cause, None)
    fold.answers += event.type == LLM_RESPONSE
    fold.cached += event.data.get("cached") is True
    fold.approvals.observe(event)


def _take_approval(fold: StatusFold, event: RecordedEvent) -> None:
    fold.approvals.observe(event)


def _take_failure(fold: StatusFold, event: RecordedEvent) -> None:
    outcome = event.data["outcome"]
    if outcome == PARKED:
        fold.intents.pop(event.data["trigger"], None)
    elif outcome == RAISED:
        error = event.data["error"]
        fold.failure = f"{event.data['responder']}: {error['type']}: {error['message']}"


def _take_exhaustion(fold: StatusFold, event: RecordedEvent) -> None:
    fold.limits = ", ".join(event.data["reasons"])


def _take_budget(fold: StatusFold, event: RecordedEvent) -> None:
    limits = event.data.get("limits")
    fold.budget = limits if isinstance(limits, dict) else {}


def _take_timer(fold: StatusFold, event: RecordedEvent) -> None:
    if event.type == TIMER_FIRED:
        for cause in event.cause:
            fold.timers.pop(cause, None)
    else:
        due_at(event)
        fold.timers[event.id] = None


def _take_halt(fold: StatusFold, event: RecordedEvent) -> None:
    fold.halted_by = event.type if event.type != RUN_RESUMED else None


def _take_kit(fold: StatusFold, event: RecordedEvent) -> None:
    fold.first_kit = fold.first_kit or event.data
    fold.kit = event.data


def _take_branch(fold: StatusFold, event: RecordedEvent) -> None:
    if event.type == BRANCH_CREATED:
        fold.branch, fold.spent_before = event.data, fold.spent
    else:
        fold.goal, fold.has_goal = event.data.get("goal", fold.goal), True


_TAKE: dict[str, Callable[[StatusFold, RecordedEvent], None]] = {
    OBJECT_CREATED: _take_object,
    LLM_REQUEST: _take_intent,
    TOOL_CALLED: _take_intent,
    LLM_RESPONSE: _take_answer,
    TOOL_RETURNED: _take_answer,
    APPROVAL_REQUESTED: _take_approval,
    APPROVAL_GRANTED: _take_approval,
    APPROVAL_DENIED: _take_approval,
    RESPONDER_FAILED: _take_failure,
    BUDGET_SET: _take_budget,
    BUDGET_EXHAUSTED: _take_exhaustion,
    TIMER_SET: _take_timer,
    TIMER_FIRED: _take_timer,
    RUN_PAUSED: _take_halt,
    RUN_RESUMED: _take_halt,
    RUN_CANCELLED: _take_halt,
    KIT_LOADED: _take_kit,
    BRANCH_CREATED: _take_branch,
    BRANCH_CHANGED: _take_branch,
}
