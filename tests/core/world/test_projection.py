"""The projection: a world is what its events say, and nothing else."""

import copy
import pickle
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kando.errors import DuplicateEvent, InvalidData, RefusedEvent, UnknownReference
from kando.ledger.memory import MemoryLedgerStore
from kando.schema.events import (
    OBJECT_CREATED,
    OBJECT_PATCHED,
    RELATION_CREATED,
    RELATION_REMOVED,
    KandoEvent,
    make_event,
)
from kando.world.graph import Relation, World, WorldObject
from kando.world.projection import apply, project, reproject


def event(event_type: str, **data: object) -> KandoEvent:
    return make_event(event_type, "run:r", "cli", [], data)


def thing(id: str, **data: object) -> KandoEvent:
    return event(OBJECT_CREATED, id=id, type="Thing", data=data)


def link(id: str, source: str, target: str, type: str = "near") -> KandoEvent:
    return event(RELATION_CREATED, id=id, type=type, source_id=source, target_id=target)


def test_objects_are_created_and_patched_shallowly() -> None:
    patch = event(OBJECT_PATCHED, id="a", patch={"y": {"new": 1}, "z": 3})
    world = project([thing("a", x=1, y={"old": 1}), patch])

    assert world.get_object("a").data == {"x": 1, "y": {"new": 1}, "z": 3}


def test_relations_are_found_from_both_ends_in_creation_order() -> None:
    world = project(
        [
            thing("a"),
            thing("b"),
            link("2", "a", "b"),
            link("1", "b", "a", "far"),
            link("0", "a", "a"),
        ]
    )

    assert [r.id for r in world.get_relations("a")] == ["2", "1", "0"]
    assert [r.id for r in world.get_relations("b")] == ["2", "1"]
    assert [r.id for r in world.get_relations("a", "far")] == ["1"]
    assert world.get_relations("nobody") == []


def test_a_removed_relation_is_removed_from_every_index() -> None:
    removal = event(RELATION_REMOVED, id="1")
    world = project([thing("a"), thing("b"), link("1", "a", "b"), removal])

    assert world.relations == {}
    assert world.get_relations("a") == world.get_relations("b") == []


def test_events_of_other_types_do_not_change_the_world() -> None:
    assert project([event("llm.request", messages=[]), event("anything")]) == World()


@pytest.mark.parametrize(
    ("bad", "error", "says"),
    [
        (event(OBJECT_PATCHED, id="ghost", patch={}), UnknownReference, "object 'ghost'"),
        (link("r", "a", "ghost"), UnknownReference, "object 'ghost'"),
        (event(RELATION_REMOVED, id="ghost"), UnknownReference, "relation 'ghost'"),
        (link("1", "a", "b"), DuplicateEvent, "relation '1'"),
        (event(OBJECT_CREATED, id="c", data={}), InvalidData, "data.type"),
        (event(OBJECT_CREATED, id="", type="T", data={}), InvalidData, "data.id"),
        (event(OBJECT_CREATED, id="c", type="T", data=[]), InvalidData, "data.data"),
        (event(OBJECT_PATCHED, id="a", patch="x"), InvalidData, "data.patch"),
        (event(OBJECT_PATCHED, id="a"), InvalidData, "data.patch"),
    ],
)
def test_an_event_that_cannot_be_applied_is_refused_and_the_world_unchanged(
    bad: KandoEvent, error: type[RefusedEvent], says: str
) -> None:
    before = [thing("a", x=1), thing("b"), link("1", "a", "b")]
    world = project(before)

    with pytest.raises(error) as caught:
        apply(world, bad)

    assert says in str(caught.value)
    assert world == project(before)


def test_an_unknown_reference_is_also_a_key_error_with_a_readable_message() -> None:
    with pytest.raises(KeyError) as caught:
        project([event(OBJECT_PATCHED, id="ghost", patch={})])

    assert str(caught.value).endswith("Create the object first.")


ids = st.sampled_from(["a", "b", "c"])
steps = st.one_of(
    st.builds(lambda id, n: thing(id, n=n), ids, st.integers(0, 3)),
    st.builds(lambda id, n: event(OBJECT_PATCHED, id=id, patch={"m": n}), ids, st.integers(0, 3)),
    st.builds(lambda id, a, b: link(id, a, b), st.sampled_from(["1", "2", "3"]), ids, ids),
    st.builds(lambda id: event(RELATION_REMOVED, id=id), st.sampled_from(["1", "2", "3"])),
)


@given(st.lists(steps, max_size=30))
def test_the_indexes_agree_with_the_world_after_any_history(history: list[KandoEvent]) -> None:
    ledger, world = MemoryLedgerStore("r"), World()
    for step in history:
        try:
            apply(world, step)
        except RefusedEvent:
            continue
        ledger.append([step])

    assert reproject(ledger) == world
    for id in world.objects:
        of_object = [r for r in world.relations.values() if id in (r.source_id, r.target_id)]
        assert world.get_relations(id) == of_object
    assert world.objects_of("Thing") == list(world.objects.values())


def as_indexed(world: World) -> None:
    """Check that the indexes list what is in the world, and nothing else."""
    for type in "TU":
        found = [o.id for o in world.objects_of(type)]
        assert sorted(found) == sorted(o.id for o in world.objects.values() if o.type == type)
        assert world.count_of(type) == len(found)
    for end in "abc":
        ends = {r.id for r in world.relations.values() if end in (r.source_id, r.target_id)}
        assert {r.id for r in world.get_relations(end)} == ends


def filled() -> World:
    world = World()
    world.objects.update({id: WorldObject(id, "T", {}) for id in "ab"}, c=WorldObject("c", "U", {}))
    world.relations |= {"r": Relation("r", "near", "a", "b"), "s": Relation("s", "near", "c", "c")}
    return world


@pytest.mark.parametrize(
    "change",
    [
        lambda world: None,
        lambda world: world.objects.pop("a"),
        lambda world: world.objects.pop("nothing", None),
        lambda world: world.objects.setdefault("d", WorldObject("d", "T", {})),
        lambda world: world.objects.__setitem__("a", WorldObject("a", "U", {})),
        lambda world: world.objects.clear(),
        lambda world: world.relations.popitem(),
        lambda world: world.relations.__delitem__("r"),
        lambda world: world.relations.__setitem__("r", Relation("r", "far", "c", "a")),
        lambda world: world.relations.setdefault("r"),
        lambda world: world.relations.clear(),
    ],
)
def test_however_a_world_is_changed_by_hand_its_indexes_follow(
    change: Callable[[World], object],
) -> None:
    world = filled()

    change(world)

    as_indexed(world)
    for copied in (copy.deepcopy(world), pickle.loads(pickle.dumps(world))):
        assert copied == world
        copied.objects["z"] = WorldObject("z", "T", {})
        as_indexed(copied)
        assert "z" not in world.objects


def test_the_data_of_an_event_is_copied_whatever_json_it_is() -> None:
    data = {"list": [1, [2]], "tuple": ({"x": 1},), "object": {"deep": {"y": []}}}
    created = thing("a", **data)
    world = World()

    apply(world, created)

    expected = copy.deepcopy(data)
    assert world.objects["a"].data == expected
    data["list"][1].append(3)
    data["tuple"][0]["x"] = 2
    data["object"]["deep"]["y"].append(1)
    created.data["data"].clear()
    assert world.objects["a"].data == expected
