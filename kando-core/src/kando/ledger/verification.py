"""Verify a ledger: recompute its hash chain and report the first position that does not match."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import msgspec

from kando.errors import StoreDamaged
from kando.ledger.chain import GENESIS, link
from kando.ledger.interface import LedgerStore
from kando.ledger.trees import blobs_of_tree
from kando.schema.events import RecordedEvent
from kando.schema.parts import blob_problem, blobs_of

__all__ = ["Verdict", "verify"]


@attrs.frozen
class Verdict:
    """The result of verifying a ledger.

    Attributes:
        events: number of events that match, from the beginning.
        digest: the chained hash over these events, 64 hexadecimal digits.
        problem: describes the first event that does not match; None if all match.
    """

    events: int
    digest: str
    problem: str | None = None

    @property
    def is_intact(self) -> bool:
        """Whether every event matches."""
        return self.problem is None


def verify(ledger: LedgerStore) -> Verdict:
    """Recompute the hash chain of a ledger and compare it with the stored one.

    This detects changed, reordered, removed and inserted events, and blobs (long texts, messages,
    files of a workspace) that are missing or changed. To detect that the whole chain was
    rewritten, compare `Verdict.digest` with a copy that is kept elsewhere.
    """
    digest, matching = GENESIS, 0
    seen: set[bytes] = set()
    try:
        for event in _one_by_one(ledger):
            following = link(digest, event)
            if event.position != matching or ledger.digest(matching + 1) != following:
                return _mismatch(matching, digest, f"{event.id} is not what was recorded")
            problem = _problem_of_parts(ledger, event, seen)
            if problem is not None:
                return _mismatch(matching, digest, f"{event.id} is not whole: {problem}")
            digest, matching = following, matching + 1
        stray = ledger.stray_position()
    except StoreDamaged as error:
        return _mismatch(matching, digest, error.message)
    if stray is not None:
        what = f"the ledger ends here, but there is an event at position {stray}"
        return _mismatch(matching, digest, what)
    return Verdict(matching, digest.hex())


def _problem_of_parts(ledger: LedgerStore, event: RecordedEvent, seen: set[bytes]) -> str | None:
    """Return what is wrong with the blobs that an event names and no event before it, or None."""
    try:
        for digest, body, _ in blobs_of(event.encoded, ledger.blobs, seen):
            problem = blob_problem(digest, body)
            if problem is not None:
                return problem
        for digest, body in blobs_of_tree(event, ledger.blobs, seen):
            problem = blob_problem(digest, body)
            if problem is not None:
                return f"a file of its workspace: {problem}"
    except (ValueError, msgspec.DecodeError) as error:
        return str(error)
    return None


def _one_by_one(ledger: LedgerStore) -> Iterator[RecordedEvent]:
    """Yield the events up to the first that is missing or cannot be read."""
    position = 0
    try:
        for event in ledger.read_all():
            yield event
            position += 1
    except StoreDamaged as error:
        if error.position == position:
            raise
        # A store may read many events at once; read singly to find the one that is missing.
        while (found := ledger.at(position)) is not None:
            yield found
            position += 1
        if position < ledger.length():
            msg = "the event is missing"
            raise StoreDamaged(msg) from error
        raise


def _mismatch(position: int, digest: bytes, what: str) -> Verdict:
    return Verdict(position, digest.hex(), f"position {position}: {what}")
