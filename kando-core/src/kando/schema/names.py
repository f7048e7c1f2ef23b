"""Misspelled names: the nearest right one."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["nearest", "suggestion"]

#: From these lengths on: a letter may be left out, added or moved; one may be another one; and two
#: such changes may be made.
_SHORT, _MEDIUM, _LONG = 4, 5, 8


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that a misspelled one stands for, or None.

    Two names are near if they differ in case, or if one letter was left out, added or moved; in
    longer names also if one letter is another, or two such changes were made.
    """
    found = [(_changes(name.casefold(), each.casefold()), each) for each in known]
    changes, best = min(found, default=(_LONG, ""))
    length = max(len(name), len(best))
    is_one_allowed = length >= _MEDIUM or (length >= _SHORT and _is_moved(name, best))
    return best if changes <= (2 if length >= _LONG else int(is_one_allowed)) else None


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return a hint that names the known names, and first the nearest of them."""
    names = sorted(known)
    meant, listed = nearest(name, names), f"It has: {', '.join(names) or 'none'}."
    return f"Did you mean {meant!r}? {listed}" if meant else listed


def _is_moved(name: str, other: str) -> bool:
    """Whether the names differ in length, or have the same letters: so no letter is another one."""
    return len(name) != len(other) or sorted(name.casefold()) == sorted(other.casefold())


def _changes(old: str, new: str) -> int:
    """Return how many letters were added, left out, replaced, or swapped with their neighbour."""
    if abs(len(old) - len(new)) > 2:
        return _LONG
    before: list[int] = []
    row = list(range(len(new) + 1))
    for i, a in enumerate(old, 1):
        before, last, row = row, before, [i]
        for j, b in enumerate(new, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == new[j - 2] and old[i - 2] == b:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]
