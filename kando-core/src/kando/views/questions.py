"""The questions to people that a ledger shows as open."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import attrs

from kando.schema.events import (
    EXPIRES,
    PERSON_ASKED,
    PERSON_REMINDED,
    REMIND,
    KandoEvent,
)
from kando.views.pending import answered_by
from kando.world.projection import due_at, seconds_between_reminders

__all__ = ["Question", "open_questions", "track_questions"]


@attrs.frozen
class Question:
    """A question that waits for a person's words.

    Attributes:
        event_id: id of its ``person.asked``.
        question: the text.
        schema: JSON Schema of the reply; None for text.
        cause_object_id: id of the object that it is about, or None.
        asked_at: when it was recorded.
        expires_at: deadline: the run answers it with an error then; None for no deadline.
        remind: seconds between two reminders; None for no reminders.
        reminded: number of reminders so far.
        remind_at: when the next reminder is due; None if there is none before the deadline.
    """

    event_id: str
    question: str
    schema: dict[str, Any] | None
    cause_object_id: str | None
    asked_at: datetime
    expires_at: datetime | None = None
    remind: float | None = None
    reminded: int = 0
    remind_at: datetime | None = None

    def after_reminder(self, at: datetime) -> Question:
        """Return the question after one more reminder.

        Args:
            at: when the reminder was recorded.
        """
        next_at = _next_reminder(at, self.remind, self.expires_at)
        return attrs.evolve(self, reminded=self.reminded + 1, remind_at=next_at)


def track_questions(waiting: dict[str, Question], event: KandoEvent) -> None:
    """Update the open questions with the next event of a ledger.

    Args:
        waiting: by the id of their ``person.asked``; changed in place.
        event: any event.
    """
    if event.type == PERSON_ASKED:
        waiting[event.id] = _asked(event)
    elif event.type == PERSON_REMINDED:
        for id in event.cause:
            if id in waiting:
                waiting[id] = waiting[id].after_reminder(event.timestamp)
    elif waiting:
        for id in answered_by(event):
            waiting.pop(id, None)


def open_questions(events: Iterable[KandoEvent]) -> list[Question]:
    """Return the open questions of a ledger, in order."""
    waiting: dict[str, Question] = {}
    for event in events:
        track_questions(waiting, event)
    return list(waiting.values())


def _asked(event: KandoEvent) -> Question:
    data = event.data
    schema, about = data.get("schema"), data.get("cause_object_id")
    expires_at = due_at(event) if EXPIRES in data else None
    remind = seconds_between_reminders(event) if REMIND in data else None
    return Question(
        event.id,
        str(data.get("question") or ""),
        schema if isinstance(schema, dict) else None,
        about if isinstance(about, str) else None,
        event.timestamp,
        expires_at,
        remind,
        remind_at=_next_reminder(event.timestamp, remind, expires_at),
    )


def _next_reminder(
    last: datetime, remind: float | None, expires_at: datetime | None
) -> datetime | None:
    at = last + timedelta(seconds=remind) if remind is not None else None
    return None if at is not None and expires_at is not None and expires_at <= at else at
