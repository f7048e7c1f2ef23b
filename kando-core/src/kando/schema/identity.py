"""The two identities of an event: its position says where, its lineage key says why.

Neither contains a random number, a UUID or a process-wide counter, so a re-run, a resume and a
strict replay produce the same ids.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

__all__ = [
    "default_event_id",
    "head_id",
    "is_derived_id",
    "lifecycle_keys",
    "number_of_default_id",
    "object_id",
    "position_of_number",
    "root_key",
    "step_key",
    "stream_of",
]

#: Hexadecimal digits of a lineage key: 128 bits of SHA-256.
KEY_DIGITS = 32

_SHORT = 8


def default_event_id(type: str, position: int, heads: int = 0) -> str:
    """Return the id of an event whose author gave none: ``{type}-{number}``.

    The number is the position without counting the heads of branches, so a resumed branch gives
    an event the id that it has in the parent.

    Args:
        type: of the event.
        position: of the event in its ledger.
        heads: number of branch heads (``branch.created``) before it.
    """
    return f"{type}-{position - heads}"


def head_id(stream: str) -> str:
    """Return the id of the head of a branch, ``branch.created-{branch id}``.

    Args:
        stream: name of the branch, ``branch:{id}``.
    """
    return f"branch.created-{stream.partition(':')[2]}"


def stream_of(name: str) -> str:
    """Return the name of a ledger's stream: `name` if it has its kind, else ``run:{name}``.

    Args:
        name: an id, or ``run:{id}`` or ``branch:{id}``.
    """
    return name if name.startswith(("run:", "branch:")) else f"run:{name}"


def position_of_number(number: int, heads: Sequence[int]) -> int:
    """Return the position of the event with this number (see `default_event_id`).

    Args:
        number: from 0.
        heads: positions of the heads of branches in the ledger, ascending.
    """
    for head in heads:
        if head > number:
            break
        number += 1
    return number


def number_of_default_id(event_id: str) -> int | None:
    """Return the number in an id of the form ``{type}-{number}``, or None for any other id."""
    _, dash, digits = event_id.rpartition("-")
    if not dash or not digits.isdecimal() or not digits.isascii():
        return None
    if digits != "0" and digits[0] == "0":
        return None
    return int(digits) if len(digits) < 16 else None


def root_key(type: str, identity: bytes, occurrence: int) -> str:
    """Return the lineage key of a root event.

    Args:
        type: the event's type.
        identity: its explicit id if it has one, else its encoded data.
        occurrence: number of equal roots before it in the ledger.
    """
    head = f"root\x00{type}\x00{occurrence}\x00".encode()
    return sha256(head + identity).hexdigest()[:KEY_DIGITS]


def step_key(trigger_key: str, responder: str, ordinal: int | str) -> str:
    """Return the lineage key of an event that a firing produced.

    It depends neither on positions nor on content: the same step has the same key on every
    branch, even if its output differs.

    Args:
        trigger_key: lineage key of the event that the responder handled.
        responder: the responder's name.
        ordinal: 0-based index among the outputs of the firing, or a word for a bookkeeping event.
    """
    return sha256(f"{trigger_key}\x00{responder}\x00{ordinal}".encode()).hexdigest()[:KEY_DIGITS]


def lifecycle_keys(trigger_key: str, responder: str) -> tuple[str, str]:
    """Return the `step_key` of the ``responder.fired`` and the ``responder.completed`` of a firing."""
    head = f"{trigger_key}\x00{responder}\x00".encode()
    fired, completed = sha256(head + b"fired").hexdigest(), sha256(head + b"completed").hexdigest()
    return fired[:KEY_DIGITS], completed[:KEY_DIGITS]


def object_id(type: str, lineage_key: str, is_taken: Callable[[str], object]) -> str:
    """Return the id of an object or relation whose author gave none.

    It is ``{type}-{beginning of the lineage key}`` in lower case, with as many digits as it takes
    to be unique.

    Args:
        type: of the object or relation.
        lineage_key: of the event that creates it.
        is_taken: returns a true value if a candidate id already exists.
    """
    prefix = type.lower()
    candidate = f"{prefix}-{lineage_key[:_SHORT]}"
    digits = _SHORT
    while digits < KEY_DIGITS and is_taken(candidate):
        digits += 4
        candidate = f"{prefix}-{lineage_key[:digits]}"
    return candidate


def is_derived_id(id: str, type: str, lineage_key: str) -> bool:
    """Return whether an object's or relation's id comes from `object_id` and this lineage key."""
    prefix = f"{type.lower()}-"
    digits = id.removeprefix(prefix)
    return id.startswith(prefix) and len(digits) >= _SHORT and lineage_key.startswith(digits)
