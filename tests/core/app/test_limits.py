"""A run remembers its limits, also in a snapshot; what is damaged is told, and can be mended."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kando.app.builtin import installed_plugins
from kando.app.context import App
from kando.app.limits import limits_of
from kando.app.reading import run_status
from kando.app.send import cancel_run, pause_run
from kando.app.snapshots import stored_snapshot
from kando.app.working import create_run, resume_run, start_run
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
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    module = ModuleType("chain_kit")
    vars(module)["kit"] = kit
    monkeypatch.setitem(sys.modules, "chain_kit", module)
    environ = {"KANDO_LEDGER": f"sqlite:{tmp_path}/store.sqlite", "KANDO_PLUGINS": ""}
    plugins = installed_plugins(environ)
    plugins.register(Offers(), name="chain")
    with App(plugins, environ) as opened:
        yield opened


def run(app: App, steps: int, **limits: Any) -> str:
    return start_run(app, "chain", str(steps), budget=Budget(**limits)).status.run_id


def types(app: App, run_id: str) -> list[str]:
    return [event.type for event in app.ledger(run_id).read_all()]


def test_a_run_without_limits_is_told_of_none(app: App) -> None:
    run_id = run(app, 3)

    assert "budget.set" not in types(app, run_id)
    assert limits_of(app, app.ledger(run_id)) == Budget()
    assert run_status(app, run_id).limits == {}


def test_limits_outlive_the_process_and_are_found_behind_a_snapshot(app: App) -> None:
    run_id = run(app, 2000, max_events=3000, max_recursion_depth=5000)

    stored = stored_snapshot(app, app.ledger(run_id))
    assert stored is not None
    assert stored.position > 1000
    assert limits_of(app, app.ledger(run_id)) == Budget(3000, max_recursion_depth=5000)
    assert resume_run(app, run_id).status.state == "exhausted"

    more = resume_run(app, run_id, budget=Budget(max_events=9000)).status
    assert (more.state, more.objects) == ("finished", {"Step": 2001})
    assert limits_of(app, app.ledger(run_id)) == Budget(9000, max_recursion_depth=5000)


def test_limits_of_one_process_are_not_remembered_and_lift_none(app: App) -> None:
    run_id = create_run(app, "chain", "9")

    assert resume_run(app, run_id, at_most=Budget(max_events=8)).status.state == "exhausted"
    assert limits_of(app, app.ledger(run_id)) == Budget()
    resume_run(app, run_id, budget=Budget(max_events=12), at_most=Budget(max_events=900))
    assert run_status(app, run_id).state == "exhausted"
    assert run_status(app, run_id).limits == {"max_events": 12}


def test_a_paused_run_goes_on_with_limits_and_a_cancelled_one_is_told_of_none(app: App) -> None:
    run_id = create_run(app, "chain", "9")
    pause_run(app, run_id)
    assert resume_run(app, run_id).status.state == "paused"

    resume_run(app, run_id, budget=Budget(max_events=900))
    assert types(app, run_id)[3:5] == ["run.resumed", "budget.set"]

    cancel_run(app, run_id)
    resume_run(app, run_id)
    with pytest.raises(RunCancelled):
        resume_run(app, run_id, budget=Budget(max_events=1000))
    assert types(app, run_id)[-1] == "run.cancelled"


@pytest.mark.parametrize(
    "data",
    [{"limits": 7}, {"limits": {"max_events": "many"}}, {"limits": {"sky": 1}}, {"limits": [1]}],
)
def test_limits_that_are_damaged_are_told_and_can_be_named_anew(app: App, data: Any) -> None:
    run_id = create_run(app, "chain", "3")
    Runtime(app.ledger(run_id, read_only=False), [], edge_logic=()).record(
        [emit("budget.set", data)]
    )

    with pytest.raises(InvalidData, match=r"budget\.set-2 of run:.* are damaged"):
        resume_run(app, run_id)
    status = resume_run(app, run_id, budget=Budget(max_events=99), forgets_limits=True).status

    assert (status.state, status.limits) == ("finished", {"max_events": 99})
