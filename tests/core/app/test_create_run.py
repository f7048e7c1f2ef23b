"""A run that is created in one place is worked on in another."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from kando.app.builtin import installed_plugins
from kando.app.providers import Provider
from kando.app.store import Store, open_store
from kando.emit import ask, patch
from kando.errors import ConfigurationError
from kando.kit import Kit
from kando.plugins import KitSpec, hookimpl
from kando.responders.llm_executor import LLMExecutorResponder
from kando.schema.events import KandoEvent, make_event
from kando.world.graph import World

kit = Kit("asker", version="1")


@kit.seeds
def seeds(goal: str, run_id: str) -> list[KandoEvent]:
    data = {"id": "goal", "type": "Goal", "data": {"text": goal}}
    return [make_event("object.created", f"run:{run_id}", "cli", [], data)]


@kit.responder("object.created")
def on_goal(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
    yield ask([{"role": "user", "content": "why?"}])


@kit.responder("llm.response")
def on_answer(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
    yield patch("goal", {"answer": event.data["text"]})


class Offers:
    @hookimpl
    def kando_kits(self) -> list[KitSpec]:
        return [KitSpec("asker", "asker_kit:kit")]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    module = ModuleType("asker_kit")
    vars(module)["kit"] = kit
    monkeypatch.setitem(sys.modules, "asker_kit", module)
    environ = {"KANDO_LEDGER": f"sqlite:{tmp_path}/store.sqlite", "KANDO_PLUGINS": ""}
    plugins = installed_plugins(environ)
    plugins.register(Offers(), name="asker")
    with open_store(plugins=plugins, environ=environ) as opened:
        yield opened


def test_a_created_run_has_its_goal_and_no_work_done(store: Store) -> None:
    run_id = store.start("asker", "Find out", work=False).id

    status = store.run(run_id).status()
    assert (status.goal, status.kit, status.events) == ("Find out", "asker", 2)
    assert status.state == "stopped"


def test_resuming_a_created_run_has_the_same_result_as_starting_one(store: Store) -> None:
    answers = LLMExecutorResponder(lambda messages, model, max_tokens: ("because", 0.0))
    created = store.start("asker", "Find out", work=False).id
    store.run(created).resume()
    started = store.start("asker", "Find out").result.status.run_id

    assert types_of(store, created) == types_of(store, started)

    resumed = store.run(created).resume(llm=Provider("mine", "", answers))
    assert (resumed.provider, resumed.status.state) == ("mine", "finished")


def test_a_run_without_a_goal_is_not_created(store: Store) -> None:
    with pytest.raises(ConfigurationError, match="no goal"):
        store.start("asker", None, work=False)
    assert list(store.context.substrate().ledgers()) == []


def types_of(store: Store, run_id: str) -> list[str]:
    return [event.type for event in store.context.ledger(run_id).read_all()]
