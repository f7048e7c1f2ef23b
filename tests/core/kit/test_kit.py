"""Kits: declared with decorators, checked when data is recorded, and kept apart."""

from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from kando.emit import call_tool, create, patch, relate
from kando.errors import ConfigurationError, InvalidData, NotFoundError, PayloadTooLarge
from kando.kit import Kit
from kando.ledger.memory import MemoryLedgerStore
from kando.responders import edge
from kando.responders.base import responder
from kando.responders.edge import dispatch, edge_logic
from kando.runtime import Runtime
from kando.schema.events import KandoEvent, make_event
from kando.world.graph import World


@pytest.fixture
def kit() -> Kit:
    made = Kit("shop", version="1", prompts={"greet": "Hello $name, $$5 off"})

    @made.object
    @attrs.frozen
    class Item:
        name: str
        price: float
        tags: list[str] = attrs.field(factory=list)
        note: str | None = None

    made.relation("goes_with", Item, Item)
    return made


def run(kit: Kit, *seeds: KandoEvent) -> tuple[World, MemoryLedgerStore]:
    ledger = MemoryLedgerStore("r1")
    return Runtime(ledger, kit.create(), kits=[kit], edge_logic=()).run(list(seeds)), ledger


def item(id: str = "i1", **data: Any) -> KandoEvent:
    return create("Item", {"name": "hat", "price": 2.5, **data}, id=id)


@pytest.mark.parametrize("is_called", [False, True])
def test_a_decorator_works_without_parentheses_as_with_empty_ones(is_called: bool) -> None:
    kit = Kit("a")

    def every(event: KandoEvent, world: World) -> None: ...

    def look(word: str) -> str:
        """Look a word up."""
        return word

    def careful(intent: KandoEvent) -> None: ...

    for decorator, fn in (
        (kit.responder, every),
        (kit.on_cancelled, every),
        (kit.tool, look),
        (kit.policy, careful),
    ):
        decorate: Any = decorator
        assert (decorate()(fn) if is_called else decorate(fn)) is fn

    (only,) = kit.responders
    assert (only.name, only.pattern, only.fn) == ("a.every", frozenset(), every)
    assert kit.tools["look"].schema()["description"] == "Look a word up."
    assert [each.on for each in kit.policies] == [frozenset({"tool.called"})]
    assert [each.fn for each in kit.cleaning] == [every]


def test_a_decorator_that_needs_an_argument_refuses_a_function_at_once() -> None:
    kit = Kit("a", prompts={"p": "Hi"})

    def fn(event: KandoEvent, world: World) -> None: ...

    for decorator in (kit.edge_logic, kit.relation, edge_logic):
        with pytest.raises(ConfigurationError, match="The name of a relation type is <function"):
            decorator(fn)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"@kit\.llm_responder of kit 'a' got <function"):
        kit.llm_responder(fn, prompt="p")  # type: ignore[arg-type]
    for bare in (kit.llm_responder, kit.upcaster, responder):
        with pytest.raises(TypeError, match="missing 1 required"):
            bare(fn)  # type: ignore[operator]


def test_a_decorator_refuses_a_class_in_place_of_an_event_type() -> None:
    kit = Kit("a")

    for decorator in (kit.responder, kit.policy):
        with pytest.raises(ConfigurationError, match=r"got Item, not the type.* write type=Item"):
            decorator(type("Item", (), {}))
    with pytest.raises(ConfigurationError, match="got 3, not the type of an event"):
        kit.responder("a", 3)  # type: ignore[call-overload]
    with pytest.raises(ConfigurationError, match="The name of a tool of kit 'a' is 3"):
        kit.tool(3)  # type: ignore[call-overload]
    assert (kit.responders, kit.policies, kit.tools) == ([], [], {})


