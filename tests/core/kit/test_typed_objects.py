"""Typed objects: created from instances, complete with defaults, and read as instances."""

import dataclasses
from collections.abc import Callable, Iterator
from datetime import datetime
from enum import Enum
from itertools import count
from typing import Any, Literal, assert_type

import attrs
import pydantic
import pytest

from kando.emit import create, patch, relate
from kando.errors import ConfigurationError, ImpureResponder, InvalidData, ReplayDivergence
from kando.kit import OMITTED, Kit
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.policies import Ask
from kando.runtime import Runtime
from kando.schema.events import KandoEvent, make_event
from kando.world.graph import World, WorldObject


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


@attrs.frozen
class Step:
    text: str
    done: bool = False


@attrs.frozen
class Task:
    title: str
    status: Literal["pending", "done"] = "pending"
    size: Size = Size.SMALL
    owner: str | None = None
    steps: list[Step] = attrs.field(factory=list)
    tags: set[str] = attrs.field(factory=set)


@dataclasses.dataclass
class Part:
    name: str
    count: int = 1
    steps: list[Step] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Line:
    name: str
    count: int = 1


class Order(pydantic.BaseModel):
    customer: str
    size: Size = Size.LARGE
    parts: list[Line] = []
    note: str | None = None

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def total(self) -> int:
        return sum(part.count for part in self.parts)


def kit_of(*classes: type, name: str = "k") -> Kit:
    kit = Kit(name, version="1")
    for cls in classes:
        kit.object(cls)
    return kit


def run(kit: Kit, *seeds: KandoEvent) -> Runtime:
    runtime = Runtime(MemoryLedgerStore("r1"), kit.create(), kits=[kit], edge_logic=())
    runtime.run(list(seeds))
    return runtime


def data_of(runtime: Runtime, id: str) -> dict[str, Any]:
    found = runtime.load().get_object(id)
    assert found is not None
    return found.data


TASK = {"title": "x", "status": "pending", "size": "s", "owner": None, "steps": [], "tags": []}
PART = {"name": "x", "count": 1, "steps": []}
ORDER = {"customer": "x", "size": "l", "parts": [], "note": None}


@pytest.mark.parametrize(
    ("made", "named", "expected"),
    [
        (Task("x"), create("Task", {"title": "x"}, id="a"), TASK),
        (Part("x"), create("Part", {"name": "x"}, id="a"), PART),
        (Order(customer="x"), create("Order", {"customer": "x"}, id="a"), ORDER),
    ],
    ids=["attrs", "dataclass", "pydantic"],
)
def test_an_object_has_the_defaults_of_its_class_however_it_is_created(
    made: object, named: KandoEvent, expected: dict[str, Any]
) -> None:
    kit = kit_of(Task, Part, Order)
    typed, untyped = run(kit, create(made, id="a")), run(kit, named)

    assert data_of(typed, "a") == data_of(untyped, "a") == expected
    assert [event.data["data"] for event in untyped.ledger.read_all()] == [expected]
    assert typed.load().get(type(made), "a") == untyped.load().get(type(made), "a") == made


def test_defaults_are_filled_in_inside_of_fields() -> None:
    kit = kit_of(Task, Order)

    runtime = run(
        kit,
        create(
            "Task", {"title": "x", "steps": [{"text": "a"}, {"text": "b", "done": True}]}, id="t"
        ),
        create("Order", {"customer": "x", "parts": [{"name": "p"}]}, id="o"),
    )

    steps = [{"text": "a", "done": False}, {"text": "b", "done": True}]
    assert data_of(runtime, "t") == {**TASK, "steps": steps}
    assert data_of(runtime, "o") == {**ORDER, "parts": [{"name": "p", "count": 1}]}


def test_what_is_given_is_recorded_unchanged() -> None:
    given = {**TASK, "tags": ["b", "a"], "owner": "ann", "steps": [{"text": "a", "done": True}]}

    runtime = run(kit_of(Task), create("Task", given, id="t"))

    assert data_of(runtime, "t") == given
    task = runtime.load().get(Task, "t")
    assert task == Task("x", owner="ann", steps=[Step("a", True)], tags={"a", "b"})


def test_a_default_may_depend_on_other_fields_or_come_from_a_converter() -> None:
    @attrs.frozen
    class Sum:
        a: int
        b: int = attrs.field()
        c: int = attrs.field(default=2.0, converter=int)

        @b.default
        def _double(self) -> int:
            return self.a * 2

    runtime = run(kit_of(Sum), create("Sum", {"a": 2}, id="s"))

    assert data_of(runtime, "s") == {"a": 2, "b": 4, "c": 2}


