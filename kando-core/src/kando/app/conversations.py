"""The conversations of a run with models, as its events show them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from kando.responders.answers import failure_of, text_of
from kando.schema.events import LLM_REQUEST, LLM_RESPONSE, RecordedEvent

__all__ = ["Conversation", "Turn", "conversations_in"]


@attrs.frozen
class Turn:
    """A request to a model, and its answer.

    Attributes:
        request_id: id of the ``llm.request``, whose data has the messages.
        position: of the request.
        turn: its number in the conversation; 0 for a request outside of one.
        model: that the request names, or None for the default of the provider.
        answer_id: id of the ``llm.response``; None while the answer is pending.
        text: of the answer, or None.
        error: of a failed answer, as ``{"type": ..., "message": ...}``, or None.
    """

    request_id: str
    position: int
    turn: int
    model: str | None
    answer_id: str | None = None
    text: str | None = None
    error: dict[str, Any] | None = None


@attrs.frozen
class Conversation:
    """A conversation with a model, or a single request to one.

    Attributes:
        id: of the conversation; that of the request for a single one.
        asked_by: name of the responder that asks.
        about: id of the object that it is about, or None.
        turns: in order.
    """

    id: str
    asked_by: str
    about: str | None
    turns: list[Turn] = attrs.field(factory=list)


def conversations_in(events: Iterable[RecordedEvent]) -> list[Conversation]:
    """Return the conversations that some events of a run show, in the order in which they began."""
    found: dict[str, Conversation] = {}
    pending: dict[str, tuple[list[Turn], int]] = {}
    for event in events:
        if event.type == LLM_REQUEST:
            turns = _conversation_of(event, found).turns
            pending[event.id] = turns, len(turns)
            turns.append(_turn_of(event))
        elif event.type == LLM_RESPONSE:
            for id in event.cause:
                if id in pending:
                    turns, index = pending.pop(id)
                    turns[index] = _answered(turns[index], event)
    return list(found.values())


def _conversation_of(request: RecordedEvent, found: dict[str, Conversation]) -> Conversation:
    named = _place_of(request).get("id")
    id = named if isinstance(named, str) else request.id
    if id not in found:
        about = request.data.get("cause_object_id")
        found[id] = Conversation(id, request.actor, about if isinstance(about, str) else None)
    return found[id]


def _place_of(request: RecordedEvent) -> dict[str, Any]:
    place = request.data.get("conversation")
    return place if isinstance(place, dict) else {}


def _turn_of(request: RecordedEvent) -> Turn:
    turn, model = _place_of(request).get("turn"), request.data.get("model")
    return Turn(
        request.id,
        request.position,
        turn if isinstance(turn, int) else 0,
        model if isinstance(model, str) else None,
    )


def _answered(turn: Turn, answer: RecordedEvent) -> Turn:
    failure = failure_of(answer.data)
    return attrs.evolve(turn, answer_id=answer.id, text=text_of(answer.data), error=failure)
