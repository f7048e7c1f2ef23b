"""Ids, expected length and duplicates: the checks every ledger makes before it appends."""

from __future__ import annotations

from kando.errors import ConcurrencyError, DuplicateEvent, PositionOutOfRange

__all__ = ["check_expected_length", "check_fork_position", "check_from_position", "duplicate"]


def check_expected_length(stream: str, actual: int, expected: int | None) -> None:
    """Refuse to write to a ledger that is not as long as its writer thinks."""
    if expected is not None and expected != actual:
        msg = f"{stream} has {actual} events, not {expected}: another writer appended to it."
        raise ConcurrencyError(
            msg, hint="Nothing was written. Load the run again to go on from where it stands."
        )


def check_from_position(stream: str, position: int) -> None:
    """Refuse a negative position."""
    if position < 0:
        msg = f"Position {position} is outside {stream}."
        raise PositionOutOfRange(msg, hint="Positions start at 0.")


def check_fork_position(stream: str, position: int, length: int) -> None:
    """Refuse to fork outside the parent."""
    if not 0 <= position <= length:
        msg = f"Cannot fork {stream} at {position}: it has {length} events."
        raise PositionOutOfRange(msg, hint=f"Use a position from 0 to {length}.")


def duplicate(stream: str, event_id: str, position: int) -> DuplicateEvent:
    """Return the error for an event id that is taken at `position`."""
    msg = f"{stream} has an event {event_id!r} already, at position {position}."
    return DuplicateEvent(msg, hint="Give the event another id, or none.")