def test_a_field_may_be_left_out_until_it_is_set() -> None:
    @attrs.frozen
    class Company:
        name: str
        questions: list[str] = attrs.field(factory=list, metadata=OMITTED)

    named, made = create("Company", {"name": "x"}, id="a"), create(Company("x"), id="b")
    runtime = run(kit_of(Company), named, made, create(Company("x", ["y"]), id="c"))

    assert data_of(runtime, "a") == data_of(runtime, "b") == {"name": "x"}
    assert data_of(runtime, "c") == {"name": "x", "questions": ["y"]}
    assert runtime.load().get(Company, "a") == Company("x")


def test_a_moment_is_a_text_in_the_ledger() -> None:
    @attrs.frozen
    class Meeting:
        at: datetime

    at = datetime(2026, 1, 2, 3, 4)
    runtime = run(kit_of(Meeting), create(Meeting(at), id="m"))

    assert data_of(runtime, "m") == {"at": "2026-01-02T03:04:00"}
    assert runtime.load().get(Meeting, "m") == Meeting(at)


def test_a_world_returns_objects_as_instances_of_their_class() -> None:
    kit = kit_of(Task, Part)
    world = run(
        kit,
        create(Task("a"), id="a"),
        create(Task("b"), id="b"),
        create(Part("p"), id="p"),
        relate("needs", "a", "p"),
        relate("needs", "b", "p"),
        relate("after", "b", "a"),
        patch("a", {"status": "done"}),
    ).load()

    assert_type(world.get(Task, "a"), Task | None)
    assert_type(world.all(Task), list[Task])
    assert_type(world.targets("b"), list[WorldObject])
    assert_type(world.targets("b", "after", Task), list[Task])
    assert world.get(Task, "a") == Task("a", status="done")
    assert world.get(Task, "missing") is world.get(Task, "p") is None
    assert world.all(Task) == [Task("a", status="done"), Task("b")]
    assert world.ids(Task) == world.ids("Task") == ["a", "b"]
    assert [each.id for each in world.targets("b")] == ["p", "a"]
    assert world.targets("b", None, Task) == [Task("a", status="done")]
    assert [each.id for each in world.sources("p", "needs")] == ["a", "b"]
    assert world.sources("a", "after", Task) == [Task("b")]
    assert world.sources("a", "needs") == world.targets("p") == []


def test_an_instance_is_made_once_for_each_version_of_a_frozen_object() -> None:
    kit = kit_of(Task, Part)
    runtime = run(kit, create(Task("a"), id="a"), create(Part("p"), id="p"))
    world = runtime.load()

    assert world.get(Task, "a") is world.get(Task, "a")
    part = world.get(Part, "p")
    assert part is not None
    part.name = "changed"
    assert world.get(Part, "p") == Part("p")


def test_data_that_does_not_fit_the_class_of_today_is_an_error_that_names_it() -> None:
    old = Kit("k", version="1")
    runtime = run(old, create("Task", {"name": "x"}, id="t1"))

    with pytest.raises(InvalidData) as caught:
        runtime.load().get(Task, "t1")

    for part in ("Task 't1'", "'title' is missing", "unknown field 'name'", "upcaster"):
        assert part in str(caught.value)


def test_an_event_offers_the_object_that_it_is_about_and_its_text() -> None:
    created = create(Task("x"), id="t")
    patched = patch("t", {"status": "done"})
    answer = make_event("llm.response", "", "", [], {"text": "Yes.", "cause_object_id": "t"})
    failed = make_event("llm.response", "", "", [], {"text": "half", "error": {"type": "E"}})
    note = make_event("note", "", "", [], {"id": "t"})

    assert [e.object_id for e in (created, patched, answer, note)] == ["t", "t", "t", None]
    assert (created.object["title"], patched.object, note.object) == ("x", {"status": "done"}, {})
    assert_type(created.as_object(Task), Task)
    assert created.as_object(Task) == Task("x")
    for event in (patched, note, create(Part("p"), id="p")):
        with pytest.raises(InvalidData, match="creates no Task"):
            event.as_object(Task)
    assert (answer.text, failed.text, created.text) == ("Yes.", "", "")


def test_create_refuses_what_is_not_an_object() -> None:
    wrong: list[tuple[Callable[[], Any], str]] = [
        (lambda: create(3), "got 3, not an object"),
        (lambda: create(Task), r"got the class Task.* Write create\(Task\(\.\.\.\)\)"),
        (lambda: create(Task("x"), {"title": "y"}), "and data, not an object"),  # type: ignore[call-overload]
    ]
    for call, says in wrong:
        with pytest.raises(InvalidData, match=says):
            call()


