"""Compare runs: two in depth, or several by their outcomes."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from kando.app.metrics import metrics_of
from kando.app.opened import OpenedRun
from kando.app.status import status_of
from kando.branch.comparison import LedgerDiff, compare
from kando.branch.divergence import divergence_position
from kando.views.metrics import Usage
from kando.views.object_ids import ObjectIds
from kando.views.stored import object_ids_of

__all__ = ["Outcome", "compare_outcomes", "compare_runs"]


@attrs.frozen
class Outcome:
    """The outcome of one of several runs.

    Attributes:
        run_id: of the run or branch.
        state: as in `kando.app.status.RunStatus`.
        events: length of the ledger.
        objects: how many of each type, by type.
        relations: how many of each type, by type.
        llm: usage of its requests, including shared ones.
        elapsed_seconds: from its first event to its last.
        parts_at: number of events that it shares with the first of the runs.
    """

    run_id: str
    state: str
    events: int
    objects: dict[str, int]
    relations: dict[str, int]
    llm: Usage
    elapsed_seconds: float
    parts_at: int


def compare_runs(a: OpenedRun, end_a: int, b: OpenedRun, end_b: int) -> LedgerDiff:
    """Compare the first `end_a` events of a run with the first `end_b` of another."""
    kept = [found for run in (a, b) if (found := _kept_ids(run))]

    def may_hold(id: str, shared: int) -> bool:
        return all(ids.may_hold(id) for position, ids in kept if position >= shared)

    return compare(a.ledger, b.ledger, end_a, end_b, may_hold=may_hold)


def _kept_ids(run: OpenedRun) -> tuple[int, ObjectIds] | None:
    stored = run.snapshot
    # Events are compared as they are stored.
    ids = object_ids_of(stored) if stored is not None and stored.is_current else None
    return (stored.position, ids) if stored is not None and ids is not None else None


def compare_outcomes(runs: Sequence[OpenedRun]) -> list[Outcome]:
    """Return the outcomes of several runs or branches, in their order."""
    outcomes = []
    for run in runs:
        status, metrics = status_of(run), metrics_of(run, run.ledger.length())
        outcomes.append(
            Outcome(
                run.id,
                status.state,
                status.events,
                status.objects,
                status.relations,
                metrics.llm,
                metrics.elapsed_seconds,
                divergence_position(runs[0].ledger, run.ledger),
            )
        )
    return outcomes
