"""Metrics: what a run has done and used."""

from __future__ import annotations

from itertools import islice

from kando.app.inspect import read_events
from kando.app.opened import OpenedRun
from kando.errors import InvalidData
from kando.ledger.interface import LedgerStore
from kando.views.metrics import MetricsFold, RunMetrics, usage_changes
from kando.views.stored import metrics_fold_of

__all__ = ["metrics_of", "usage_changes_of"]


def metrics_of(run: OpenedRun, end: int) -> RunMetrics:
    """Return the metrics of the first `end` events of a run."""
    stored = run.snapshot_at(end)
    fold = metrics_fold_of(stored) if stored is not None else None
    try:
        return _measured(run.current, fold or MetricsFold(), end)
    except InvalidData:
        # Events that the kit's upcasters cannot convert are counted as they were recorded.
        return _measured(run.ledger, MetricsFold(), end)


def _measured(ledger: LedgerStore, fold: MetricsFold, end: int) -> RunMetrics:
    start = fold.length
    for event in islice(ledger.read(start), end - start):
        fold.observe(event)
    return fold.metrics()


def usage_changes_of(run: OpenedRun, end: int) -> list[tuple[int, tuple[str, ...], int | float]]:
    """Return the changes of the metrics of a run over its first events: see `usage_changes`."""
    try:
        return [*usage_changes(islice(run.current.read(0), end))]
    except InvalidData:
        return [*usage_changes(read_events(run, end))]
