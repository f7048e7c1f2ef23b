"""Forks share a prefix with their parent; diffs list exactly the differences."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kando.branch.diff import diff
from kando.branch.fork import BranchMeta, fork
from kando.branch.replay import read_branch
from kando.emit import create
from kando.errors import LedgerExists, LedgerNotFound, PositionOutOfRange
from kando.ledger.interface import LedgerStore
from kando.ledger.memory import MemorySubstrate
from kando.responders.base import Responder, Retry
from kando.runtime import Runtime
from kando.schema.events import (
    BRANCH_CREATED,
    OBJECT_CREATED,
    RESPONDER_FAILED,
    KandoEvent,
    make_event,
)
from kando.world.graph import Relation, World, WorldObject


def thing(id: str) -> KandoEvent:
    return make_event(OBJECT_CREATED, "", "cli", [], {"id": id, "type": "T", "data": {}})


def substrate_with(*ids: str) -> MemorySubstrate:
    substrate = MemorySubstrate()
    substrate.create("r").append([thing(id) for id in ids])
    return substrate


def test_a_branch_shares_its_prefix_and_begins_with_branch_created() -> None:
    substrate = substrate_with("a", "b", "c")

    branch = fork(substrate, "r", 2, "b1")

    assert [e.id for e in branch.read_all()] == [
        "object.created-0",
        "object.created-1",
        "branch.created-b1",
    ]
    (own,) = read_branch(substrate, "b1", own_only=True)
    assert own.type == BRANCH_CREATED
    assert own.source == "branch:b1"
    assert own.cause == ["object.created-1"]
    assert BranchMeta(**own.data) == BranchMeta("b1", "r", 2)
    assert list(read_branch(substrate, "b1"))[:2] == list(read_branch(substrate, "r"))[:2]


def test_parent_and_branch_do_not_have_each_others_tails() -> None:
    substrate = substrate_with("a")
    branch = fork(substrate, "r", 1, "b1")
    branch.append([thing("mine")])
    substrate.open("r").append([thing("yours")])

    assert [e.data.get("id") for e in branch.read_all()] == ["a", None, "mine"]
    assert [e.data["id"] for e in substrate.open("r").read_all()] == ["a", "yours"]


def test_a_resumed_branch_fails_and_retries_as_its_parent_did() -> None:
    def runtime_on(ledger: LedgerStore) -> Runtime:
        failed: set[str] = set()

        def fn(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
            if event.id not in failed:
                failed.add(event.id)
                raise ValueError(event.id)
            if len(world.objects) < 4:
                yield create("T", {})

        retry = Retry(attempts=2, backoff_seconds=0)
        return Runtime(ledger, [Responder("unsteady", OBJECT_CREATED, fn, retry=retry)])

    substrate = MemorySubstrate()
    parent = substrate.create("r")
    runtime_on(parent).run([create("T", {})])
    branch = fork(substrate, "r", 1, "b1")

    runtime_on(branch).run([])

    own = [e for e in branch.read(1) if not e.is_head]
    assert [e.type for e in own].count(RESPONDER_FAILED) == 4
    assert [(e.id, e.lineage_key) for e in own] == [(e.id, e.lineage_key) for e in parent.read(1)]


@pytest.mark.parametrize("position", [-1, 4])
def test_a_fork_outside_its_parent_is_refused_and_creates_nothing(position: int) -> None:
    substrate = substrate_with("a", "b", "c")

    with pytest.raises(PositionOutOfRange, match="0 to 3"):
        fork(substrate, "r", position, "b1")

    assert [info.id for info in substrate.ledgers()] == ["r"]


def test_a_fork_of_an_unknown_parent_or_with_an_existing_id_is_refused() -> None:
    substrate = substrate_with("a")

    with pytest.raises(LedgerNotFound):
        fork(substrate, "nobody", 0, "b1")
    with pytest.raises(LedgerExists):
        fork(substrate, "r", 0, "r")


def world_of(objects: dict[str, dict[str, int]], relations: set[tuple[str, str]]) -> World:
    world = World()
    for id, data in objects.items():
        world.objects[id] = WorldObject(id, "T", data)
    for a, b in sorted(relations):
        if a in objects and b in objects:
            world.relations[a + b] = Relation(a + b, "near", a, b)
    return world


def test_a_diff_lists_what_was_added_removed_and_patched() -> None:
    a = world_of({"same": {}, "gone": {}, "changed": {"x": 1, "y": 2}}, {("same", "gone")})
    b = world_of({"same": {}, "new": {}, "changed": {"x": 9, "z": 3}}, {("same", "new")})

    found = diff(a, b)

    assert found.added_objects == ["new"]
    assert found.removed_objects == ["gone"]
    assert found.patched_objects == ["changed"]
    assert found.objects["changed"].fields == {"x": (1, 9), "y": (2, None), "z": (None, 3)}
    assert found.added_relations == ["samenew"]
    assert found.removed_relations == ["samegone"]
    assert found.summary() == (
        "+1 objects, -1 objects, ~1 objects patched, +1 relations, -1 relations"
    )
    assert bool(found)


def test_equal_worlds_have_no_diff() -> None:
    found = diff(World(), World())

    assert not found
    assert found.summary() == "no changes"


def test_the_summary_names_only_differences_that_exist() -> None:
    a = world_of({"p": {"x": 1}}, set())
    b = world_of({"p": {"x": 2}, "q": {}, "r": {}}, set())

    assert diff(a, b).summary() == "+2 objects, ~1 objects patched"


names = st.sampled_from("abcd")
worlds = st.builds(
    world_of,
    st.dictionaries(names, st.dictionaries(names, st.integers(0, 2), max_size=2), max_size=4),
    st.sets(st.tuples(names, names), max_size=4),
)


@given(worlds, worlds)
def test_a_diff_applied_to_the_first_world_gives_the_second(a: World, b: World) -> None:
    found = diff(a, b)

    objects = {id: o for id, o in a.objects.items() if id not in found.removed_objects}
    changed = found.objects.after([*found.added_objects, *found.patched_objects])
    objects |= {o.id: o for o in changed}
    relations = {id: r for id, r in a.relations.items() if id not in found.removed_relations}
    relations |= {r.id: r for r in found.relations.after(found.added_relations)}
    assert objects == b.objects
    assert relations == b.relations
    assert bool(found) == (a != b)
