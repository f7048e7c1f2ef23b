"""Ids of runs, and the names that a command accepts for a run."""

from __future__ import annotations

import re
from itertools import islice

import attrs

from kando.app.demo import DEMO_ID
from kando.errors import (
    AmbiguousName,
    LedgerDeleted,
    LedgerNotFound,
    PositionOutOfRange,
    StoreDamaged,
)
from kando.ledger.substrate import LedgerInfo, Substrate, is_ledger_id
from kando.schema.events import STARTED_BY

__all__ = [
    "Address",
    "derived_ledger_id",
    "new_ledger_id",
    "parse_address",
    "resolve_ledger_id",
    "starter_of",
]

# Crockford's base 32, without letters that look like digits, in lower case.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LETTERS = _ALPHABET[10:]
_ID_CHARS = 10

_LAST = re.compile(r"@last(?:~(\d{1,6}))?$")


@attrs.frozen
class Address:
    """A ledger, and optionally a position in it: ``RUN`` or ``RUN@N``."""

    ledger: str
    position: int | None = None


def new_ledger_id() -> str:
    """Return a new random id of 10 characters (50 bits): short to type, without dashes."""
    import secrets

    rest = "".join(secrets.choice(_ALPHABET) for _ in range(_ID_CHARS - 1))
    return secrets.choice(_LETTERS) + rest


def derived_ledger_id(digest: bytes) -> str:
    """Return the id of a ledger, of the form of a new one, that follows from a digest."""
    number = int.from_bytes(digest, "big")
    number, first = divmod(number, len(_LETTERS))
    id = _LETTERS[first]
    while len(id) < _ID_CHARS:
        number, next_one = divmod(number, len(_ALPHABET))
        id += _ALPHABET[next_one]
    return id


def parse_address(text: str) -> Address:
    """Split ``RUN@N`` into run and position; ``@last@N`` works, too.

    Raises:
        PositionOutOfRange: the part after the ``@`` is not a number.
    """
    head, at, tail = text.rpartition("@")
    if not at or not head or _LAST.match(text):
        return Address(text)
    if tail.isdecimal() and len(tail) < 16:
        return Address(head, int(tail))
    msg = f"{text!r} is not RUN@N: {tail!r} is not a position."
    raise PositionOutOfRange(msg, hint="Use a position from 0, such as RUN@2.")


def resolve_ledger_id(substrate: Substrate, name: str) -> str:
    """Return the id of a run or branch.

    Args:
        substrate: that contains it.
        name: an id, a unique prefix of one, ``@last``, or ``@last~N`` for the N-th before it; child
            runs do not count, nor do empty ledgers, which a killed start leaves.

    Raises:
        LedgerNotFound: no run matches; the hint suggests a similar id.
        AmbiguousName: the prefix matches several runs; the message lists them.
    """
    last = _LAST.match(name)
    if last:
        back = int(last.group(1) or 0)
        # A child run is one that no person started.
        begun = (each for each in substrate.ledgers() if each.length)
        own = (each for each in begun if starter_of(substrate, each) is None)
        found = next(islice(own, back, None), None)
        if found is None:
            msg = f"There is no run {name}."
            raise LedgerNotFound(msg, hint="`kando runs` lists them.")
        return found.id
    matches = substrate.ids_starting_with(name, 6) if name else []
    if name in matches:
        return name
    _refuse_deleted(substrate, name)
    if len(matches) == 1:
        return matches[0]
    if matches:
        shown = ", ".join(matches[:5]) + (", ..." if len(matches) > 5 else "")
        msg = f"{name!r} is a prefix of several runs: {shown}."
        raise AmbiguousName(msg, hint="Use a longer prefix.")
    # Not at the top: every command that names a run imports this module.
    import difflib

    known = [info.id for info in islice(substrate.ledgers(), 200)]
    near = difflib.get_close_matches(name, [*known, DEMO_ID], 1, 0.5)
    hint = f"Did you mean {near[0]}?" if near else "`kando runs` lists them."
    msg = f"There is no run {name!r}."
    raise LedgerNotFound(msg, hint=hint)


def _refuse_deleted(substrate: Substrate, name: str) -> None:
    """Refuse the id of a deleted run, which may be a prefix of another id."""
    if is_ledger_id(name):
        try:
            substrate.info(name)
        except LedgerNotFound as error:
            if isinstance(error, LedgerDeleted):
                raise


def starter_of(substrate: Substrate, info: LedgerInfo) -> str | None:
    """Return the id of the run that started a child run, from its first own events; else None."""
    # A branch says so after its head.
    first = 0 if info.fork_position is None else info.fork_position + 1
    if info.length <= first:
        return None
    try:
        event = substrate.open(info.id).at(first)
    except (LedgerNotFound, StoreDamaged):
        return None
    named = event.data.get(STARTED_BY) if event is not None else None
    run_id = named.get("run_id") if isinstance(named, dict) else None
    return run_id if isinstance(run_id, str) else None
