"""Compare two ledgers: where they diverge, and how they differ after that."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from kando.branch._affected import affected_worlds
from kando.branch.diff import WorldDiff, diff
from kando.branch.divergence import divergence_position
from kando.branch.steps import StepDiff, align_steps
from kando.ledger.interface import LedgerStore
from kando.schema.events import RecordedEvent
from kando.schema.firing import Firing
from kando.views.metrics import RunMetrics, measure

__all__ = ["LedgerDiff", "Side", "compare"]


@attrs.frozen
class Side:
    """One of two compared ledgers.

    Attributes:
        stream: its name, ``run:{id}`` or ``branch:{id}``.
        events: number of its events that count.
        tail: metrics of its events after the divergence position.
    """

    stream: str
    events: int
    tail: RunMetrics


@attrs.frozen
class LedgerDiff:
    """How a second ledger differs from a first. False when neither worlds nor steps differ.

    Attributes:
        shared: number of events that they share, which is the divergence position.
        a: the first.
        b: the second.
        world: how their worlds differ.
        steps: how the outputs of their responders differ.
    """

    shared: int
    a: Side
    b: Side
    world: WorldDiff
    steps: StepDiff

    def __bool__(self) -> bool:
        return bool(self.world or self.steps)

    def summary(self) -> str:
        """Return one line: ``+2 objects; steps: 1 only in the second``, or ``no changes``."""
        parts = [self.world.summary()] if self.world else []
        if self.steps:
            parts.append(f"steps: {self.steps.summary()}")
        return "; ".join(parts) or "no changes"


def compare(
    a: LedgerStore,
    b: LedgerStore,
    end_a: int | None = None,
    end_b: int | None = None,
    *,
    may_hold: Callable[[str, int], bool] = lambda id, shared: True,
) -> LedgerDiff:
    """Compare two ledgers.

    Of the shared events, it reads only those about objects and relations that the tails change, so
    the cost depends on the tails. The tails are read firing by firing, without the lifecycle events
    of these. Ledgers that share no events are read in full.

    Args:
        a: the first, usually the parent.
        b: the second, usually the branch.
        end_a: number of events of `a` that count; all if None.
        end_b: the same for `b`.
        may_hold: ``may_hold(id, shared)`` says whether the first `shared` events may contain an
            object with an id; if not, it is not searched for.
    """
    end_a = a.length() if end_a is None else end_a
    end_b = b.length() if end_b is None else end_b
    shared = divergence_position(a, b, end_a, end_b)
    tail_a, tail_b = _tail(a, shared, end_a), _tail(b, shared, end_b)
    worlds = affected_worlds(a, shared, tail_a, tail_b, lambda id: may_hold(id, shared))
    return LedgerDiff(
        shared,
        Side(a.stream_name(), end_a, measure(tail_a)),
        Side(b.stream_name(), end_b, measure(tail_b)),
        diff(*worlds, by_content=True),
        align_steps(tail_a, tail_b),
    )


def _tail(ledger: LedgerStore, start: int, end: int) -> list[RecordedEvent | Firing]:
    tail: list[RecordedEvent | Firing] = []
    for item in ledger.read_firings(start) if start < end else ():
        if item.position >= end:
            break
        if isinstance(item, Firing) and item.position + len(item) > end:
            tail += item.events()[: end - item.position]
        else:
            tail.append(item)
    return tail
