"""Recovery: cursor and recorder take up what a ledger holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kando.runtime.cursor import Cursor
from kando.runtime.inbox import AFTER
from kando.runtime.recorder import Recorder
from kando.schema.events import (
    OBSERVED,
    RESPONDER_COMPLETED,
    RESPONDER_FAILED,
    RESPONDER_FIRED,
    RecordedEvent,
)

__all__ = ["recover"]

_OF_NO_WHOLE_FIRING = frozenset({RESPONDER_FIRED, RESPONDER_FAILED})


def recover(
    cursor: Cursor,
    recorder: Recorder,
    events: Iterable[RecordedEvent],
    see_outside: Callable[[RecordedEvent], None] = lambda event: None,
) -> None:
    """Take up the events that a ledger holds, in order.

    A whole firing, which is most of a ledger, is taken at once: `Cursor.see` and
    `Recorder.take_saved` come to the same for each of its events, and take longer.

    Args:
        cursor: new.
        recorder: new.
        events: all of them.
        see_outside: shown each event that no firing produced.

    Raises:
        RefusedEvent: one cannot be applied to the world before it.
        StoreDamaged: a firing names a trigger that is not there.
    """
    firing: list[RecordedEvent] = []
    for event in events:
        kind = event.type
        if not firing:
            if kind == RESPONDER_FIRED and cursor.open_firing is None:
                firing.append(event)
            else:
                _take(cursor, recorder, [event], see_outside)
            continue
        firing.append(event)
        if kind == RESPONDER_COMPLETED and event.cause == [firing[0].id]:
            if event.data.get("outputs") == len(firing) - 2:
                recorder.take_saved_firing(cursor.recover_firing(firing), firing)
            else:
                _take(cursor, recorder, firing, see_outside)
            firing = []
        elif kind in _OF_NO_WHOLE_FIRING:
            _take(cursor, recorder, firing, see_outside)
            firing = []
    _take(cursor, recorder, firing, see_outside)


def _take(
    cursor: Cursor,
    recorder: Recorder,
    events: Iterable[RecordedEvent],
    see_outside: Callable[[RecordedEvent], None],
) -> None:
    for event in events:
        is_of_firing = cursor.see(event)
        recorder.take_saved(event, is_outside=not is_of_firing)
        if not is_of_firing:
            _follow(cursor, recorder, event)
            see_outside(event)


def _follow(cursor: Cursor, recorder: Recorder, event: RecordedEvent) -> None:
    """Move the cursor to where it was when an event from outside was recorded."""
    observed = event.data.get(OBSERVED)
    after = observed.get(AFTER) if isinstance(observed, dict) else None
    if not isinstance(after, list):
        return
    position = recorder.position_of(after[0])
    if position is not None:
        cursor.follow(position, after[1])
