"""The pending work of a run: intents without an answer, timers that have not fired, and its halt.

The runtime, the status of a run, workers and kando-mcp all ask this fold:

- An intent (``llm.request``, ``tool.called``, ``person.asked``,
  ``run.requested``) is open until its executor has answered
  or failed it, or a person or another program has answered it by hand. No executor answers a question
  to a person. An answer by hand is recorded with
  ``"by"``: it is not a call, so it is not charged and no cache keeps it. An event of an answer's
  type that any other responder emits answers nothing: it is recorded with ``"answers": false``.
- A timer is open until it has fired.
- A pause or a cancellation lasts until the run is resumed. It is one ledger's own: a branch is not
  halted because its parent was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, Protocol, TypeVar

import attrs

from kando.schema.events import (
    BRANCH_CREATED,
    LLM_REQUEST,
    LLM_RESPONSE,
    PARKED,
    PERSON_ASKED,
    PERSON_REPLIED,
    RESPONDER_FAILED,
    RUN_CANCELLED,
    RUN_ENDED,
    RUN_PAUSED,
    RUN_REQUESTED,
    RUN_RESUMED,
    TIMER_FIRED,
    TIMER_SET,
    TOOL_CALLED,
    TOOL_RETURNED,
    KandoEvent,
)

__all__ = [
    "ANSWERS",
    "BY",
    "CONTROL",
    "INTENTS",
    "PENDING",
    "IsPending",
    "Pending",
    "answered_by",
    "failed_intent",
    "is_answer",
    "is_by_hand",
    "track",
]

#: Types of intents, by the type of the event that answers them.
ANSWERS = {
    LLM_RESPONSE: LLM_REQUEST,
    TOOL_RETURNED: TOOL_CALLED,
    PERSON_REPLIED: PERSON_ASKED,
    RUN_ENDED: RUN_REQUESTED,
}
#: Types of answers, by the type of the intent.
INTENTS = {intent: answer for answer, intent in ANSWERS.items()}
#: Field of an answer that a person or another program gave: who did. The runtime records it with
#: each answer from outside, and with no other.
BY = "by"
#: Types of events that pause, resume or cancel a run.
CONTROL = frozenset({RUN_PAUSED, RUN_RESUMED, RUN_CANCELLED})
#: Types of events that `track` has a use for.
PENDING = frozenset(
    {*CONTROL, *ANSWERS, *INTENTS, TIMER_SET, TIMER_FIRED, RESPONDER_FAILED, BRANCH_CREATED}
)

Value = TypeVar("Value")


class IsPending(Protocol[Value]):
    """Where `track` keeps what is pending."""

    #: Open intents, by id.
    intents: dict[str, Value]
    #: Timers that have not fired, by id.
    timers: dict[str, Value]
    #: ``run.paused`` or ``run.cancelled``, until the run is resumed; else None.
    halted_by: str | None


@attrs.define
class Pending(Generic[Value]):
    """The pending work; see `IsPending`."""

    intents: dict[str, Value] = attrs.field(factory=dict)
    timers: dict[str, Value] = attrs.field(factory=dict)
    halted_by: str | None = None


def track(state: IsPending[Value], event: KandoEvent, value: Value) -> None:
    """Update what is pending with the next event of a ledger.

    Args:
        state: what was pending before the event.
        event: any event; only those of the types in `PENDING` change anything.
        value: kept for the event if it is an intent or a timer.
    """
    kind = event.type
    if kind in ANSWERS:
        for id in answered_by(event):
            state.intents.pop(id, None)
    elif kind in INTENTS:
        state.intents[event.id] = value
    elif kind in CONTROL:
        state.halted_by = None if kind == RUN_RESUMED else kind
    elif kind == TIMER_SET:
        state.timers[event.id] = value
    elif kind == TIMER_FIRED:
        for id in event.cause:
            state.timers.pop(id, None)
    elif kind == RESPONDER_FAILED:
        intent = failed_intent(event.data)
        if event.data.get("outcome") == PARKED and intent is not None:
            state.intents.pop(intent, None)
    elif kind == BRANCH_CREATED:
        state.halted_by = None


def is_answer(event: KandoEvent) -> bool:
    """Whether an event answers an intent: an executor, a person or another program gave it."""
    return event.type in ANSWERS and event.data.get("answers") is not False


def is_by_hand(answer: Mapping[str, Any]) -> bool:
    """Whether a person or another program gave an answer, not a call.

    Args:
        answer: its data.
    """
    return BY in answer


def answered_by(event: KandoEvent) -> list[str]:
    """Return the ids of the intents that an event answers; its other causes are among them."""
    return event.cause if is_answer(event) else []


def failed_intent(failed: Mapping[str, Any]) -> str | None:
    """Return the id of the intent whose executor failed; None if a plain responder failed.

    Args:
        failed: data of a ``responder.failed``. Before 0.2 it did not say which of the two failed;
            then the trigger counts, which is not the id of an intent if a plain responder failed
            about something else.
    """
    if failed.get("call") is False:
        return None
    intent = failed.get("intent", failed.get("trigger"))
    return intent if isinstance(intent, str) else None