@pytest.mark.parametrize(
    ("field", "says"),
    [
        (attrs.field(type=int, default=None), r"is None, which is not of type int.*int \| None"),
        (attrs.field(type=str, default=3), "is 3, which is not of type str"),
        (attrs.field(type=int, factory=count().__next__), "differs from call to call"),
        (attrs.field(type=Any, default=b"x"), "has no JSON form"),
    ],
)
def test_a_default_that_cannot_be_filled_in_is_an_error_when_the_kit_is_made(
    field: Any, says: str
) -> None:
    kit = kit_of(attrs.make_class("Item", {"x": field}))

    with pytest.raises(ConfigurationError, match=rf"The default of Item\.x.*{says}"):
        kit.create()


def test_a_policy_judges_an_object_with_its_defaults() -> None:
    kit = kit_of(Task)
    judged = []

    @kit.policy("object.created", type=Task)
    def careful(intent: KandoEvent) -> Ask:
        judged.append(intent.data["data"])
        return Ask("sure?")

    @kit.responder("go")
    def on_go(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        yield create("Task", {"title": "x"})

    run(kit, make_event("go", "", "", [], {}))

    assert judged == [TASK]


def test_a_responder_that_changes_an_instance_of_the_world_is_impure() -> None:
    kit = kit_of(Task)

    @kit.responder("object.created", type=Task)
    def on_task(event: KandoEvent, world: World) -> None:
        for task in world.all(Task):
            task.steps.append(Step("more"))

    runtime = Runtime(MemoryLedgerStore("r1"), kit.create(), edge_logic=(), checks_purity=True)
    with pytest.raises(ImpureResponder, match="changed the world"):
        runtime.run([create(Task("x"))])


class TestReplay:
    """Strict replay, of ledgers that were recorded before and after defaults were filled in."""

    def kit(self, cls: type = Task) -> Kit:
        kit = kit_of(cls)

        @kit.responder("go")
        def on_go(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
            task = yield create("Task", {"title": "x"}, id="t")
            yield create("Note", {"seen": task.data["data"]})

        return kit

    def ledger(self, kit: Kit, **loaded: Any) -> MemoryLedgerStore:
        """Return a ledger that a version recorded which did not know the class."""
        kit = attrs.evolve(kit, object_types={})
        kit.responders = [attrs.evolve(each, kit=None) for each in kit.responders]
        ledger = MemoryLedgerStore("r1")
        runtime = Runtime(ledger, kit.create(), edge_logic=())
        if loaded:
            seed = make_event("kit.loaded", "", "cli", [], {"name": "k", "version": "1", **loaded})
            runtime.record([seed], is_own=True)
        runtime.run([make_event("go", "", "", [], {})])
        return ledger

    @pytest.mark.parametrize("loaded", [{}, {"responders": ["k.on_go"]}])
    def test_a_ledger_without_defaults_is_accepted(self, loaded: dict[str, Any]) -> None:
        kit = self.kit()
        ledger = self.ledger(kit, **loaded)

        world = Runtime(ledger, kit.create(), kits=[kit], edge_logic=()).replay(strict=True)

        assert world == Runtime(ledger, []).load()

    def test_a_ledger_that_says_that_it_has_defaults_must_have_them(self) -> None:
        kit = self.kit()
        ledger = self.ledger(kit, fills_defaults=True)

        with pytest.raises(ReplayDivergence, match=r"data\.data\.status"):
            Runtime(ledger, kit.create(), kits=[kit], edge_logic=()).replay(strict=True)

    def test_a_changed_default_is_found(self) -> None:
        ledger = MemoryLedgerStore("r1")
        kit = self.kit()
        Runtime(ledger, kit.create(), edge_logic=()).run([make_event("go", "", "", [], {})])
        assert Runtime(ledger, kit.create(), edge_logic=()).replay(strict=True)
        changed = attrs.make_class(
            "Task", {"title": attrs.field(type=str), "status": attrs.field(type=str, default="new")}
        )

        with pytest.raises(ReplayDivergence, match=r"data\.data\.status"):
            Runtime(ledger, self.kit(changed).create(), edge_logic=()).replay(strict=True)

    @pytest.mark.parametrize("is_old", [False, True])
    def test_a_firing_that_was_cut_is_completed(self, is_old: bool) -> None:
        kit = self.kit()
        whole = self.ledger(kit) if is_old else MemoryLedgerStore("r1")
        if not is_old:
            Runtime(whole, kit.create(), edge_logic=()).run([make_event("go", "", "", [], {})])
        # go, fired, the task; the note and completed are missing.
        ledger = MemoryLedgerStore("r1")
        ledger.append([*whole.read_all()][:3])

        runtime = Runtime(ledger, kit.create(), edge_logic=())
        runtime.run([])

        assert [e.type for e in ledger.read_all()] == [e.type for e in whole.read_all()]
        assert runtime.replay(strict=True) == runtime.load()
