"""A run remembers its limits, also in a snapshot; damaged limits are reported and can be replaced."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest

from kando.app.builtin import installed_plugins
from kando.app.limits import default_limits, variable_of
from kando.app.opened import open_run
from kando.app.store import Store, open_store
from kando.emit import create, emit
from kando.errors import ConfigurationError, InvalidData, RunCancelled
from kando.kit import Kit
from kando.plugins import KitSpec, hookimpl
from kando.responders.budget import LIMITS, Budget, BudgetEnforcer, Limit
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
    [
        {"limits": 7},
        {"limits": {"max_events": "many"}},
        {"limits": {"max_events": 10**400}},
        {"limits": {"sky": 1}},
        {"limits": [1]},
    ],
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


def test_a_limit_that_is_too_large_is_refused() -> None:
    for value in (10**400, 10**5000, float("inf")):
        with pytest.raises(ConfigurationError, match=r"max_events must be .* not a larger one"):
            Budget(max_events=value)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="KANDO_BUDGET_EVENTS"):
        default_limits({"KANDO_BUDGET_EVENTS": "1" * 400})


def settings(store: Store) -> dict[str, str]:
    environ = store.context.environ
    assert isinstance(environ, dict)
    return environ


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.word)
def test_each_limit_has_a_field_a_variable_and_a_measured_value(limit: Limit) -> None:
    for variable in (variable_of(limit), f"KANDO_BUDGET_{limit.name.upper()}"):
        assert default_limits({variable: "7"}).limits() == {"max_recursion_depth": 50_000} | {
            limit.name: 7
        }
    if limit.usage is not None:
        assert limit.usage in BudgetEnforcer().exhausted_data([], 0)
    assert {each.name for each in LIMITS} == {each.name for each in attrs.fields(Budget)}


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"KANDO_BUDGET_EVENTS": "many"}, "KANDO_BUDGET_EVENTS is 'many', which is not a whole"),
        ({"KANDO_BUDGET_EVENTS": "1.5"}, "KANDO_BUDGET_EVENTS is '1.5'"),
        ({"KANDO_BUDGET_USD": "nan"}, "KANDO_BUDGET_USD is 'nan', which is not a number"),
        ({"KANDO_BUDGET_USD": "-1"}, "KANDO_BUDGET_USD is '-1'"),
        ({"KANDO_BUDGET_SECONDS": "inf"}, "KANDO_BUDGET_SECONDS is 'inf'"),
        ({"KANDO_BUDGET_EVENT": "5"}, "KANDO_BUDGET_EVENT names no limit"),
        (
            {"KANDO_BUDGET_EVENTS": "5", "KANDO_BUDGET_MAX_EVENTS": "6"},
            "KANDO_BUDGET_EVENTS and KANDO_BUDGET_MAX_EVENTS set the same limit",
        ),
    ],
)
def test_a_bad_variable_is_named_before_a_run_is_created(
    store: Store, environ: dict[str, str], said: str
) -> None:
    for name, value in environ.items():
        settings(store)[name] = value

    with pytest.raises(ConfigurationError, match=said):
        store.start("chain", "5")

    assert list(store.runs()) == []


def test_a_limit_of_the_environment_holds_unless_the_run_or_an_option_sets_it(
    store: Store,
) -> None:
    settings(store)["KANDO_BUDGET_EVENTS"] = "8"
    free, own = store.start("chain", "5"), store.start("chain", "5", budget=Budget(max_events=5))
    assert (free.status().state, free.status().problem) == ("exhausted", "max_events")
    assert free.status().limits == {}
    assert own.status().events < free.status().events
    assert free.replay(strict=True).events == free.status().events

    assert free.resume(budget=Budget(max_events=100)).status.state == "finished"
    settings(store)["KANDO_BUDGET_EVENTS"] = ""
    assert own.resume(forgets_limits=True).status.state == "finished"


def test_an_endless_chain_stops_at_the_default_depth(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kando.app.limits.DEFAULT_LIMITS", Budget(max_recursion_depth=100))
    run = store.start("chain", "200")
    assert (run.status().state, run.status().problem) == ("exhausted", "max_recursion_depth")
    assert len(run.world().objects) == 101

    assert run.resume(budget=Budget(max_recursion_depth=300)).status.state == "finished"


def test_a_branch_gets_the_limits_that_it_is_forked_with(store: Store) -> None:
    run = store.start("chain", "5", budget=Budget(max_events=12, max_llm_calls=3))

    branch = run.fork(at=3, budget=Budget(max_events=100))

    assert branch.status().limits == {"max_events": 100, "max_llm_calls": 3}
    assert branch.resume().status.state == "finished"
    assert run.status().state == "exhausted"
    branch.replay(strict=True)
