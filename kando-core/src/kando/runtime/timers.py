"""Timers, and the deadlines of questions to people: which are due, and when the next one is due."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from kando.schema.events import (
    APPROVAL_DENIED,
    APPROVAL_REQUESTED,
    ECHOED,
    PERSON_ASKED,
    PERSON_REPLIED,
    TIMER_FIRED,
    KandoEvent,
    RecordedEvent,
    make_event,
)
from kando.world.projection import due_at

__all__ = ["EXPIRED", "due_timers", "seconds_until_due"]

#: Why a question is denied when its deadline has passed.
EXPIRED = "expired"


def due_timers(timers: Iterable[RecordedEvent], now: datetime) -> list[KandoEvent]:
    """Return what to record for each that is due, the earliest first.

    This is a ``timer.fired`` for a timer, an ``approval.denied`` for an approval, and a
    ``person.replied`` with an error for a question.
    """
    due = sorted((timer for timer in timers if due_at(timer) <= now), key=due_at)
    return [_ENDED.get(each.type, _fired)(each) for each in due]


def seconds_until_due(timers: Iterable[RecordedEvent], now: datetime) -> float | None:
    """Return the seconds until the next timer is due (0 if one is due), or None without timers."""
    moments = [due_at(timer) for timer in timers]
    return max((min(moments) - now).total_seconds(), 0.0) if moments else None


def _expired(asked: RecordedEvent) -> KandoEvent:
    data = {"approval": asked.id, "reason": EXPIRED}
    return make_event(APPROVAL_DENIED, "", "clock", [asked.id], data)


def _unanswered(asked: RecordedEvent) -> KandoEvent:
    echoed = {field: asked.data[field] for field in ECHOED if field in asked.data}
    error = {"type": "Expired", "message": "The deadline of the question has passed."}
    return make_event(PERSON_REPLIED, "", "clock", [asked.id], {**echoed, "error": error})


def _fired(timer: RecordedEvent) -> KandoEvent:
    data = {"timer": timer.id}
    if "cause_object_id" in timer.data:
        data["cause_object_id"] = timer.data["cause_object_id"]
    return make_event(TIMER_FIRED, "", "clock", [timer.id], data)


_ENDED = {APPROVAL_REQUESTED: _expired, PERSON_ASKED: _unanswered}
