"""Verify a ledger: recompute its hash chain and name the first position that does not fit."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from kando.errors import StoreDamaged
from kando.ledger.chain import GENESIS, link
from kando.ledger.interface import LedgerStore
from kando.schema.events import RecordedEvent

__all__ = ["Verdict", "verify"]


@attrs.frozen
class Verdict:
    """What verifying a ledger came to.

    Attributes:
        events: how many fit, from the beginning.
        digest: the chained hash over these, 64 hexadecimal digits.
        problem: what is wrong with the first event that does not fit; None if all do.
    """

    events: int
    digest: str
    problem: str | None = None

    @property
    def is_intact(self) -> bool:
        """Whether every event fits."""
        return self.problem is None


def verify(ledger: LedgerStore) -> Verdict:
    """Recompute the hash chain of a ledger and compare it with the stored one.

    Changed, reordered, removed and inserted events are found. Whoever can rewrite the whole chain
    as well is found by comparing `Verdict.digest` with one that was noted elsewhere.
    """
    digest, fitting = GENESIS, 0
    try:
        for event in _one_by_one(ledger):
            following = link(digest, event)
            if event.position != fitting or ledger.digest(fitting + 1) != following:
                return _misfit(fitting, digest, f"{event.id} is not what was recorded")
            digest, fitting = following, fitting + 1
        stray_position = ledger.stray_position()
    except StoreDamaged as error:
        return _misfit(fitting, digest, error.message)
    if stray_position is not None:
        what = f"the ledger ends here, and an event stands at position {stray_position}"
        return _misfit(fitting, digest, what)
    return Verdict(fitting, digest.hex())


def _one_by_one(ledger: LedgerStore) -> Iterator[RecordedEvent]:
    """Yield the events up to the first that is missing or cannot be read."""
    position = 0
    try:
        for event in ledger.read_all():
            yield event
            position += 1
    except StoreDamaged as error:
        # A store may read many events at once; the one that is missing is found singly.
        while (found := ledger.at(position)) is not None:
            yield found
            position += 1
        if position < ledger.length():
            msg = "the event is missing"
            raise StoreDamaged(msg) from error


def _misfit(position: int, digest: bytes, what: str) -> Verdict:
    return Verdict(position, digest.hex(), f"position {position}: {what}")