def test_data_of_a_declared_type_is_recorded_unchanged(kit: Kit) -> None:
    world, _ = run(kit, item(price=2, tags=["red"]), create("Undeclared", {"anything": [1]}))

    expected = {"name": "hat", "price": 2, "tags": ["red"], "note": None}
    assert world.get_object("i1").data == expected
    assert len(world.objects_of("Undeclared")) == 1


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (item(price="dear"), ["price", "expected float", "str 'dear'"]),
        (item(name=3), ["name", "expected str", "int 3"]),
        (item(price=True), ["price", "expected float", "bool True"]),
        (item(colour="red"), ["unknown field 'colour'"]),
        (item(tags=["a", 1]), ["tags", "expected str", "int 1"]),
        (item(tags="abc"), ["tags"]),
        (item(note=1), ["note"]),
        (create("Item", {"price": 1.0}, id="i1"), ["required field 'name' is missing"]),
    ],
)
def test_an_invalid_field_is_refused_with_object_field_and_expected_type(
    kit: Kit, wrong: KandoEvent, says: list[str]
) -> None:
    ledger = MemoryLedgerStore("r1")

    with pytest.raises(InvalidData) as caught:
        Runtime(ledger, kit.create(), kits=[kit]).run([create("Goal", {}), wrong])

    assert "Item 'i1'" in str(caught.value)
    assert "Item declares name: str, price: float" in str(caught.value)
    for part in says:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    assert ledger.length() == 0


def test_a_patch_is_checked_against_the_whole_object(kit: Kit) -> None:
    world, _ = run(kit, item(), patch("i1", {"price": 3.0}))
    assert world.get_object("i1").data["price"] == 3.0

    with pytest.raises(InvalidData, match="expected float"):
        run(kit, item(), patch("i1", {"price": None}))


def test_the_ends_of_a_declared_relation_are_checked(kit: Kit) -> None:
    world, _ = run(kit, item("a"), item("b"), relate("goes_with", "a", "b"))
    assert len(world.get_relations("a", "goes_with")) == 1

    with pytest.raises(InvalidData, match="'goes_with' has Goal 'g' as its target, not Item"):
        run(kit, item("a"), create("Goal", {}, id="g"), relate("goes_with", "a", "g"))


def test_a_type_declared_twice_or_without_attrs_is_refused(kit: Kit) -> None:
    class Plain:
        pass

    with pytest.raises(ConfigurationError, match="not an attrs class"):
        kit.object(Plain)
    with pytest.raises(ConfigurationError, match="twice"):
        kit.relation("goes_with")


def test_a_responder_with_a_type_handles_only_objects_of_that_type(kit: Kit) -> None:
    seen: list[str] = []

    @kit.responder("object.created", "object.patched", type="Item")
    def on_item(event: KandoEvent, world: World) -> None:
        seen.append(event.type)

    @kit.responder("object.created", type="Other")
    def on_other(event: KandoEvent, world: World) -> None:
        seen.append("other")

    run(kit, create("Goal", {}), item(), patch("i1", {"price": 1.0}))

    assert seen == ["object.created", "object.patched"]
    assert [each.name for each in kit.create()] == ["shop.on_item", "shop.on_other"]


def test_edge_logic_of_one_kit_never_acts_in_a_run_of_another() -> None:
    def kit_named(name: str) -> Kit:
        made = Kit(name)

        @made.edge_logic("near")
        def mark(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
            yield patch(event.data["source_id"], {name: True})

        return made

    one, other = kit_named("one"), kit_named("other")
    seeds = [create("T", {}, id="a"), create("T", {}, id="b"), relate("near", "a", "b")]

    assert run(one, *seeds)[0].get_object("a").data == {"one": True}
    assert run(other, *seeds)[0].get_object("a").data == {"other": True}


@pytest.fixture
def no_edge_logic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "_registered", {})


