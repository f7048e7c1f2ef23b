"""A run remembers its limits, also in a snapshot; damaged limits are reported and can be replaced."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kando.app.builtin import installed_plugins
from kando.app.opened import open_run
from kando.app.store import Store, open_store
from kando.emit import create, emit
from kando.errors import InvalidData, RunCancelled
from kando.kit import Kit
from kando.plugins import KitSpec, hookimpl
from kando.responders.budget import Budget
from kando.runtime import Runtime
from kando.schema.events import KandoEvent
from kando.world.graph import World

kit = Kit("chain", version="1")


@kit.seeds
def seeds(goal: str, run_id: str) -> list[KandoEvent]:
    return [create("Step", {"left": int(goal)})]


@kit.responder("object.created")
def step(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
    left = event.data["data"]["left"]
    if left:
        yield create("Step", {"left": left - 1})


class Offers:
    @hookimpl
    def kando_kits(self) -> list[KitSpec]:
        return [KitSpec("chain", "chain_kit:kit")]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    module = ModuleType("chain_kit")
    vars(module)["kit"] = kit
    monkeypatch.setitem(sys.modules, "chain_kit", module)
    environ = {"KANDO_LEDGER": f"sqlite:{tmp_path}/store.sqlite", "KANDO_PLUGINS": ""}
    plugins = installed_plugins(environ)
    plugins.register(Offers(), name="chain")
    with open_store(plugins=plugins, environ=environ) as opened:
        yield opened


def run(store: Store, steps: int, **limits: Any) -> str:
    return store.start("chain", str(steps), budget=Budget(**limits)).result.status.run_id


def types(store: Store, run_id: str) -> list[str]:
    return [event.type for event in store.context.ledger(run_id).read_all()]


def test_a_run_without_limits_records_none(store: Store) -> None:
    run_id = run(store, 3)

    assert "budget.set" not in types(store, run_id)
    assert open_run(store.context, run_id).limits == Budget()
    assert store.run(run_id).status().limits == {}


def test_limits_outlive_the_process_and_are_read_from_a_snapshot(store: Store) -> None:
    run_id = run(store, 2000, max_events=3000, max_recursion_depth=5000)

    stored = open_run(store.context, run_id).snapshot
    assert stored is not None
    assert stored.position > 1000
    assert open_run(store.context, run_id).limits == Budget(3000, max_recursion_depth=5000)
    assert store.run(run_id).resume().status.state == "exhausted"

    more = store.run(run_id).resume(budget=Budget(max_events=9000)).status
    assert (more.state, more.objects) == ("finished", {"Step": 2001})
    assert open_run(store.context, run_id).limits == Budget(9000, max_recursion_depth=5000)


def test_limits_of_one_process_are_not_remembered_and_never_lift_one(store: Store) -> None:
    run_id = store.start("chain", "9", work=False).id

    assert store.run(run_id).resume(at_most=Budget(max_events=8)).status.state == "exhausted"
    assert open_run(store.context, run_id).limits == Budget()
    store.run(run_id).resume(budget=Budget(max_events=12), at_most=Budget(max_events=900))
    assert store.run(run_id).status().state == "exhausted"
    assert store.run(run_id).status().limits == {"max_events": 12}


def test_a_paused_run_continues_with_new_limits_and_a_cancelled_one_records_none(
    store: Store,
) -> None:
    run_id = store.start("chain", "9", work=False).id
    store.run(run_id).pause()
    assert store.run(run_id).resume().status.state == "paused"

    store.run(run_id).resume(budget=Budget(max_events=900))
    assert types(store, run_id)[3:5] == ["run.resumed", "budget.set"]

    store.run(run_id).cancel()
    store.run(run_id).resume()
    with pytest.raises(RunCancelled):
        store.run(run_id).resume(budget=Budget(max_events=1000))
    assert types(store, run_id)[-1] == "run.cancelled"


@pytest.mark.parametrize(
    "data",
    [{"limits": 7}, {"limits": {"max_events": "many"}}, {"limits": {"sky": 1}}, {"limits": [1]}],
)
def test_damaged_limits_are_reported_and_can_be_replaced(store: Store, data: Any) -> None:
    run_id = store.start("chain", "3", work=False).id
    Runtime(store.context.ledger(run_id, read_only=False), [], edge_logic=()).record(
        [emit("budget.set", data)], is_own=True
    )

    with pytest.raises(InvalidData, match=r"budget\.set-2 of run:.* are damaged"):
        store.run(run_id).resume()
    status = store.run(run_id).resume(budget=Budget(max_events=99), forgets_limits=True).status

    assert (status.state, status.limits) == ("finished", {"max_events": 99})
