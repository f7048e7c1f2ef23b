"""The checks that every ledger makes before it appends, reads or forks."""

from __future__ import annotations

from collections.abc import Sequence

from kando.errors import ConcurrencyError, DuplicateEvent, LedgerInUse, PositionOutOfRange

__all__ = [
    "check_expected_length",
    "check_fork_position",
    "check_from_position",
    "duplicate",
    "has_branches",
]

# Branches that an error names.
_NAMED = 3


def check_expected_length(stream: str, actual: int, expected: int | None) -> None:
    """Refuse to append to a ledger whose length is not the one that its writer expects."""
    if expected is not None and expected != actual:
        msg = f"{stream} has {actual} events, not {expected}: another writer appended to it."
        raise ConcurrencyError(
            msg, hint="Nothing was written. Load the run again to continue from its current end."
        )


def check_from_position(stream: str, position: int) -> None:
    """Refuse a negative position."""
    if position < 0:
        msg = f"Position {position} is outside {stream}."
        raise PositionOutOfRange(msg, hint="Positions start at 0.")


def check_fork_position(stream: str, position: int, length: int) -> None:
    """Refuse to fork at a position outside the parent."""
    if not 0 <= position <= length:
        msg = f"Cannot fork {stream} at {position}: it has {length} events."
        raise PositionOutOfRange(msg, hint=f"Use a position from 0 to {length}.")


def duplicate(stream: str, event_id: str, position: int) -> DuplicateEvent:
    """Return the error for an event id that already exists at `position`."""
    msg = f"{stream} already has an event {event_id!r}, at position {position}."
    return DuplicateEvent(msg, hint="Give the event another id, or leave its id empty.")


def has_branches(ledger_id: str, branches: Sequence[str]) -> LedgerInUse:
    """Return the error for a ledger that cannot be deleted, since branches share events with it."""
    shown = ", ".join(branches[:_NAMED])
    more = len(branches) - _NAMED
    others = f" and {more} more" if more > 0 else ""
    msg = f"{ledger_id} cannot be deleted: {shown}{others} share events with it."
    if len(branches) == 1:
        msg = f"{ledger_id} cannot be deleted: the branch {shown} shares events with it."
    hint = f"Delete the branches first: `kando branches {ledger_id}` shows them."
    return LedgerInUse(msg, hint=hint)