@pytest.mark.usefixtures("no_edge_logic")
def test_all_edge_logic_of_one_relation_type_fires_in_a_runtime_without_a_kit() -> None:
    def attach(word: str) -> None:
        @edge_logic("near")
        def handler(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
            yield patch(event.data["source_id"], {word: True})

    attach("first")
    attach("second")

    @edge_logic("far")
    def never(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        yield patch("a", {"never": True})

    seeds = [create("T", {}, id="a"), relate("near", "a", "a")]
    world = Runtime(MemoryLedgerStore("r1"), []).run(seeds)

    assert world.get_object("a").data == {"first": True, "second": True}
    link = make_event(
        "relation.created", "", "", [], {"type": "near", "source_id": "a", "target_id": "a"}
    )
    assert [list(e.data["patch"]) for e in dispatch(link, world)] == [["first"], ["second"]]
    assert list(dispatch(seeds[0], world)) == []


@pytest.mark.usefixtures("no_edge_logic")
def test_edge_logic_of_the_process_does_not_act_where_it_is_excluded() -> None:
    edge_logic("near")(lambda event, world: [patch("a", {"acted": True})])
    seeds = [create("T", {}, id="a"), relate("near", "a", "a")]

    world = Runtime(MemoryLedgerStore("r1"), [], edge_logic=()).run(seeds)

    assert world.get_object("a").data == {}


def test_two_responders_of_one_name_are_refused_when_the_runtime_is_created() -> None:
    same = [responder("same", "a")(lambda event, world: None) for _ in range(2)]

    with pytest.raises(ConfigurationError, match="'same'"):
        Runtime(MemoryLedgerStore("r1"), same)


def test_two_kits_that_declare_one_type_differently_cannot_share_a_runtime(kit: Kit) -> None:
    other = Kit("other")

    @other.object
    @attrs.frozen
    class Item:
        size: int

    for each in (kit, other):
        each.responder("object.created", name=each.name)(lambda event, world: None)

    with pytest.raises(ConfigurationError, match="'Item'"):
        Runtime(MemoryLedgerStore("r1"), [*kit.create(), *other.create()])


def test_a_tool_is_called_through_events_and_its_failure_is_an_outcome(kit: Kit) -> None:
    @kit.tool("add")
    def add(a: int, b: int) -> int:
        return a + b

    @kit.policy
    def no_big_numbers(intent: KandoEvent) -> str | None:
        return "too big" if intent.data["arguments"].get("a", 0) > 99 else None

    calls = [
        call_tool("add", {"a": 1, "b": 2}, about="i1"),
        call_tool("add", {"a": 1}),
        call_tool("add", {"a": 100, "b": 1}),
    ]
    _, ledger = run(kit, item(), *calls)

    answers = [e.data for e in ledger.read_all() if e.type == "tool.returned"]
    assert answers[0] == {"cause_object_id": "i1", "result": 3}
    assert [a["error"]["type"] for a in answers[1:]] == [
        "InvalidArguments",
        "Denied",
    ]
    assert answers[2]["error"]["message"] == "too big"


def test_a_call_of_the_kit_to_a_tool_that_it_lacks_stays_open(kit: Kit) -> None:
    kit.tool("add")(lambda a, b: a + b)
    chosen = call_tool("ad", {})
    by_model = attrs.evolve(chosen, data={**chosen.data, "conversation": "c1"})

    _, ledger = run(kit, item(), call_tool("ad", {}), by_model)

    answers = [e.data for e in ledger.read_all() if e.type == "tool.returned"]
    assert [(a["conversation"], a["error"]["type"]) for a in answers] == [("c1", "UnknownTool")]
    assert "available: add" in answers[0]["error"]["message"]
    (left,) = Runtime(ledger, kit.create(), kits=[kit]).open_intents()
    assert "conversation" not in left.data


def test_a_prompt_is_filled_in_and_its_values_are_not_interpreted(kit: Kit) -> None:
    assert kit.prompt("greet", name="$name") == "Hello $name, $5 off"

    with pytest.raises(ConfigurationError, match="'name'"):
        kit.prompt("greet")
    with pytest.raises(NotFoundError, match="It has: greet"):
        kit.prompt("missing")


def test_a_payload_over_the_limit_is_refused_with_its_size() -> None:
    ledger = MemoryLedgerStore("r1")
    big = create("T", {"text": "x" * 2000})

    with pytest.raises(PayloadTooLarge, match="limit is 1,000"):
        Runtime(ledger, [], max_payload_bytes=1000).run([big])

    assert ledger.length() == 0
    Runtime(ledger, []).run([big])
    assert ledger.length() == 1
