"""Timers: which are due, and when the next one is due."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from kando.schema.events import TIMER_FIRED, KandoEvent, RecordedEvent, make_event
from kando.world.projection import due_at

__all__ = ["due_timers", "seconds_until_due"]


def due_timers(timers: Iterable[RecordedEvent], now: datetime) -> list[KandoEvent]:
    """Return a ``timer.fired`` for each due timer, the earliest first."""
    due = sorted((timer for timer in timers if due_at(timer) <= now), key=due_at)
    return [_fired(timer) for timer in due]


def seconds_until_due(timers: Iterable[RecordedEvent], now: datetime) -> float | None:
    """Return the seconds until the next timer is due (0 if one is due), or None without timers."""
    moments = [due_at(timer) for timer in timers]
    return max((min(moments) - now).total_seconds(), 0.0) if moments else None


def _fired(timer: RecordedEvent) -> KandoEvent:
    data = {"timer": timer.id}
    if "cause_object_id" in timer.data:
        data["cause_object_id"] = timer.data["cause_object_id"]
    return make_event(TIMER_FIRED, "", "clock", [timer.id], data)
