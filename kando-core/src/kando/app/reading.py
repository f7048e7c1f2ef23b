"""Look at runs: their state, events, world and traces. Nothing here writes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import attrs

from kando.app.changes import brought_up, brought_up_by, installed_kit
from kando.app.context import App, id_of
from kando.app.demo import DEMO_ID
from kando.app.kits.find import kit_data
from kando.app.snapshots import stored_snapshot
from kando.app.status import (
    FINISHED,
    RUNNING,
    STOPPED,
    WAITING,
    RunStatus,
    damaged_status,
    read_status,
)
from kando.app.trace import trace_event
from kando.errors import (
    ConfigurationError,
    InvalidData,
    KandoError,
    PositionOutOfRange,
    StoreDamaged,
    StoreError,
)
from kando.ledger.interface import LedgerStore
from kando.ledger.notice import this_process
from kando.ledger.substrate import LedgerInfo
from kando.ledger.verification import Verdict, verify
from kando.runtime import Runtime
from kando.schema.events import RecordedEvent
from kando.views.metrics import MetricsFold, RunMetrics
from kando.views.stored import disagreeing, metrics_fold_of
from kando.world.graph import World
from kando.world.projection import apply, project

__all__ = [
    "explain_event",
    "list_runs",
    "metrics_of",
    "read_events",
    "run_metrics",
    "run_status",
    "status_of",
    "verify_run",
    "world_at",
]


def list_runs(
    app: App, limit: int, after: str | None = None
) -> tuple[list[tuple[LedgerInfo, RunStatus]], str | None]:
    """Return runs and branches, newest first, and the cursor of the next page, if there is one.

    A run that is damaged is listed as such; it does not hide the others.

    Args:
        app: where.
        limit: how many at most.
        after: cursor, which is the id of the last run of the page before; runs that were started
            since then do not shift the pages.

    Raises:
        ConfigurationError: the cursor is of no run.
    """
    ledgers = app.substrate().ledgers()
    if after is not None and all(info.id != after for info in ledgers):
        msg = f"{after!r} is not a cursor of this list."
        raise ConfigurationError(msg, hint="Use the next_cursor of the page before.")
    found = list(islice(ledgers, limit + 1))
    next_cursor = found[limit - 1].id if len(found) > limit else None
    return [(info, _status_in_list(app, info)) for info in found[:limit]], next_cursor


def _status_in_list(app: App, info: LedgerInfo) -> RunStatus:
    try:
        return status_of(app, app.substrate().open(info.id))
    except StoreDamaged as error:
        return damaged_status(info, error.message)


def run_status(app: App, run: str) -> RunStatus:
    """Return the state of a run or branch.

    Raises:
        LedgerNotFound, AmbiguousName: there is no such run.
    """
    return status_of(app, app.ledger(run))


def status_of(app: App, ledger: LedgerStore) -> RunStatus:
    """Return the state of an open ledger: ``running`` if a process is at work on it, ``stopped`` if
    its kit has work left to do and none is.

    Whether work is left a kit that is not installed cannot tell; then what the ledger says stands.
    """
    kit = installed_kit(app, ledger)
    read = brought_up_by(kit, app, ledger)
    stored = stored_snapshot(app, read)
    try:
        status = read_status(read, stored)
    except InvalidData:
        # What a kit cannot bring up is shown as it was recorded.
        status = read_status(ledger)
    worker = None if id_of(ledger) == DEMO_ID else app.substrate().worker(id_of(ledger))
    if worker is not None and worker != this_process() and worker.may_be_alive():
        return attrs.evolve(status, state=RUNNING)
    if kit is None or status.state not in (FINISHED, WAITING):
        return status
    if stored is not None and stored.is_at_rest(kit_data(kit)):
        return status
    try:
        runtime = Runtime(
            ledger, kit.create(), kits=[kit], edge_logic=(), upcasters=app.plugins.upcasters()
        )
    except KandoError:
        return status
    return attrs.evolve(status, state=STOPPED) if _has_work(runtime) else status


def _has_work(runtime: Runtime) -> bool:
    try:
        return runtime.has_pending_work()
    except StoreError:
        raise
    except (Exception, SystemExit):
        # A responder that raises has something to do, and is not ours to mend here.
        return True


def read_events(
    app: App, address: str, *, start: int = 0
) -> tuple[LedgerStore, Iterator[RecordedEvent]]:
    """Return a ledger and its events from `start` on; ``RUN@N`` reads its first N.

    Raises:
        LedgerNotFound, AmbiguousName: there is no such run.
        PositionOutOfRange: it is shorter than N, or than `start`.
    """
    ledger, end = app.ledger_at(address)
    if start > end:
        msg = f"{ledger.stream_name()} has {end} events; position {start} is outside it."
        raise PositionOutOfRange(msg, hint=f"Use 0 to {end}.")
    return ledger, islice(ledger.read(start), end - start)


def world_at(app: App, address: str, at: int | None = None) -> tuple[World, int]:
    """Return the world of a run after its first `at` events, and their number.

    Raises:
        LedgerNotFound, AmbiguousName: there is no such run.
        PositionOutOfRange: it is shorter.
    """
    ledger, end = app.ledger_at(address, at)
    ledger = brought_up(app, ledger)
    stored = stored_snapshot(app, ledger)
    world = stored.world() if stored is not None and stored.position <= end else None
    if stored is None or world is None:
        return project(islice(ledger.read_all(), end)), end
    for event in islice(ledger.read(stored.position), end - stored.position):
        apply(world, event)
    return world, end


def run_metrics(app: App, address: str) -> tuple[str, RunMetrics]:
    """Return the id of a run or branch and its metrics; ``RUN@N`` is measured up to there.

    Raises:
        LedgerNotFound, AmbiguousName: there is no such run.
        PositionOutOfRange: it is shorter than N.
    """
    ledger, end = app.ledger_at(address)
    return id_of(ledger), metrics_of(app, ledger, end)


def metrics_of(app: App, ledger: LedgerStore, end: int) -> RunMetrics:
    """Return the metrics of the first `end` events of an open ledger."""
    read = brought_up(app, ledger)
    stored = stored_snapshot(app, read)
    fold = metrics_fold_of(stored) if stored is not None and stored.position <= end else None
    try:
        return _measured(read, fold or MetricsFold(), end)
    except InvalidData:
        # What a kit cannot bring up is counted as it was recorded.
        return _measured(ledger, MetricsFold(), end)


def _measured(ledger: LedgerStore, fold: MetricsFold, end: int) -> RunMetrics:
    start = fold.length
    for event in islice(ledger.read(start), end - start):
        fold.see(event)
    return fold.metrics()


def verify_run(app: App, run: str) -> Verdict:
    """Recompute a run's hash chain, and compare its snapshot, if there is one, with its ledger.

    Raises:
        LedgerNotFound, AmbiguousName: there is no such run.
    """
    ledger = app.ledger(run)
    verdict = verify(ledger)
    ledger = brought_up(app, ledger)
    stored = stored_snapshot(app, ledger) if verdict.is_intact else None
    wrong = disagreeing(stored) if stored is not None else []
    if stored is None or not wrong:
        return verdict
    views = ", ".join(wrong)
    problem = f"the snapshot at position {stored.position} disagrees with the ledger: {views}"
    return attrs.evolve(verdict, problem=problem)


def explain_event(app: App, event_id: str, run: str | None) -> list[RecordedEvent]:
    """Return an event and everything it follows from: itself first, the roots last.

    Args:
        app: where.
        event_id: an event, or an object or relation, which stands for the event that created it.
        run: an id, a unique prefix, or ``@last``; the demo run if None.

    Raises:
        LedgerNotFound, AmbiguousName: there is no such run.
        EventNotFound: it has no such event, object or relation.
    """
    return list(trace_event(app, event_id, run).events())
