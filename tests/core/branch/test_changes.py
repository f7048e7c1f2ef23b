"""A branch that is resumed with a change repeats only the requests that the change affects."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kando.app.builtin import installed_plugins
from kando.app.opened import open_run
from kando.app.store import Store, open_store
from kando.emit import ask, create, emit, patch
from kando.errors import (
    ConfigurationError,
    InvalidData,
    KandoError,
    PositionOutOfRange,
    ReplayDivergence,
    UnknownReference,
)
from kando.kit import Kit
from kando.plugins import KitSpec, ProviderSpec, hookimpl
from kando.runtime import Runtime
from kando.schema.events import LLM_REQUEST, LLM_RESPONSE, KandoEvent, RecordedEvent
from kando.testing.ledgers import all_fields
from kando.world.graph import World

STEPS = 40


def chain_kit(name: str = "chain") -> Kit:
    """A chain of questions, every other one about what one field of an object says."""
    kit = Kit(name, version="1")

    @kit.seeds
    def seeds(goal: str, run_id: str) -> list[KandoEvent]:
        steps = 2 if goal == "short" else STEPS
        config = {"even": "blue", "odd": "red", "steps": steps}
        return [create("Config", config, id="config"), create("Step", {"n": 0, "of": goal})]

    @kit.responder("object.created", type="Step")
    def on_step(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        n = event.data["data"]["n"]
        colour = world.objects["config"].data["odd" if n % 2 else "even"]
        yield ask([{"role": "user", "content": f"{name} {n} {colour}"}], about=event)

    @kit.responder("llm.response")
    def on_answer(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        step = world.objects[event.data["cause_object_id"]]
        yield patch(step, {"answer": event.data["text"]})
        if step.data["n"] + 1 < world.objects["config"].data["steps"]:
            yield create("Step", {"n": step.data["n"] + 1, "of": step.data["of"]})

    @kit.responder("object.patched", type="Step")
    def on_answered(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        yield emit("step.done", {"answer": event.data["patch"]["answer"]})

    return kit


class Provider:
    """A provider that counts, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def open(self, argument: str, environ: Any) -> Any:
        def complete(request: dict[str, Any]) -> dict[str, Any]:
            content = request["messages"][-1]["content"]
            self.asked.append((content, request["model"]))
            return {"text": content.upper(), "model": request["model"], "cost_usd": 0.25}

        return complete


class Offers:
    """The plugin of these tests."""

    @hookimpl
    def kando_kits(self) -> list[KitSpec]:
        return [KitSpec("chain", "offered:chain"), KitSpec("other", "offered:other")]

    @hookimpl
    def kando_providers(self) -> list[ProviderSpec]:
        return [ProviderSpec("counting", "offered:open")]


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, provider: Provider, tmp_path: Path) -> Iterator[Store]:
    module = ModuleType("offered")
    vars(module).update(chain=chain_kit(), other=chain_kit("other"), open=provider.open)
    monkeypatch.setitem(sys.modules, "offered", module)
    plugins = installed_plugins({"KANDO_PLUGINS": ""})
    plugins.register(Offers(), name="offers")
    environ = {"KANDO_LLM": "counting"}
    with open_store(f"sqlite:{tmp_path / 'runs.db'}", plugins=plugins, environ=environ) as store:
        yield store


@pytest.fixture
def run_id(store: Store, provider: Provider) -> str:
    status = store.start("chain", "a long chain").result.status
    assert (status.state, status.llm_answered, len(provider.asked)) == ("finished", STEPS, STEPS)
    assert status.events >= 500
    provider.asked.clear()
    return status.run_id


@pytest.fixture
def short_id(store: Store) -> str:
    return store.start("chain", "short").result.status.run_id


def asked_after(store: Store, run_id: str, position: int) -> int:
    return sum(e.type == LLM_REQUEST for e in store.context.ledger(run_id).read(position))


def test_a_run_of_500_events_forked_at_250_asks_only_the_changed_requests(
    store: Store, provider: Provider, run_id: str
) -> None:
    in_tail = asked_after(store, run_id, 250)
    requests = [e.data for e in store.context.ledger(run_id).read(250) if e.type == LLM_REQUEST]
    was_asked = [request["messages"][0]["content"] for request in requests]

    branch = store.fork(run_id, 250, patches=[("config", {"odd": "green"})]).id
    assert provider.asked == []
    store.run(branch).resume()

    assert 15 <= in_tail <= 25
    changed = [content.replace("red", "green") for content in was_asked if "red" in content]
    assert [content for content, _ in provider.asked] == changed
    assert 7 <= len(changed) <= 13
    own = list(store.context.ledger(branch).read(250))
    answers = [e.data for e in own if e.type == LLM_RESPONSE]
    served = [data for data in answers if data.get("cached")]
    assert (len(answers), len(served)) == (in_tail, in_tail - len(provider.asked))
    assert {data["cost_usd"] for data in served} == {0}
    use = store.run(branch).cache()
    assert (use.requests, use.hits, use.misses) == (in_tail, len(served), len(changed))
    assert (use.saved_usd, use.spent_usd) == (0.25 * len(served), 0.25 * len(changed))
    assert (use.shared_answers, use.shared_usd) == (STEPS - in_tail, 0.25 * (STEPS - in_tail))
    shared = [all_fields(e) for e in store.context.ledger(run_id).read_all()][:250]
    assert [all_fields(e) for e in store.context.ledger(branch).read_all()][:250] == shared


def test_an_unchanged_branch_makes_no_calls_and_ends_like_its_parent(
    store: Store, provider: Provider, run_id: str
) -> None:
    branch = store.fork(run_id, 250).id
    store.run(branch).resume()

    assert provider.asked == []
    assert store.run(branch).world() == store.run(run_id).world()
    tail = [e for e in store.context.ledger(branch).read(250) if not e.is_head]
    assert [e.id for e in tail] == [e.id for e in store.context.ledger(run_id).read(250)]


