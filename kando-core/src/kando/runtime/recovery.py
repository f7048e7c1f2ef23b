"""Recovery: restore cursor and recorder from the events of a ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kando.runtime.cursor import AFTER, Cursor, names_after
from kando.runtime.recorder import Recorder
from kando.schema.events import (
    OBSERVED,
    RESPONDER_COMPLETED,
    RESPONDER_FAILED,
    RESPONDER_FIRED,
    RecordedEvent,
)

__all__ = ["recover"]

_INTERRUPTS_FIRING = frozenset({RESPONDER_FIRED, RESPONDER_FAILED})


def recover(
    cursor: Cursor,
    recorder: Recorder,
    events: Iterable[RecordedEvent],
    on_external: Callable[[RecordedEvent], None] = lambda event: None,
) -> None:
    """Restore cursor and recorder from the events of a ledger, in order.

    Complete firings, which are most of a ledger, are restored as a whole: `Cursor.observe` and
    `Recorder.restore` for each of their events give the same result, but are slower.

    Args:
        cursor: new.
        recorder: new.
        events: all of them.
        on_external: called with each external event.

    Raises:
        RefusedEvent: an event cannot be applied to the world before it.
        StoreDamaged: the trigger of a firing does not exist.
    """
    firing: list[RecordedEvent] = []
    for event in events:
        kind = event.type
        if not firing:
            if kind == RESPONDER_FIRED and cursor.open_firing is None:
                firing.append(event)
            else:
                _restore(cursor, recorder, [event], on_external)
            continue
        firing.append(event)
        if kind == RESPONDER_COMPLETED and event.cause == [firing[0].id]:
            if event.data.get("outputs") == len(firing) - 2:
                recorder.restore_firing(cursor.recover_firing(firing), firing)
            else:
                _restore(cursor, recorder, firing, on_external)
            firing = []
        elif kind in _INTERRUPTS_FIRING:
            _restore(cursor, recorder, firing, on_external)
            firing = []
    _restore(cursor, recorder, firing, on_external)


def _restore(
    cursor: Cursor,
    recorder: Recorder,
    events: Iterable[RecordedEvent],
    on_external: Callable[[RecordedEvent], None],
) -> None:
    for event in events:
        is_of_firing = cursor.observe(event)
        recorder.restore(event, is_external=not is_of_firing)
        if not is_of_firing:
            _restore_place(cursor, recorder, event)
            on_external(event)


def _restore_place(cursor: Cursor, recorder: Recorder, event: RecordedEvent) -> None:
    """Move the cursor to where it was when an external event was recorded."""
    observed = event.data.get(OBSERVED)
    names = names_after(observed)
    position = recorder.position_of(observed[AFTER][0]) if names and observed else None
    if position is not None:
        # The note of a ``kit.loaded`` is about firings of the kit before it.
        cursor.skip_to(position, names, event.position - 1)
