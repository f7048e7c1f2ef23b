"""Which responder can trigger which, from declarations and sources, without running a responder."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from kando.app.kits.card import kit_card
from kando.app.kits.graph import CHILD_RUN, CLOCK, GOAL, INPUT, MODEL, PERSON, KitGraph, kit_graph
from kando.app.kits.graph_formats import FORMATS
from kando.emit import (
    ask,
    ask_person,
    call_tool,
    create,
    emit,
    patch,
    relate,
    set_timer,
    start_run,
)
from kando.kit import Kit
from kando.schema.events import (
    OBJECT_CREATED,
    OBJECT_PATCHED,
    PERSON_REMINDED,
    PERSON_REPLIED,
    RUN_ENDED,
    KandoEvent,
    make_event,
)
from sample_kit import sample_kit

PART = "Part"
STEPS = ("one", "two")


def triggers(graph: KitGraph) -> set[tuple[str, str]]:
    return {(edge.source, edge.target) for edge in graph.edges}


def seeded(name: str = "drawn") -> Kit:
    kit = Kit(name)

    @kit.seeds
    def seed(goal: str, run_id: str) -> list[KandoEvent]:
        return [make_event(OBJECT_CREATED, "", "cli", [], {"type": "Whole", "data": {}})]

    return kit


def _helping(event: KandoEvent) -> Iterator[KandoEvent]:
    yield create(PART, {})


def test_a_kit_is_followed_from_its_goal_to_its_last_responder() -> None:
    graph = kit_graph(sample_kit())

    assert triggers(graph) == {
        (GOAL, "sample.on_guest"),
        ("sample.on_guest", "sample.on_greets"),
        ("sample.on_greets", MODEL),
        (MODEL, "sample.on_answer"),
        ("sample.on_answer", "sample.on_greeted"),
        # A patch does not name the type of its object.
        ("sample.on_greeted", "sample.on_greeted"),
    }
    assert graph.warnings == ()


def test_no_responder_is_run() -> None:
    kit = seeded()
    ran: list[str] = []

    @kit.responder(OBJECT_CREATED)
    def runs(event: KandoEvent, world: object) -> Iterator[KandoEvent]:
        ran.append(event.id)
        yield emit("x", {})

    kit_graph(kit)

    assert ran == []


def test_types_are_read_from_constants_keywords_classes_and_functions_that_are_called() -> None:
    kit = seeded()

    @kit.responder(OBJECT_CREATED, type="Whole")
    def on_whole(event: KandoEvent, world: object) -> Iterator[KandoEvent]:
        yield from _helping(event)
        yield relate("holds", "a", "b")
        yield create(type="Other", data={})
        yield emit("custom.type", {})

    for type in (PART, "Other", "Unmade"):
        kit.responder(OBJECT_CREATED, type=type, name=f"on.{type}")(lambda event, world: None)
    kit.edge_logic("holds", name="on.holds")(lambda event, world: None)
    kit.edge_logic("drops", name="on.drops")(lambda event, world: None)
    kit.responder("custom.type", name="on.custom")(lambda event, world: None)

    graph = kit_graph(kit)

    assert {target for source, target in triggers(graph) if source == "drawn.on_whole"} == {
        "on.Part",
        "on.Other",
        "on.holds",
        "on.custom",
    }
    assert set(graph.warnings) == {"nothing triggers on.Unmade", "nothing triggers on.drops"}


def test_a_patch_may_be_of_another_object_than_that_of_the_responder() -> None:
    kit = seeded()

    @kit.responder(OBJECT_CREATED, type="Whole")
    def on_whole(event: KandoEvent, world: Any) -> Iterator[KandoEvent]:
        for part in world.objects_of("Part"):
            yield patch(part, {"is_seen": True})

    kit.responder(OBJECT_PATCHED, type="Part", name="on.seen")(lambda event, world: None)

    graph = kit_graph(kit)

    assert ("drawn.on_whole", "on.seen") in triggers(graph)
    assert graph.warnings == ()


def test_a_patch_without_a_reaction_for_its_own_type_may_trigger_a_node_without_a_trigger() -> None:
    kit = seeded()

    @kit.responder(OBJECT_CREATED, type="Whole")
    def on_whole(event: KandoEvent, world: object) -> Iterator[KandoEvent]:
        yield create(PART, {})
        yield patch("another", {"is_done": True})

    kit.responder("object.patched", type=PART, name="on.part")(lambda event, world: None)

    graph = kit_graph(kit)

    assert ("drawn.on_whole", "on.part") in triggers(graph)
    assert graph.warnings == ()


def test_a_loop_without_a_condition_is_endless() -> None:
    kit = seeded()

    @kit.responder(OBJECT_CREATED, type="Whole")
    def divide(event: KandoEvent, world: object) -> Iterator[KandoEvent]:
        for _ in STEPS:
            yield create("Part", {})

    @kit.responder(OBJECT_CREATED, type="Part")
    def unite(event: KandoEvent, world: object) -> Iterator[KandoEvent]:
        yield create("Whole", {})

    assert kit_graph(kit).warnings == ("endless loop: drawn.divide -> drawn.unite -> drawn.divide",)


def test_a_loop_with_a_condition_is_not_a_warning() -> None:
    kit = seeded()

    @kit.responder(OBJECT_CREATED, type="Whole")
    def after_a_question(event: KandoEvent, world: object) -> Iterator[KandoEvent]:
        if event.data["data"].get("more"):
            yield create("Whole", {})

    @kit.responder(OBJECT_CREATED, type="Whole")
    def after_a_return(event: KandoEvent, world: object) -> Iterator[KandoEvent]:
        if not event.data["data"].get("more"):
            return
        yield create("Whole", {})

    @kit.responder(OBJECT_CREATED, type="Whole")
    def for_each(event: KandoEvent, world: object) -> Iterator[KandoEvent]:
        for _ in event.data["data"].get("parts", []):
            yield create("Whole", {})

    graph = kit_graph(kit)

    assert ("drawn.for_each", "drawn.for_each") in triggers(graph)
    assert graph.warnings == ()


def test_a_loop_through_the_model_is_found() -> None:
    kit = seeded()

    @kit.responder("llm.response", OBJECT_CREATED)
    def again(event: KandoEvent, world: object) -> Iterator[KandoEvent]:
        yield ask([{"role": "user", "content": "again?"}])

    assert kit_graph(kit).warnings == ("endless loop: drawn.again -> (model) -> drawn.again",)


def test_event_types_without_a_reaction_are_warnings() -> None:
    kit = seeded()

    @kit.responder(OBJECT_CREATED)
    def speaks(event: KandoEvent, world: object) -> Iterator[KandoEvent]:
        if world is None:
            yield emit("nobody.listens", {})
            yield ask([])
            yield call_tool("none", {})
            yield set_timer(seconds=1)
            yield patch("x", {})

    graph = kit_graph(kit)

    assert set(graph.warnings) == {
        "no responder reacts to nobody.listens",
        "no responder reacts to tool.called",
        "no responder reacts to llm.response",
        "no responder reacts to tool.returned",
        "no responder reacts to timer.fired",
    }
    assert {"drawn.speaks", MODEL, CLOCK} <= {node.name for node in graph.nodes}


def test_a_person_and_a_child_run_answer_what_a_kit_asks() -> None:
    kit = seeded()

    @kit.responder(OBJECT_CREATED, type="Whole")
    def on_whole(event: Any, world: Any) -> Iterator[KandoEvent]:
        yield ask_person("Which?", about=event)
        yield start_run("other", "Find out", about=event)

    @kit.responder(PERSON_REPLIED, type="Whole")
    def on_reply(event: Any, world: Any) -> None: ...

    @kit.responder(RUN_ENDED, type="Whole")
    def on_end(event: Any, world: Any) -> None: ...

    graph = kit_graph(kit)

    assert triggers(graph) == {
        (GOAL, "drawn.on_whole"),
        ("drawn.on_whole", PERSON),
        (PERSON, "drawn.on_reply"),
        ("drawn.on_whole", CHILD_RUN),
        (CHILD_RUN, "drawn.on_end"),
    }
    assert graph.warnings == ()


def test_documents_are_a_node_if_a_responder_handles_them() -> None:
    kit = seeded()
    kit.responder(OBJECT_CREATED, type="Document", name="reads")(lambda event, world: None)

    assert (INPUT, "reads") in triggers(kit_graph(kit))


def test_a_source_that_cannot_be_read_is_marked() -> None:
    kit = seeded()
    kit.responder(OBJECT_CREATED, type="Whole", name="built.in")(dict)

    graph = kit_graph(kit)

    assert {node.name: node.known for node in graph.nodes}["built.in"] == "unknown"
    assert "built.in: its emissions are unknown, since its source cannot be read" in FORMATS[
        "text"
    ](graph)


def test_a_seed_that_raises_leaves_a_graph() -> None:
    kit = Kit("raises")

    @kit.seeds
    def seed(goal: str, run_id: str) -> list[KandoEvent]:
        raise RuntimeError("no")

    assert kit_graph(kit).nodes[0].known == "unknown"


@pytest.mark.parametrize("name", ["plain", 'a"b\\c', "<script>&", "two\nlines"])
def test_every_format_contains_every_trigger_for_any_names(name: str) -> None:
    kit = seeded(name)

    @kit.responder(OBJECT_CREATED, type="Whole", name=name)
    def named(event: KandoEvent, world: object) -> Iterator[KandoEvent]:
        if world is None:
            yield create("Whole", {})

    graph = kit_graph(kit)

    root = ElementTree.fromstring(FORMATS["svg"](graph))
    titles = [each.text or "" for each in root.iter("{http://www.w3.org/2000/svg}title")]
    assert len([title for title in titles if " to " in title]) == len(triggers(graph))
    dot = FORMATS["dot"](graph)
    assert len(re.findall(r"^  \"(?:[^\"\\]|\\.)*\" -> ", dot, re.MULTILINE)) == len(
        triggers(graph)
    )
    mermaid = FORMATS["mermaid"](graph)
    assert mermaid.count(" -->|") == len(triggers(graph))
    assert "<script" not in mermaid
    assert FORMATS["text"](graph).count(" -> ") == len(triggers(graph))


def test_a_card_contains_everything_that_a_kit_declares_and_hashes_of_its_prompts() -> None:
    kit = sample_kit()

    @kit.tool("look")
    def look(at: str) -> str:
        """Look something up."""
        return at

    @kit.policy
    def deny_all(intent: KandoEvent) -> str:
        return "no"

    @kit.policy(type="Guest")
    def ask_first(intent: KandoEvent) -> None:
        return None

    card = kit_card(kit)

    assert card["policies"] == [
        {"name": kit.policies[0].name, "judges": ["tool.called"], "object_type": None},
        {"name": kit.policies[1].name, "judges": ["object.created"], "object_type": "Guest"},
    ]
    assert card["object_types"][0] == {
        "name": "Guest",
        "about": "The person to greet.",
        "fields": [
            {"name": "name", "type": "str", "is_required": True},
            {"name": "status", "type": "str", "is_required": False},
        ],
    }
    assert card["relation_types"] == [{"name": "greets", "source": "Greeting", "target": "Guest"}]
    assert card["edge_logic"] == [{"name": "sample.on_greets", "relation_type": "greets"}]
    assert [each["name"] for each in card["responders"]] == [r.name for r in kit.responders]
    assert card["tools"] == [{"name": "look", "about": "Look something up."}]
    changed = attrs.evolve(kit, prompts={"greet": "Greet $name!"})
    assert card["prompts"][0]["sha256"] != kit_card(changed)["prompts"][0]["sha256"]


@attrs.frozen
class Whole:
    """The subject of the question."""

    text: str = ""


def test_an_llm_responder_declares_what_it_emits() -> None:
    kit = seeded()
    kit.object(Whole)
    kit.prompts["ask"] = "What of it?"
    kit.relation("part_of", Whole, Whole)

    @kit.tool("look")
    def look(at: str) -> str:
        """Look something up."""
        return at

    @kit.llm_responder(
        OBJECT_CREATED, prompt="ask", output=Whole, relation="part_of", type="Whole", tools=["look"]
    )
    def asks(event: KandoEvent, world: object) -> dict[str, str]:
        return {}

    kit.edge_logic("part_of", name="on.part_of")(lambda event, world: None)

    graph = kit_graph(kit)

    known = {node.name: node.known for node in graph.nodes}
    assert {known[name] for name in known if name.startswith("drawn.asks")} == {"declared"}
    assert {
        ("drawn.asks", MODEL),
        (MODEL, "drawn.asks.answer"),
        ("drawn.asks.answer", "drawn.tools"),
        ("drawn.tools", "drawn.asks.tool"),
        ("drawn.asks.tool", MODEL),
        ("drawn.asks.answer", "on.part_of"),
    } <= triggers(graph)
    assert graph.warnings == ()


def test_the_clock_reminds_of_questions_if_the_kit_reacts_to_it() -> None:
    kit = seeded()

    @kit.responder(OBJECT_CREATED, type="Whole")
    def on_whole(event: Any, world: Any) -> Iterator[KandoEvent]:
        yield ask_person("Which?", about=event, remind=60)

    @kit.responder(PERSON_REMINDED, type="Whole")
    def on_reminder(event: Any, world: Any) -> None: ...

    @kit.responder(PERSON_REPLIED, type="Whole")
    def on_reply(event: Any, world: Any) -> None: ...

    graph = kit_graph(kit)

    assert {("drawn.on_whole", CLOCK), (CLOCK, "drawn.on_reminder")} <= triggers(graph)
    assert graph.warnings == ()
