"""Recovery: restore cursor and recorder from the events of a ledger, or from a stored state."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from kando.responders.budget import AccountState
from kando.runtime.approval_gate import GateState
from kando.runtime.cursor import AFTER, Cursor, CursorState, names_after
from kando.runtime.recorder import Recorder, RecorderState
from kando.schema.events import OBSERVED, RecordedEvent
from kando.schema.firing import Firing

__all__ = ["RecoveryState", "place_before", "recover"]


class RecoveryState(msgspec.Struct, frozen=True):
    """The result of a recovery, except for the world: a fold over the first events of a ledger.

    Attributes:
        cursor: what is done and what is pending.
        recorder: the length of the ledger, and what it knows about ids.
        account: what was spent.
        gate: what waits for a person, and what policies said.
        by_hand: who answered a request by hand, by intent.
        cached_from: position from which a durable cache holds the answers; None if it may lack some.
    """

    cursor: CursorState
    recorder: RecorderState
    account: AccountState
    gate: GateState
    by_hand: dict[str, str]
    cached_from: int | None = None


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
            trigger = cursor.advance_to(item)
            tracked = recorder.restore_firing(trigger, item)
            cursor.observe_firing(trigger, item, None, tracked)
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
    if (place := place_before(event, recorder)) is not None:
        cursor.skip_to(*place)


def place_before(event: RecordedEvent, recorder: Recorder) -> tuple[int, list[str], int] | None:
    """Return the arguments of `Cursor.skip_to` that an external event notes, or None."""
    observed = event.data.get(OBSERVED)
    names = names_after(observed)
    position = recorder.position_of(observed[AFTER][0]) if names and observed else None
    # The note of a ``kit.loaded`` is about firings of the kit before it.
    return (position, names, event.position - 1) if position is not None else None
