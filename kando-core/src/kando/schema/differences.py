"""Differences between two events or JSON values; measured fields are left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kando.schema.events import OBSERVED, KandoEvent, RecordedEvent
from kando.schema.parts import has_references, whole_encoded

__all__ = ["Difference", "decided_data", "differences", "is_same_data", "is_same_json"]

#: The path of a value, and the two values.
Difference = tuple[str, Any, Any]


def decided_data(event: KandoEvent) -> dict[str, Any]:
    """Return the data of an event without ``observed``, which may differ between equal runs."""
    return {name: value for name, value in event.data.items() if name != OBSERVED}


def is_same_data(old: RecordedEvent, new: RecordedEvent) -> bool:
    """Whether two events have the same data, although only one of them may have references to parts.

    Data that differs in measured fields only is not the same: see `differences`.
    """
    if old.encoded == new.encoded:
        return True
    if has_references(old.encoded) == has_references(new.encoded):
        return False
    return whole_encoded(old.data, old.encoded) == whole_encoded(new.data, new.encoded)


def is_same_json(old: object, new: object) -> bool:
    """Whether two values that are neither objects nor lists are the same JSON."""
    # 1, 1.0 and true are equal in Python, but different JSON.
    return type(old) is type(new) and old == new


def differences(
    old: Any,
    new: Any,
    path: str,
    is_same: Callable[[Any, Any], bool] = is_same_json,
    *,
    missing: object = None,
) -> list[Difference]:
    """Return what differs between two JSON values, in document order.

    Args:
        old: a JSON value.
        new: the other.
        path: of both, such as ``data``; items are ``data.claims[0]``.
        is_same: compares two values that are not both objects, or both lists of one length.
        missing: stands for the value of a field that one of them lacks.
    """
    if old is new:
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for name in [*old, *(name for name in new if name not in old)]:
            inner = f"{path}.{name}" if path else name
            if name in old and name in new:
                found += differences(old[name], new[name], inner, is_same, missing=missing)
            else:
                # Also if the value is null: a missing field and null are different JSON.
                found.append((inner, old.get(name, missing), new.get(name, missing)))
        return found
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [
            each
            for place, (before, after) in pairs
            for each in differences(before, after, f"{path}[{place}]", is_same, missing=missing)
        ]
    return [] if is_same(old, new) else [(path, old, new)]
