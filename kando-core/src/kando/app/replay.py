"""Compare runs, and replay them."""

from __future__ import annotations

from typing import Any

import attrs

from kando.app.changes import brought_up, choices_of
from kando.app.compare import compare_runs
from kando.app.context import App, id_of
from kando.app.fork import fork_run
from kando.app.kits.find import find_kit
from kando.app.working import kit_of
from kando.branch.diff import WorldDiff
from kando.ledger.interface import LedgerStore
from kando.ledger.upcast import upcast
from kando.runtime import Runtime
from kando.runtime.declared_types import DeclaredTypes
from kando.runtime.strict_replay import replay_strictly
from kando.schema.events import KIT_LOADED, RecordedEvent
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
    if kit is None and (stages := _stages(ledger)):
        return _replayed_in_stages(app, ledger, stages)
    loaded = kit_of(app, ledger, kit)
    recorded = choices_of(app, ledger).kit
    steps = app.plugins.upcasters()
    runtime = Runtime(ledger, loaded.create(), kits=[loaded], edge_logic=(), upcasters=steps)
    world = runtime.replay(strict=True)
    differ = recorded is not None and recorded["version"] != loaded.version
    versions = (recorded["version"], loaded.version) if recorded and differ else None
    return ReplayResult(id_of(ledger), world, ledger.length(), True, versions)


def _stages(ledger: LedgerStore) -> list[tuple[dict[str, Any], int | None]]:
    """Return what the ledger says of the kits that worked on it in turn, and where each ended.

    Empty if one kit did it all.
    """
    loaded: list[RecordedEvent] = []
    for event in ledger.read_all():
        if event.type == KIT_LOADED and (
            not loaded or loaded[-1].data["name"] != event.data["name"]
        ):
            loaded.append(event)
    if len(loaded) < 2:
        return []
    ends = [*(event.position + 1 for event in loaded[1:]), None]
    return [(event.data, end) for event, end in zip(loaded, ends, strict=True)]


def _replayed_in_stages(
    app: App, ledger: LedgerStore, stages: list[tuple[dict[str, Any], int | None]]
) -> ReplayResult:
    """Replay each stretch of a ledger with the kit that recorded it."""
    start, world, versions = 0, World(), None
    for recorded, stop in stages:
        kit = find_kit(recorded["name"], app.plugins)
        if recorded["version"] != kit.version and versions is None:
            versions = (recorded["version"], kit.version)
        read = upcast(ledger, [*app.plugins.upcasters(), *kit.upcasters])
        types = DeclaredTypes([kit])
        fired = kit.create()
        world = replay_strictly(read, (), fired, types, kit.policies, start=start, stop=stop)
        start = stop or start
    return ReplayResult(id_of(ledger), world, ledger.length(), True, versions)
