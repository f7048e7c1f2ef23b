"""Compare runs, and replay them."""

from __future__ import annotations

import attrs

from kando.app.changes import brought_up, choices_of
from kando.app.comparing import compare_runs
from kando.app.context import App, id_of
from kando.app.forking import fork_run
from kando.app.working import kit_of
from kando.branch.diff import WorldDiff
from kando.runtime import Runtime
from kando.world.graph import World

__all__ = ["ReplayResult", "diff_runs", "fork_run", "replay_run"]


@attrs.frozen
class ReplayResult:
    """What a replay came to.

    Attributes:
        run_id: of the run or branch.
        world: as replayed.
        events: how many were replayed.
        is_strict: whether responders were re-fired and every event compared.
        kit_versions: as recorded and as installed, if these differ; else None.
    """

    run_id: str
    world: World
    events: int
    is_strict: bool
    kit_versions: tuple[str, str] | None = None


def diff_runs(app: App, a: str, b: str) -> WorldDiff:
    """Compare the worlds of two runs or branches; each may be ``RUN@N``.

    Raises:
        LedgerNotFound, AmbiguousName: there is no such run.
        PositionOutOfRange: one is shorter than its N.
    """
    return compare_runs(app, a, b).world


def replay_run(app: App, run: str, *, strict: bool = False, kit: str | None = None) -> ReplayResult:
    """Replay a run or branch.

    Args:
        app: where.
        run: an id, a unique prefix, or ``@last``.
        strict: re-fire the kit's responders and compare every event.
        kit: name of the kit to replay with; what the ledger says if None.

    Raises:
        LedgerNotFound, AmbiguousName: there is no such run.
        NoRootError: nothing in the ledger started anything.
        ReplayDivergence: strictly replayed, an event came out differently.
    """
    ledger = app.ledger(run)
    if not strict:
        world = Runtime(brought_up(app, ledger), [], edge_logic=()).replay()
        return ReplayResult(id_of(ledger), world, ledger.length(), False)
    loaded = kit_of(app, ledger, kit)
    recorded = choices_of(app, ledger).kit
    steps = app.plugins.upcasters()
    runtime = Runtime(ledger, loaded.create(), kits=[loaded], edge_logic=(), upcasters=steps)
    world = runtime.replay(strict=True)
    differ = recorded is not None and recorded["version"] != loaded.version
    versions = (recorded["version"], loaded.version) if recorded and differ else None
    return ReplayResult(id_of(ledger), world, ledger.length(), True, versions)
