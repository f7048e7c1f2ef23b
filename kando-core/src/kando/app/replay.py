"""Replay runs: rebuild their worlds, or re-fire their responders and compare every event."""

from __future__ import annotations

import attrs

from kando.app.opened import OpenedRun
from kando.kit import Kit
from kando.ledger.interface import LedgerStore
from kando.ledger.upcast import upcast
from kando.runtime import Runtime
from kando.runtime.declared_types import DeclaredTypes
from kando.runtime.strict_replay import replay_strictly
from kando.views.kit import LoadedKit, kits_in_turn
from kando.world.graph import World

__all__ = ["ReplayResult", "replay_run"]


@attrs.frozen
class ReplayResult:
    """The result of a replay.

    Attributes:
        run_id: of the run or branch.
        world: as replayed.
        events: number of replayed events.
        is_strict: whether responders were re-fired and every event compared.
        kit_versions: the recorded and the installed version, if they differ; else None.
    """

    run_id: str
    world: World
    events: int
    is_strict: bool
    kit_versions: tuple[str, str] | None = None


def replay_run(
    run: OpenedRun, *, strict: bool = False, kit: str | Kit | None = None
) -> ReplayResult:
    """Replay a run or branch.

    Args:
        run: the opened run.
        strict: re-fire the kit's responders and compare every event.
        kit: the kit to replay with, or its name; the run's kits if None.

    Raises:
        NoRootError: the ledger has no root event.
        ReplayDivergence: in a strict replay, an event differs from the recorded one.
    """
    ledger = run.ledger
    activities = run.context.activities
    if not strict:
        with activities.reading(f"replay {run.id}", run.current) as counted:
            world = Runtime(counted, [], edge_logic=()).replay()
        return ReplayResult(run.id, world, ledger.length(), False)
    with activities.step(f"re-fire {run.id}"):
        return _replayed_strictly(run, kit)


def _replayed_strictly(run: OpenedRun, kit: str | Kit | None) -> ReplayResult:
    ledger = run.ledger
    if kit is None and (stages := _stages(ledger)):
        return _replayed_in_stages(run, stages)
    loaded = run.require_kit(kit)
    recorded = run.choices.kit
    steps = run.context.plugins.upcasters()
    runtime = Runtime(ledger, loaded.create(), kits=[loaded], edge_logic=(), upcasters=steps)
    world = runtime.replay(strict=True)
    version = recorded.get("version") if recorded is not None else None
    differ = recorded is not None and version != loaded.version
    versions = (str(version), loaded.version) if differ else None
    return ReplayResult(run.id, world, ledger.length(), True, versions)


def _stages(ledger: LedgerStore) -> list[tuple[LoadedKit, int | None]]:
    """Return the kits that worked on a run in turn, and the number of events up to each one's end.

    The list is empty if one kit did all the work.
    """
    kits = kits_in_turn(ledger.read_all())
    if len(kits) < 2:
        return []
    ends = [*(kit.position + 1 for kit in kits[1:]), None]
    return list(zip(kits, ends, strict=True))


def _replayed_in_stages(run: OpenedRun, stages: list[tuple[LoadedKit, int | None]]) -> ReplayResult:
    """Replay each stretch of a ledger with the kit that recorded it."""
    context, ledger = run.context, run.ledger
    start, world, versions = 0, World(), None
    for recorded, stop in stages:
        kit = context.kit(recorded.name)
        if recorded.version != kit.version and versions is None:
            versions = (str(recorded.version), kit.version)
        read = upcast(ledger, [*context.plugins.upcasters(), *kit.upcasters])
        types = DeclaredTypes([kit])
        fired = kit.create()
        world = replay_strictly(read, (), fired, types, kit.policies, start=start, stop=stop)
        start = stop or start
    return ReplayResult(run.id, world, ledger.length(), True, versions)
