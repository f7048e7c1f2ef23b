"""The view run-status: a fold over a ledger from which the state of its run is determined."""

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
    HUMAN_MESSAGE,
    KIT_LOADED,
    LLM_REQUEST,
    LLM_RESPONSE,
    OBJECT_CREATED,
    OBJECT_PATCHED,
    PARKED,
    PERSON_ASKED,
    PERSON_REMINDED,
    PERSON_REPLIED,
    RAISED,
    RESPONDER_FAILED,
    RESPONDER_FIRED,
    RUN_ENDED,
    RUN_LABELLED,
    RUN_REQUESTED,
    TIMER_SET,
    TOOL_CALLED,
    TOOL_RETURNED,
    RecordedEvent,
    error_line,
    exhausted_limits,
)
from kando.schema.firing import Firing
from kando.views.approvals import ApprovalsFold
from kando.views.children import RequestedRun, track_children
from kando.views.choices import Choices
from kando.views.firings import parked_by_person
from kando.views.labels import Labels, labelled
from kando.views.pending import ANSWERS, PENDING, answered_by, is_answer, is_by_hand, track
from kando.views.questions import Question, track_questions
from kando.views.spending import CHARGED, Accounts
from kando.world.graph import World
from kando.world.projection import due_at

__all__ = ["StatusFold"]


@attrs.define
class StatusFold:
    """Facts about a run from the events observed so far.

    Attributes:
        length: number of events.
        created_at: time of the first event, or None.
        updated_at: time of the last event, or None.
        last_event_id: id of the last event, or None.
        failure: the error that a responder raised, if the last event records it; a change of labels
            does not count.
        limits: that were reached, if the last event records it, likewise.
        choices: what was chosen for the run: its kit, limits, model and provider.
        halted_by: type of the event that paused or cancelled the run, or None.
        labels: of the run: values by name.
        goal: text of the first seed, or None.
        has_goal: whether the goal is known, so that later seeds are not read as a goal.
        branch: data of the last ``branch.created``, or None.
        intents: ids of the intents without an answer.
        timers: ids of the timers that have not fired.
        approvals: that are open.
        questions: to people, that are open, by id.
        children: the child runs, by the id of their ``run.requested``.
        parked: reasons of the firings that are parked, by trigger and responder; one that fired
            after all, or whose call was answered, is not in it.
        requests: number of requests to language models.
        answers: number of answers to these.
        cached: number of answers from the cache.
        failed: number of answers that are errors, without those given by hand.
        last_error: the last of these errors, or None.
        shortfalls: by the id of an artifact that has a ``problem``, the problem; empty if it has
            none now.
        spent: on calls.
        spent_before: the part of `spent` from before the branch was forked.
        objects: number of objects by type, at the last `count`.
        relations: number of relations by type, at the last `count`.
    """

    length: int = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None
    last_event_id: str | None = None
    failure: str | None = None
    limits: str | None = None
    choices: Choices = attrs.field(factory=Choices)
    halted_by: str | None = None
    labels: Labels = attrs.field(factory=dict)
    goal: str | None = None
    has_goal: bool = False
    branch: dict[str, Any] | None = None
    intents: dict[str, None] = attrs.field(factory=dict)
    timers: dict[str, None] = attrs.field(factory=dict)
    approvals: ApprovalsFold = attrs.field(factory=ApprovalsFold)
    questions: dict[str, Question] = attrs.field(factory=dict)
    children: dict[str, RequestedRun] = attrs.field(factory=dict)
    parked: dict[str, str] = attrs.field(factory=dict)
    requests: int = 0
    answers: int = 0
    cached: int = 0
    failed: int = 0
    last_error: str | None = None
    shortfalls: dict[str, str] = attrs.field(factory=dict)
    spent: Accounts = attrs.field(factory=Accounts)
    spent_before: Accounts = attrs.field(factory=Accounts)
    objects: dict[str, int] = attrs.field(factory=dict)
    relations: dict[str, int] = attrs.field(factory=dict)

    def observe(self, event: RecordedEvent) -> None:
        """Update the fold with the next event."""
        if self.created_at is None:
            self.created_at = event.timestamp
        self.length += 1
        self.updated_at = event.timestamp
        self.last_event_id = event.id
        if event.type != RUN_LABELLED:
            self.failure = self.limits = None
        if event.type in CHARGED:
            self.spent = self.spent.apply(event)
        if event.type in PENDING:
            track(self, event, None)
        if self.parked and event.type in _UNPARKS:
            _unpark(self, event)
        handler = _HANDLERS.get(event.type)
        if handler is not None:
            handler(self, event)

    def observe_firing(self, firing: Firing) -> None:
        """Update the fold with the next firing: as `observe` for each of its events."""
        if self.created_at is None:
            self.created_at = firing.timestamp
        if self.parked:
            self.parked.pop(_firing(firing.trigger_id, firing.responder), None)
        for event in firing.outputs:
            self.observe(event)
        self.length += 2
        self.updated_at = firing.timestamp
        self.last_event_id = firing.completed_id
        self.failure = self.limits = None

    def count(self, world: World) -> None:
        """Count the objects and relations of the world after the events observed so far."""
        objects = Counter(each.type for each in world.objects.values())
        relations = Counter(each.type for each in world.relations.values())
        self.objects, self.relations = (
            dict(sorted(objects.items())),
            dict(sorted(relations.items())),
        )

    @property
    def budget(self) -> dict[str, Any]:
        """The current limits of the run, by name."""
        limits = self.choices.limits
        return limits if isinstance(limits, dict) else {}

    @property
    def got_no_answer(self) -> bool:
        """Whether the run has asked models, and every answer is an error."""
        return 0 < self.answers == self.failed and not self.is_waiting

    @property
    def shortfall(self) -> str | None:
        """The first problem that an artifact of the run states, or None."""
        return next(filter(None, self.shortfalls.values()), None)

    @property
    def is_waiting(self) -> bool:
        """Whether the run waits for an answer, a person or a timer."""
        return bool(self.intents or self.timers or self.approvals.waiting)

    def state(self) -> bytes:
        """Return the encoded fold."""
        return msgspec.json.encode(self)

    @classmethod
    def from_state(cls, state: bytes) -> StatusFold:
        """Decode a fold that `state` encoded.

        Raises:
            msgspec.DecodeError: it is damaged.
        """
        return msgspec.json.decode(state, type=StatusFold)


