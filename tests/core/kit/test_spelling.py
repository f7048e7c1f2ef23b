"""Misspelled names: an error when the kit is made, or before an event is recorded."""

from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

from kando import open_store
from kando.emit import call_tool, create, emit, relate
from kando.errors import ConfigurationError, InvalidData, KandoError, NotFoundError
from kando.kit import Kit
from kando.ledger.memory import MemoryLedgerStore
from kando.runtime import Runtime
from kando.schema.events import KandoEvent, make_event
from kando.world.graph import World


@attrs.frozen
class Task:
    title: str


def nothing(event: KandoEvent, world: World) -> None: ...


def new_kit() -> Kit:
    kit = Kit("k", prompts={"summarize": "Summarize $text"})
    kit.object(Task)
    kit.relation("depends_on", Task, Task)

    @kit.tool
    def search(word: str) -> str:
        """Search for a word."""
        return word

    @kit.seeds
    def seed(goal: str, run_id: str) -> list[KandoEvent]:
        return [make_event("opened", "", "cli", [], {"goal": goal})]

    return kit


def broken_undo(kit: Kit) -> None:
    @kit.tool(undo="serch")
    def book(what: str) -> str:
        return what


@pytest.mark.parametrize(
    ("declare", "wrong", "right"),
    [
        (lambda kit: kit.responder("object.create")(nothing), "object.create", "object.created"),
        (lambda kit: kit.responder("llm.answer")(nothing), "llm.answer", "llm.response"),
        (lambda kit: kit.responder("oredr.placed")(nothing), "oredr.placed", "order.placed"),
        (lambda kit: kit.responder("object.created", type="Taks")(nothing), "Taks", "Task"),
        (lambda kit: kit.responder("object.created", type="task")(nothing), "task", "Task"),
        (lambda kit: kit.edge_logic("depend_on")(nothing), "depend_on", "depends_on"),
        (lambda kit: kit.relation("has", "Tasks", Task), "Tasks", "Task"),
        (lambda kit: kit.policy(type="Taskk")(lambda intent: None), "Taskk", "Task"),
        (
            lambda kit: kit.upcaster("object.creatd", 1)(lambda d: d),
            "object.creatd",
            "object.created",
        ),
        (broken_undo, "serch", "search"),
    ],
)
def test_a_misspelled_name_is_an_error_when_the_kit_is_made(
    declare: Callable[[Kit], Any], wrong: str, right: str
) -> None:
    kit = new_kit()
    kit.event("order.placed")
    kit.create()
    declare(kit)

    with pytest.raises(ConfigurationError) as caught:
        kit.create()

    assert repr(wrong) in caught.value.message
    assert right in (caught.value.hint or "")


def test_a_misspelled_prompt_or_tool_is_an_error_where_it_is_used() -> None:
    kit = new_kit()

    with pytest.raises(NotFoundError, match="Did you mean 'summarize'"):
        kit.llm_responder("go", prompt="sumarize")
    with pytest.raises(NotFoundError, match="Did you mean 'search'"):
        kit.llm_responder("go", prompt="summarize", tools=["serach"])


def test_types_of_events_from_outside_need_no_declaration() -> None:
    kit = new_kit()
    for type in ("note", "order.placed", "a", "custom.type"):
        kit.responder(type, name=type)(nothing)

    assert kit.create()


def test_a_declared_type_of_event_may_resemble_one_of_kando() -> None:
    kit = new_kit()
    kit.responder(kit.event("tool.finished"))(nothing)

    assert kit.create()


def emits_object(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
    yield create("Tasks", {"title": "x"})


def emits_relation(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
    yield relate("depends_onn", "a", "b")


def emits_call(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
    yield call_tool("serch", {"word": "x"})


def emits_event(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
    yield emit("opend", {})


PROMPTED = new_kit()


def uses_prompt(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
    yield emit("asked", {"text": PROMPTED.prompt("sumarize", text="x")})


@pytest.mark.parametrize(
    ("fn", "wrong", "right"),
    [
        (emits_object, "Tasks", "Task"),
        (emits_relation, "depends_onn", "depends_on"),
        (emits_call, "serch", "search"),
        (emits_event, "opend", "opened"),
        (uses_prompt, "sumarize", "summarize"),
    ],
)
def test_a_misspelled_name_in_a_function_is_an_error_before_a_run_is_recorded(
    fn: Callable[..., Any], wrong: str, right: str
) -> None:
    kit = PROMPTED
    kit.responders = []
    kit.responder("opened")(fn)

    with open_store("memory:") as store:
        with pytest.raises(ConfigurationError) as caught:
            store.start(kit, "x")
        assert list(store.runs()) == []

    assert repr(wrong) in caught.value.message
    assert "test_spelling.py" in caught.value.message
    assert right in (caught.value.hint or "")


@pytest.mark.parametrize(
    "wrong",
    [create("Tasks", {"title": "x"}), relate("depend_on", "a", "b")],
    ids=["object", "relation"],
)
def test_an_event_of_a_misspelled_type_is_refused(wrong: KandoEvent) -> None:
    kit, ledger = new_kit(), MemoryLedgerStore("r1")
    seeds = [create(Task("a"), id="a"), create(Task("b"), id="b"), wrong]

    with pytest.raises(InvalidData, match="declares no") as caught:
        Runtime(ledger, kit.create(), kits=[kit]).run(seeds)

    assert isinstance(caught.value, KandoError)
    assert ledger.length() == 0


def test_a_type_that_resembles_no_declared_one_is_recorded() -> None:
    kit, ledger = new_kit(), MemoryLedgerStore("r1")
    runtime = Runtime(ledger, kit.create(), kits=[kit], edge_logic=())

    world = runtime.run([create("Undeclared", {}, id="u"), relate("near", "u", "u")])

    assert world.count_of("Undeclared") == 1
