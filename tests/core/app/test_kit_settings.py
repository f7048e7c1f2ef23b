"""Settings of a kit: given at the start or at a fork, recorded, and seen by responders and tools."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest

from kando.app.builtin import installed_plugins
from kando.app.kits.card import kit_card
from kando.app.kits.settings import assignments
from kando.app.store import Store, open_store
from kando.emit import call_tool, create
from kando.errors import ConfigurationError, InvalidData
from kando.kit import Kit
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.tool_context import ToolContext
from kando.runtime import Runtime
from kando.schema.events import KIT_LOADED, KandoEvent, make_event
from kando.world.graph import World


@attrs.frozen
class Settings:
    depth: int = 2
    style: Literal["short", "long"] = "short"
    title: str = ""
    limit: float | None = None


DEFAULTS = {"depth": 2, "style": "short", "title": "", "limit": None}


@attrs.frozen
class Level:
    number: int
    style: str
    looked: str = ""


def leveled_kit(settings: type = Settings, version: str = "1") -> Kit:
    kit = Kit("levels", version=version)
    kit.object(Level)
    kit.settings(settings)

    @kit.seeds
    def seed(goal: str, run_id: str) -> list[KandoEvent]:
        return [make_event("opened", "", "cli", [], {"goal": goal})]

    @kit.tool
    def look(at: str, options: Settings, ctx: ToolContext) -> str:
        """Look at a thing."""
        assert ctx.settings == options
        return f"{at} {options.depth} {options.title}"

    @kit.responder("opened")
    def on_opened(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        yield call_tool("look", {"at": "it"})

    @kit.responder("tool.returned")
    def on_look(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        mine = world.settings(settings)
        for n in range(mine.depth):  # type: ignore[attr-defined]
            style = mine.style  # type: ignore[attr-defined]
            yield create(Level(n, style, event.data["result"]))

    return kit


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    plugins = installed_plugins({"KANDO_PLUGINS": ""})
    with open_store(f"sqlite:{tmp_path / 'runs.db'}", plugins=plugins, environ={}) as store:
        yield store


def levels(run: Any) -> list[Level]:
    found: list[Level] = run.world().all(Level)
    return found


def recorded(run: Any) -> list[dict[str, Any]]:
    return [event.data.get("settings") for event in run.events() if event.type == KIT_LOADED]


@pytest.mark.parametrize(
    "given",
    [{"depth": 1, "title": "x"}, Settings(1, title="x"), assignments(["depth=1", "title=x"])],
    ids=["mapping", "instance", "texts"],
)
def test_settings_reach_responders_and_tools_and_are_recorded(store: Store, given: Any) -> None:
    run = store.start(leveled_kit(), "x", settings=given)

    assert levels(run) == [Level(0, "short", "it 1 x")]
    assert recorded(run) == [{**DEFAULTS, "depth": 1, "title": "x"}]
    assert run.replay(strict=True)


def test_without_settings_the_defaults_hold(store: Store) -> None:
    run = store.start(leveled_kit(), "x")

    assert levels(run) == [Level(0, "short", "it 2 "), Level(1, "short", "it 2 ")]
    assert recorded(run) == [DEFAULTS]


def test_a_resume_remembers_the_settings_also_with_another_version(store: Store) -> None:
    run = store.start(leveled_kit(), "x", settings={"depth": 3}, work=False)
    assert levels(run) == []

    store.context.remember(leveled_kit(version="2"))
    store.run(run.id).resume()

    assert len(levels(run)) == 3
    assert [each["depth"] for each in recorded(run)] == [3, 3]


def test_a_branch_inherits_the_settings_and_changes_some(store: Store) -> None:
    run = store.start(leveled_kit(), "x", settings={"depth": 1, "style": "long"})

    same, changed = run.fork(at=2), run.fork(at=2, settings={"depth": 2})
    for branch in (same, changed):
        branch.resume()

    assert [each.style for each in levels(same)] == ["long"]
    assert [each.style for each in levels(changed)] == ["long", "long"]
    assert recorded(changed)[-1] == {**DEFAULTS, "depth": 2, "style": "long"}
    assert changed.replay(strict=True)


def test_a_fork_inside_of_a_firing_repeats_it_with_the_settings_that_it_began_with(
    store: Store,
) -> None:
    run = store.start(leveled_kit(), "x", settings={"depth": 3})
    first = next(event for event in run.events() if event.type == "object.created")

    branch = run.fork(at=first.position + 1, settings={"depth": 1})
    branch.resume()

    assert len(levels(branch)) == 3
    assert branch.replay(strict=True)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["dept=1"], r"has no setting 'dept'\. Did you mean 'depth'"),
        (["depth=many"], "expected int, not str 'many' @ data.depth"),
        (["style=wide"], "style"),
        (["depth"], r"'depth' is not a setting\. Write --set NAME=VALUE"),
        (["depth=1", "depth=2"], "'depth' is given twice"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused_before_a_run_is_recorded(
    store: Store, given: list[str], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        store.start(leveled_kit(), "x", settings=assignments(given))

    assert list(store.runs()) == []


def test_texts_become_values_of_the_declared_types() -> None:
    @attrs.frozen
    class Mixed:
        text: str = ""
        number: int = 0
        either: int | str = 0
        words: list[str] = attrs.field(factory=list)

    kit = Kit("mixed")
    kit.settings(Mixed)

    @kit.seeds
    def seed(goal: str, run_id: str) -> list[KandoEvent]:
        return [create("Goal", {})]

    texts = ["text=1", "number=2", "either=3", 'words=["a", "b"]']
    with open_store("memory:") as store:
        run = store.start(kit, "x", settings=assignments(texts))
        assert recorded(run) == [{"text": "1", "number": 2, "either": "3", "words": ["a", "b"]}]
        assert run.world().settings(Mixed) == Mixed("1", 2, "3", ["a", "b"])


def test_a_setting_without_a_default_must_be_given(store: Store) -> None:
    @attrs.frozen
    class Needed(Settings):
        target: str = attrs.field(kw_only=True)

    with pytest.raises(ConfigurationError, match="required field 'target' is missing"):
        store.start(leveled_kit(Needed), "x")
    with pytest.raises(InvalidData, match="'target' is missing"):
        World().settings(Needed)


def test_a_kit_without_settings_takes_none(store: Store) -> None:
    kit = Kit("bare")
    kit.seeds(lambda goal, run_id: [create("Goal", {})])

    with pytest.raises(ConfigurationError, match="Kit 'bare' has no settings"):
        store.start(kit, "x", settings={"a": 1})


def test_settings_are_declared_once_and_before_the_tools() -> None:
    kit = Kit("k")
    kit.settings(Settings)
    with pytest.raises(ConfigurationError, match="declares settings twice"):
        kit.settings(Settings)
    with pytest.raises(ConfigurationError, match="not an attrs class"):
        Kit("k").settings(int)

    late = Kit("late")

    @late.tool
    def look(at: str) -> str:
        return at

    with pytest.raises(ConfigurationError, match="after tools"):
        late.settings(Settings)


def test_a_runtime_without_a_store_has_the_defaults() -> None:
    kit = leveled_kit()

    world = Runtime(MemoryLedgerStore("r1"), kit.create({"depth": 1}), edge_logic=()).run(
        [make_event("opened", "", "cli", [], {})]
    )

    assert world.all(Level) == [Level(0, "short", "it 1 "), Level(1, "short", "it 1 ")]


def test_the_card_of_a_kit_lists_its_settings() -> None:
    card = kit_card(leveled_kit())

    assert card["settings"][0] == {"name": "depth", "type": "int", "is_required": False}
    (look,) = leveled_kit().tool_schemas()
    assert list(look["parameters"]["properties"]) == ["at"]


def test_a_value_that_a_validator_refuses_is_reported_without_the_validator() -> None:
    @attrs.frozen
    class Chosen:
        color: str = attrs.field(default="red", validator=attrs.validators.in_(["red", "blue"]))

    kit = Kit("colors")
    kit.settings(Chosen)

    with (
        open_store("memory:", kits=[kit], environ={"KANDO_PLUGINS": ""}) as store,
        pytest.raises(ConfigurationError, match="'color' must be in") as caught,
    ):
        store.start("colors", "x", settings={"color": "green"})

    assert "Attribute(" not in str(caught.value)
