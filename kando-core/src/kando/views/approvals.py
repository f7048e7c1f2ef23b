"""The approvals that a ledger shows as open."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import attrs

from kando.schema.events import (
    APPROVAL_DENIED,
    APPROVAL_GRANTED,
    APPROVAL_REQUESTED,
    EXPIRES,
    PERSON_ASKED,
    KandoEvent,
)
from kando.schema.exact_json import encode
from kando.views.pending import answered_by
from kando.world.projection import due_at

if TYPE_CHECKING:
    from kando.views.questions import Question

__all__ = [
    "GATE",
    "Approval",
    "ApprovalsFold",
    "Decision",
    "all_approvals",
    "as_approval",
    "decision_in",
    "granted_calls",
    "intent_asked",
    "open_approvals",
]


#: Name of the responder by which the runtime asks, and answers for a person.
GATE = "kando.approvals"


@attrs.frozen
class Decision:
    """A decision about a call or an object.

    Attributes:
        event_id: id of the ``approval.granted`` or ``approval.denied``.
        approved: whether it was granted.
        by: who decided; ``clock`` if the deadline passed.
        at: when it was recorded.
        reason: of a denial, or None.
        arguments: with which the call was approved, if a person changed them, or None.
    """

    event_id: str
    approved: bool
    by: str
    at: datetime
    reason: str | None = None
    arguments: Any = None

    def text(self) -> str:
        """Return the decision in words."""
        how = f" ({self.reason})" if self.reason else ""
        if self.arguments is not None:
            how = f" with {encode(self.arguments).decode()}"
        return f"{'granted' if self.approved else 'denied'} by {self.by}{how}"


def decision_in(event: KandoEvent) -> Decision:
    """Return the decision that an ``approval.granted`` or ``approval.denied`` records."""
    data, approved = event.data, event.type == APPROVAL_GRANTED
    reason = data.get("reason")
    arguments = data.get("arguments") if approved else None
    said = reason if isinstance(reason, str) and not approved else None
    return Decision(event.id, approved, event.actor, event.timestamp, said, arguments)


@attrs.frozen
class Approval:
    """A call or an object that waits for a person's decision, or waited for it.

    Attributes:
        event_id: id of its ``approval.requested``.
        intent: id of the ``tool.called`` or ``llm.request`` that waits; None for objects.
        type: event type of the call or object.
        reason: why a person is asked.
        held: for objects: the events that wait with it.
        cause_object_id: id of the object that it is about, or None.
        requested_at: when the question was recorded.
        expires_at: deadline: the run denies the question itself then; None for no deadline.
        is_open: whether it still waits.
        decision: about it; None while it waits, and if the call was answered without one.
        tool: name of the tool, for a ``tool.called``, where a run or a store lists its approvals; else
            None.
        arguments: with which the tool is to be called, likewise.
    """

    event_id: str
    intent: str | None
    type: str
    reason: str
    held: list[dict[str, Any]]
    cause_object_id: str | None
    requested_at: datetime
    expires_at: datetime | None = None
    is_open: bool = True
    decision: Decision | None = None
    tool: str | None = None
    arguments: Any = None


@attrs.define
class ApprovalsFold:
    """The approvals that are open after the events observed so far.

    Attributes:
        waiting: by the id of their ``approval.requested``, in the order of the requests.
    """

    waiting: dict[str, Approval] = attrs.field(factory=dict)

    def observe(self, event: KandoEvent) -> None:
        """Update the fold with the next event."""
        if event.type == APPROVAL_REQUESTED:
            self.waiting[event.id] = _asked(event)
        elif event.type in (APPROVAL_GRANTED, APPROVAL_DENIED):
            self.waiting.pop(str(event.data.get("approval")), None)
        elif self.waiting and (intents := answered_by(event)):
            answered = [id for id, each in self.waiting.items() if each.intent in intents]
            for id in answered:
                del self.waiting[id]

    def open(self) -> list[Approval]:
        """Return the open approvals, in the order of the requests."""
        return list(self.waiting.values())


def _asked(event: KandoEvent) -> Approval:
    data = event.data
    return Approval(
        event.id,
        intent_asked(event),
        str(data.get("type", "")),
        str(data.get("reason", "")),
        held if isinstance(held := data.get("held"), list) else [],
        data.get("cause_object_id"),
        event.timestamp,
        due_at(event) if EXPIRES in data else None,
    )


def intent_asked(request: KandoEvent) -> str | None:
    """Return the id of the intent that an ``approval.requested`` is about; None for a held event."""
    intent = request.data.get("intent")
    return intent if isinstance(intent, str) else None


def as_approval(question: Question) -> Approval:
    """Return a question to a person in the form of an approval."""
    return Approval(
        question.event_id,
        question.event_id,
        PERSON_ASKED,
        question.question,
        [],
        question.cause_object_id,
        question.asked_at,
        question.expires_at,
    )


def open_approvals(events: Iterable[KandoEvent]) -> list[Approval]:
    """Return the approvals that are open after some events."""
    fold = ApprovalsFold()
    for event in events:
        fold.observe(event)
    return fold.open()


def all_approvals(events: Iterable[KandoEvent]) -> list[Approval]:
    """Return every approval that was requested, open or not, in the order of the requests."""
    found: dict[str, Approval] = {}
    fold = ApprovalsFold()
    for event in events:
        is_decision = event.type in (APPROVAL_GRANTED, APPROVAL_DENIED)
        asked = fold.waiting.get(str(event.data.get("approval"))) if is_decision else None
        fold.observe(event)
        if event.type == APPROVAL_REQUESTED:
            found[event.id] = fold.waiting[event.id]
        elif asked is not None:
            found[asked.event_id] = attrs.evolve(asked, decision=decision_in(event))
    return [attrs.evolve(each, is_open=id in fold.waiting) for id, each in found.items()]


def granted_calls(events: Iterable[KandoEvent]) -> list[Approval]:
    """Return the approved calls without an answer, which the run makes when it is resumed."""
    read = list(events)
    answered = {intent for event in read for intent in answered_by(event)}
    return [
        each
        for each in all_approvals(read)
        if each.intent is not None and each.intent not in answered
        if each.decision is not None and each.decision.approved
    ]