def test_a_fresh_branch_and_its_branches_do_not_use_the_cache_from_before_the_fork(
    store: Store, provider: Provider, run_id: str
) -> None:
    in_tail = asked_after(store, run_id, 250)

    branch = store.fork(run_id, 250, fresh=True).id
    store.run(branch).resume()
    assert len(provider.asked) == in_tail
    assert store.run(branch).cache().hits == 0
    nested = store.fork(branch, 300).id
    store.run(nested).resume()
    assert store.run(nested).cache().saved_usd == 0.25 * store.run(nested).cache().hits > 0

    # The answers of the fresh branch are served to its own branches.
    assert len(provider.asked) == in_tail
    store.run(store.fork(run_id, 250).id).resume()
    assert len(provider.asked) == in_tail


def test_a_branch_with_another_model_asks_it_everything_after_the_fork_and_remembers_it(
    store: Store, provider: Provider, run_id: str
) -> None:
    in_tail = asked_after(store, run_id, 250)

    branch = store.fork(run_id, 250, model="bigger", llm="counting:x").id
    store.run(branch).resume()

    assert [model for _, model in provider.asked] == ["bigger"] * in_tail
    choices = open_run(store.context, branch).choices
    assert (choices.model, choices.llm) == ("bigger", "counting:x")
    nested = store.fork(branch, 300).id
    assert open_run(store.context, nested).choices.model == "bigger"
    store.run(nested).resume()
    assert len(provider.asked) == in_tail
    before = store.fork(branch, 250).id
    assert open_run(store.context, before).choices.model is None


def test_a_branch_can_be_resumed_with_another_kit(
    store: Store, provider: Provider, run_id: str
) -> None:
    branch = store.fork(run_id, 250, kit="other").id
    store.run(branch).resume()

    assert store.run(branch).status().kit == "other"
    # Events of the first kit are replayed with it, and the rest with the other.
    assert store.run(branch).replay(strict=True).world == store.run(branch).world()
    with pytest.raises(ReplayDivergence):
        store.run(branch).replay(strict=True, kit="other")
    assert {content.split()[0] for content, _ in provider.asked} == {"other"}
    assert store.run(run_id).status().kit == "chain"


def test_a_branch_with_another_goal_begins_with_the_seeds_of_that_goal(
    store: Store, provider: Provider, run_id: str
) -> None:
    for at in (0, 1, 250):
        branch = store.fork(run_id, at, goal="another chain").id
        store.run(branch).resume()

        status = store.run(branch).status()
        assert (status.goal, status.kit, status.state) == ("another chain", "chain", "finished")
        steps = store.run(branch).world().objects_of("Step")
        assert [s.data["of"] for s in steps].count("another chain") == STEPS
    assert provider.asked == []


def test_given_events_are_recorded_after_the_fork(store: Store, short_id: str) -> None:
    given = {"type": "note", "data": {"text": "hi"}, "cause": ["object.created-1"], "position": 7}

    branch = store.fork(short_id, 3, events=[given, {"type": "other.note"}]).id

    own = list(store.context.ledger(branch).read(3))
    assert [(e.type, e.data, e.actor) for e in own[1:]] == [
        ("note", {"text": "hi"}, "cli"),
        ("other.note", {}, "cli"),
    ]
    assert own[1].cause == ["object.created-1"]


def test_a_changed_branch_replays_strictly_from_its_ledger(store: Store, run_id: str) -> None:
    branch = store.fork(run_id, 250, patches=[("config", {"even": "grey"})]).id
    store.run(branch).resume()

    world = Runtime(store.context.ledger(branch), chain_kit().create(), edge_logic=()).replay(
        strict=True
    )

    assert world == store.run(branch).world()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"at": 99999}, PositionOutOfRange),
        ({"patches": [("nobody", {"a": 1})]}, UnknownReference),
        ({"patches": [("config", {"a": 1}), ("config", {"b": float("nan")})]}, InvalidData),
        ({"events": [{"data": {}}]}, InvalidData),
        ({"events": [{"type": "responder.fired"}]}, InvalidData),
        ({"events": [{"type": "x", "cause": ["nobody-1"]}]}, UnknownReference),
        ({"goal": " "}, InvalidData),
        ({"kit": "nobody"}, KandoError),
        ({"llm": "nobody"}, KandoError),
        ({"llm": "counting:https://me:secret@host/"}, ConfigurationError),
    ],
)
def test_a_refused_change_creates_no_branch(
    store: Store, short_id: str, changes: dict[str, Any], error: type[Exception]
) -> None:
    before = Path(store.url.partition(":")[2]).stat().st_size

    with pytest.raises(error) as refused:
        store.fork(short_id, changes.pop("at", 9), **changes)

    assert "secret" not in str(refused.value)
    assert [b.id for b in store.run(short_id).branches()] == [short_id]
    assert Path(store.url.partition(":")[2]).stat().st_size == before


def test_branches_are_listed_after_their_parents_for_any_run_of_the_tree(
    store: Store, short_id: str
) -> None:
    one = store.fork(short_id, 20).id
    two = store.fork(short_id, 25).id
    nested = store.fork(f"{one}@10").id

    expected = [
        (short_id, None, None, 0),
        (one, short_id, 20, 1),
        (nested, one, 10, 2),
        (two, short_id, 25, 1),
    ]
    for asked in (short_id, two, nested):
        found = store.run(asked).branches()
        assert [(b.id, b.parent_id, b.fork_position, b.depth) for b in found] == expected
