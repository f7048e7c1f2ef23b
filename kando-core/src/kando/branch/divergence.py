"""Find the position at which two ledgers diverge, by bisecting their hash chains."""

from __future__ import annotations

from kando.ledger.interface import LedgerStore

__all__ = ["divergence_position"]


def divergence_position(
    a: LedgerStore, b: LedgerStore, end_a: int | None = None, end_b: int | None = None
) -> int:
    """Return the number of events that two ledgers share from the beginning.

    Each event's hash covers all earlier events, so equal hashes at a position mean equal prefixes.
    The number of hashes read is logarithmic in the length of the shorter ledger.

    Args:
        a: a ledger.
        b: another, of any substrate.
        end_a: number of events of `a` that count; all if None.
        end_b: the same for `b`.
    """
    shared = 0
    beyond = min(a.length() if end_a is None else end_a, b.length() if end_b is None else end_b) + 1
    while beyond - shared > 1:
        middle = (shared + beyond) // 2
        if a.digest(middle) == b.digest(middle):
            shared = middle
        else:
            beyond = middle
    return shared
