"""Timers, and the deadlines and reminders of questions to people: which are due, and when the next is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from kando.schema.events import (
    APPROVAL_DENIED,
    APPROVAL_REQUESTED,
    ECHOED,
    PERSON_ASKED,
    PERSON_REMINDED,
    PERSON_REPLIED,
    TIMER_FIRED,
    KandoEvent,
    RecordedEvent,
    make_event,
)
from kando.views.questions import Question
from kando.world.projection import due_at

__all__ = ["EXPIRED", "due_reminders", "due_timers", "seconds_until_due"]

#: Why a question is denied when its deadline has passed.
EXPIRED = "expired"


def due_timers(timers: Iterable[RecordedEvent], now: datetime) -> list[KandoEvent]:
    """Return what to record for each that is due, the earliest first.

    This is a ``timer.fired`` for a timer, an ``approval.denied`` for an approval, and a
    ``person.replied`` with an error for a question.
    """
    due = sorted((timer for timer in timers if due_at(timer) <= now), key=due_at)
    return [_ENDED.get(each.type, _fired)(each) for each in due]


def due_reminders(
    questions: Mapping[str, Question], intents: Mapping[str, RecordedEvent], now: datetime
) -> list[KandoEvent]:
    """Return a ``person.reminded`` for each question whose reminder is due, the earliest first.

    However long no process worked on the run, this is one reminder of each question.

    Args:
        questions: the open questions, by id.
        intents: the open intents, by id.
        now: the present time.
    """
    due = [
        (each.remind_at, each.reminded, intents[id])
        for id, each in questions.items()
        if each.remind_at is not None and each.remind_at <= now and id in intents
    ]
    due.sort(key=lambda each: each[0])
    return [_reminded(asked, count + 1) for _, count, asked in due]


def seconds_until_due(moments: Iterable[datetime], now: datetime) -> float | None:
    """Return the seconds until the first of some moments (0 if it has passed), or None without any."""
    first = min(moments, default=None)
    return max((first - now).total_seconds(), 0.0) if first is not None else None


def _expired(asked: RecordedEvent) -> KandoEvent:
    data = {"approval": asked.id, "reason": EXPIRED}
    return make_event(APPROVAL_DENIED, "", "clock", [asked.id], data)


def _unanswered(asked: RecordedEvent) -> KandoEvent:
    echoed = {field: asked.data[field] for field in ECHOED if field in asked.data}
    error = {"type": "Expired", "message": "The deadline of the question has passed."}
    return make_event(PERSON_REPLIED, "", "clock", [asked.id], {**echoed, "error": error})


def _reminded(asked: RecordedEvent, count: int) -> KandoEvent:
    echoed = {field: asked.data[field] for field in ECHOED if field in asked.data}
    data = {"request": asked.id, "question": asked.data.get("question"), "count": count}
    return make_event(PERSON_REMINDED, "", "clock", [asked.id], {**echoed, **data})


def _fired(timer: RecordedEvent) -> KandoEvent:
    data = {"timer": timer.id}
    if "cause_object_id" in timer.data:
        data["cause_object_id"] = timer.data["cause_object_id"]
    return make_event(TIMER_FIRED, "", "clock", [timer.id], data)


_ENDED = {APPROVAL_REQUESTED: _expired, PERSON_ASKED: _unanswered}
