"""Compare runs: two in depth, or several by what they came to."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from kando.app.context import App, id_of
from kando.app.reading import metrics_of, status_of
from kando.app.snapshots import stored_snapshot
from kando.branch.comparison import LedgerDiff, compare
from kando.branch.parting import parting
from kando.ledger.interface import LedgerStore
from kando.views.metrics import Usage
from kando.views.object_ids import ObjectIds
from kando.views.stored import object_ids_of

__all__ = ["Outcome", "compare_outcomes", "compare_runs"]


@attrs.frozen
class Outcome:
    """What one of several runs came to.

    Attributes:
        run_id: of the run or branch.
        state: as `kando.app.status.RunStatus` has it.
        events: length of the ledger.
        objects: how many of each type, by type.
        relations: how many of each type, by type.
        llm: what its requests came to, those it shares with another run included.
        elapsed_seconds: from its first event to its last.
        parts_at: how many events it shares with the first of the runs.
    """

    run_id: str
    state: str
    events: int
    objects: dict[str, int]
    relations: dict[str, int]
    llm: Usage
    elapsed_seconds: float
    parts_at: int


def compare_runs(app: App, a: str, b: str) -> LedgerDiff:
    """Compare two runs or branches; each may be ``RUN@N``.

    Raises:
        LedgerNotFound, AmbiguousName: there is no such run.
        PositionOutOfRange: one is shorter than its N.
    """
    ledger_a, end_a = app.ledger_at(a)
    ledger_b, end_b = app.ledger_at(b)
    kept = [found for ledger in (ledger_a, ledger_b) if (found := _kept_ids(app, ledger))]

    def may_hold(id: str, shared: int) -> bool:
        return all(ids.may_hold(id) for position, ids in kept if position >= shared)

    return compare(ledger_a, ledger_b, end_a, end_b, may_hold=may_hold)


def _kept_ids(app: App, ledger: LedgerStore) -> tuple[int, ObjectIds] | None:
    stored = stored_snapshot(app, ledger)
    # Events are compared as they are stored.
    ids = object_ids_of(stored) if stored is not None and stored.is_current else None
    return (stored.position, ids) if stored is not None and ids is not None else None


def compare_outcomes(app: App, runs: Sequence[str]) -> list[Outcome]:
    """Return what several runs or branches came to, in the order they are named.

    Raises:
        LedgerNotFound, AmbiguousName: there is no such run.
    """
    ledgers = [app.ledger(run) for run in runs]
    outcomes = []
    for ledger in ledgers:
        status, metrics = status_of(app, ledger), metrics_of(app, ledger, ledger.length())
        outcomes.append(
            Outcome(
                id_of(ledger),
                status.state,
                status.events,
                status.objects,
                status.relations,
                metrics.llm,
                metrics.elapsed_seconds,
                parting(ledgers[0], ledger),
            )
        )
    return outcomes
