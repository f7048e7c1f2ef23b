"""Recovery: restore cursor and recorder from the events of a ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kando.runtime.cursor import AFTER, Cursor, names_after
from kando.runtime.recorder import Recorder
from kando.schema.events import OBSERVED, RecordedEvent
from kando.schema.firing import Firing

__all__ = ["recover"]


def recover(
    cursor: Cursor,
    recorder: Recorder,
    items: Iterable[RecordedEvent | Firing],
    on_external: Callable[[RecordedEvent], None] = lambda event: None,
) -> None:
    """Restore cursor and recorder from the events and firings of a ledger, in order.

    Whole firings, which are most of a ledger, are restored as a whole: `Cursor.observe` and
    `Recorder.restore` for each of their events give the same result, but are slower.

    Args:
        cursor: new.
        recorder: new.
        items: all of them.
        on_external: called with each external event.

    Raises:
        RefusedEvent: an event cannot be applied to the world before it.
        StoreDamaged: the trigger of a firing does not exist.
    """
    for item in items:
        if not isinstance(item, Firing):
            _restore(cursor, recorder, [item], on_external)
        elif cursor.open_firing is None and item.heads == recorder.heads:
            recorder.restore_firing(cursor.recover_firing(item), item)
        else:
            _restore(cursor, recorder, item.events(), on_external)


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