def _on_object(fold: StatusFold, event: RecordedEvent) -> None:
    _on_problem(fold, event)
    if fold.has_goal or event.cause:
        return
    data = event.data if event.type == HUMAN_MESSAGE else event.data.get("data") or {}
    texts = (data.get(field) for field in ("text", "name", "goal"))
    fold.goal = next((text for text in texts if isinstance(text, str)), None)
    fold.has_goal = True


def _on_problem(fold: StatusFold, event: RecordedEvent) -> None:
    """Keep what an artifact states about what the run did not achieve."""
    data, id = event.object, event.data.get("id")
    if "problem" not in data:
        return
    is_artifact = all(isinstance(data.get(each), str) for each in ("name", "media_type", "text"))
    if isinstance(id, str) and (is_artifact or id in fold.shortfalls):
        fold.shortfalls[id] = str(data["problem"] or "")


def _on_intent(fold: StatusFold, event: RecordedEvent) -> None:
    fold.requests += event.type == LLM_REQUEST


def _on_answer(fold: StatusFold, event: RecordedEvent) -> None:
    if is_answer(event):
        fold.answers += event.type == LLM_RESPONSE
        fold.cached += event.data.get("cached") is True
        error = event.data.get("error") if event.type == LLM_RESPONSE else None
        if error is not None and not is_by_hand(event.data):
            fold.failed += 1
            fold.last_error = error_line(error)
    fold.approvals.observe(event)


def _on_approval(fold: StatusFold, event: RecordedEvent) -> None:
    fold.approvals.observe(event)


def _on_question(fold: StatusFold, event: RecordedEvent) -> None:
    track_questions(fold.questions, event)


def _on_child(fold: StatusFold, event: RecordedEvent) -> None:
    track_children(fold.children, event)
    fold.approvals.observe(event)


def _on_failure(fold: StatusFold, event: RecordedEvent) -> None:
    trigger, responder = event.data.get("trigger"), event.data.get("responder")
    outcome = event.data.get("outcome")
    reason = f"{responder}: {_reason_of(event)}"
    if outcome == PARKED:
        fold.parked[_firing(trigger, responder)] = f"{trigger}: {reason}"
    elif outcome == RAISED:
        fold.failure = reason


def _reason_of(failed: RecordedEvent) -> str:
    error = failed.data.get("error")
    if parked_by_person(failed.data) is None:
        return error_line(error)
    message = error.get("message") if isinstance(error, dict) else None
    because = f": {message}" if message else ""
    return f"parked by {failed.data.get('by')}{because}"


def _unpark(fold: StatusFold, event: RecordedEvent) -> None:
    if event.type == RESPONDER_FIRED:
        fold.parked.pop(_firing(event.data.get("trigger"), event.data.get("responder")), None)
        return
    for intent in answered_by(event):
        for key in [key for key in fold.parked if key.startswith(_firing(intent, ""))]:
            del fold.parked[key]


def _firing(trigger: object, responder: object) -> str:
    return f"{trigger} {responder}"


def _on_exhaustion(fold: StatusFold, event: RecordedEvent) -> None:
    fold.limits = ", ".join(exhausted_limits(event))


def _on_timer(fold: StatusFold, event: RecordedEvent) -> None:
    due_at(event)


def _on_choice(fold: StatusFold, event: RecordedEvent) -> None:
    fold.choices = fold.choices.apply(event)


def _on_labels(fold: StatusFold, event: RecordedEvent) -> None:
    fold.labels = labelled(fold.labels, event)


def _on_branch(fold: StatusFold, event: RecordedEvent) -> None:
    _on_choice(fold, event)
    if event.type == BRANCH_CREATED:
        fold.branch, fold.spent_before = event.data, fold.spent
    else:
        goal = event.data.get("goal")
        fold.goal, fold.has_goal = goal if isinstance(goal, str) else fold.goal, True


_UNPARKS = frozenset({RESPONDER_FIRED, *ANSWERS})

_HANDLERS: dict[str, Callable[[StatusFold, RecordedEvent], None]] = {
    OBJECT_CREATED: _on_object,
    OBJECT_PATCHED: _on_problem,
    HUMAN_MESSAGE: _on_object,
    LLM_REQUEST: _on_intent,
    TOOL_CALLED: _on_intent,
    LLM_RESPONSE: _on_answer,
    TOOL_RETURNED: _on_answer,
    PERSON_ASKED: _on_question,
    PERSON_REMINDED: _on_question,
    PERSON_REPLIED: _on_question,
    RUN_REQUESTED: _on_child,
    RUN_ENDED: _on_child,
    APPROVAL_REQUESTED: _on_approval,
    APPROVAL_GRANTED: _on_approval,
    APPROVAL_DENIED: _on_approval,
    RESPONDER_FAILED: _on_failure,
    BUDGET_SET: _on_choice,
    BUDGET_EXHAUSTED: _on_exhaustion,
    TIMER_SET: _on_timer,
    KIT_LOADED: _on_choice,
    RUN_LABELLED: _on_labels,
    BRANCH_CREATED: _on_branch,
    BRANCH_CHANGED: _on_branch,
}
