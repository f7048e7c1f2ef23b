"""The approvals that a ledger shows as open."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from kando.schema.events import (
    APPROVAL_DENIED,
    APPROVAL_GRANTED,
    APPROVAL_REQUESTED,
    KandoEvent,
)
from kando.views.pending import answered_by

__all__ = ["GATE", "Approval", "ApprovalsFold", "granted_calls", "open_approvals"]


#: Name of the responder by which the runtime asks, and answers for a person.
GATE = "kando.approvals"


@attrs.frozen
class Approval:
    """A call or an object that waits for a person's decision.

    Attributes:
        event_id: id of its ``approval.requested``.
        intent: id of the ``tool.called`` or ``llm.request`` that waits; None for objects.
        type: event type of the call or object.
        reason: why a person is asked.
        held: for objects: the events that wait with it.
        cause_object_id: id of the object that it is about, or None.
    """

    event_id: str
    intent: str | None
    type: str
    reason: str
    held: list[dict[str, Any]]
    cause_object_id: str | None


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
            data = event.data
            about = data.get("cause_object_id")
            self.waiting[event.id] = Approval(
                event.id,
                data.get("intent"),
                data["type"],
                data["reason"],
                data.get("held", []),
                about,
            )
        elif event.type in (APPROVAL_GRANTED, APPROVAL_DENIED):
            self.waiting.pop(str(event.data.get("approval")), None)
        elif self.waiting and (intents := answered_by(event)):
            answered = [id for id, each in self.waiting.items() if each.intent in intents]
            for id in answered:
                del self.waiting[id]

    def open(self) -> list[Approval]:
        """Return the open approvals, in the order of the requests."""
        return list(self.waiting.values())


def open_approvals(events: Iterable[KandoEvent]) -> list[Approval]:
    """Return the approvals that are open after some events."""
    fold = ApprovalsFold()
    for event in events:
        fold.observe(event)
    return fold.open()


def granted_calls(events: Iterable[KandoEvent]) -> list[Approval]:
    """Return the approved calls without an answer, which the run makes when it is resumed."""
    granted: dict[str, Approval] = {}
    fold = ApprovalsFold()
    for event in events:
        if event.type == APPROVAL_GRANTED:
            asked = {each.event_id: each for each in fold.open()}
            approval = asked.get(str(event.data.get("approval")))
            if approval is not None and approval.intent is not None:
                granted[approval.intent] = approval
        for intent in answered_by(event):
            granted.pop(intent, None)
        fold.observe(event)
    return list(granted.values())
