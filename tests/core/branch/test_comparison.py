"""Comparing two ledgers: where they diverge, what differs after that, and what each of them cost."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kando.branch.comparison import compare
from kando.branch.diff import WorldDiff, diff
from kando.branch.divergence import divergence_position
from kando.branch.fork import fork
from kando.cache.llm import LLMCache
from kando.emit import ask, create, patch, relate, unrelate
from kando.errors import RefusedEvent, ReplayDivergence
from kando.ledger.interface import LedgerStore
from kando.ledger.memory import MemoryLedgerStore, MemorySubstrate
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.ledger.substrate import Substrate
from kando.responders.base import Responder
from kando.responders.llm_executor import provider_executor
from kando.runtime import Runtime
from kando.schema.events import (
    LLM_RESPONSE,
    OBJECT_CREATED,
    OBJECT_PATCHED,
    RELATION_CREATED,
    RELATION_REMOVED,
    KandoEvent,
    RecordedEvent,
    make_event,
)
from kando.schema.firing import Firing
from kando.world.graph import Relation, World, WorldObject
from kando.world.projection import apply, project, reproject


def thing(id: str, **data: object) -> KandoEvent:
    return make_event(OBJECT_CREATED, "", "cli", [], {"id": id, "type": "T", "data": data})


def event(kind: str, /, **data: object) -> KandoEvent:
    return make_event(kind, "", "cli", [], data)


def link(id: str, a: str, b: str) -> KandoEvent:
    return event(RELATION_CREATED, id=id, type="near", source_id=a, target_id=b)


# --- where they part ------------------------------------------------------------------------


class Counting(MemoryLedgerStore):
    """A ledger that counts the hashes it is asked for, and the events that are read of it."""

    asked = 0
    read_events = 0

    def digest(self, position: int) -> bytes:
        self.asked += 1
        return super().digest(position)

    def read(self, from_position: int = 0) -> Iterator[RecordedEvent]:
        for each in super().read(from_position):
            self.read_events += 1
            yield each


@settings(deadline=None)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_ledgers_diverge_where_their_events_do(shared: int, only_a: int, only_b: int) -> None:
    beginning = [thing(f"s{n}") for n in range(shared)]
    a, b = MemoryLedgerStore("a"), MemoryLedgerStore("b")
    a.append([*beginning])
    b.append(list(a.read_all()))
    a.append([thing(f"a{n}") for n in range(only_a)])
    b.append([thing(f"b{n}") for n in range(only_b)])

    assert divergence_position(a, b) == divergence_position(b, a) == shared
    assert divergence_position(a, b, end_a=min(shared, 3)) == min(shared, 3)


def test_finding_the_divergence_position_reads_no_events_and_few_hashes() -> None:
    a, b = Counting("a"), Counting("b")
    a.append([thing(f"s{n}") for n in range(1000)])
    b.append([*MemoryLedgerStore.read(a), thing("mine")])

    assert divergence_position(a, b) == 1000

    assert a.asked <= 12
    assert a.read_events == b.read_events == 0


# --- worlds ---------------------------------------------------------------------------------

ids, links = st.sampled_from(["a", "b", "c", "d"]), st.sampled_from(["1", "2", "3"])
steps = st.one_of(
    st.builds(lambda id, n: thing(id, n=n), ids, st.integers(0, 2)),
    st.builds(lambda id, n: event(OBJECT_PATCHED, id=id, patch={"m": n}), ids, st.integers(0, 2)),
    st.builds(link, links, ids, ids),
    st.builds(lambda id: event(RELATION_REMOVED, id=id), links),
    st.just(event("note")),
)
histories = st.lists(steps, max_size=25)


def continued(ledger: LedgerStore, history: list[KandoEvent]) -> None:
    """Append those steps that make sense where they stand."""
    world = reproject(ledger)
    for step in history:
        try:
            apply(world, step)
        except RefusedEvent:
            continue
        ledger.append([step])


def applied(found: WorldDiff, a: World) -> World:
    """Return the world that `a` becomes by what was found to differ."""
    changed = found.objects.after(
        [*found.added_objects, *found.patched_objects, *(new for _, new in found.moved_objects)]
    )
    linked = found.relations.after(
        [*found.added_relations, *(new for _, new in found.moved_relations)]
    )
    gone = {*found.removed_objects, *(old for old, _ in found.moved_objects)}
    dropped = {*found.removed_relations, *(old for old, _ in found.moved_relations)}
    b = World()
    b.objects.update({id: each for id, each in a.objects.items() if id not in gone})
    b.objects.update(by_id(changed))
    b.relations.update({id: each for id, each in a.relations.items() if id not in dropped})
    b.relations.update(by_id(linked))
    return b


@pytest.mark.parametrize("by_content", [False, True], ids=["by id", "by content"])
@settings(deadline=None)
@given(histories, histories)
def test_a_diff_applied_to_the_first_world_gives_the_second(
    by_content: bool, one: list[KandoEvent], other: list[KandoEvent]
) -> None:
    ledgers = MemoryLedgerStore("a"), MemoryLedgerStore("b")
    continued(ledgers[0], one)
    continued(ledgers[1], other)
    a, b = map(reproject, ledgers)

    found = diff(a, b, by_content=by_content)

    assert applied(found, a) == b
    assert bool(found) == (a != b)
    assert not diff(a, a, by_content=by_content)
    back = diff(b, a, by_content=by_content)
    assert (back.added_objects, back.removed_objects) == (
        found.removed_objects,
        found.added_objects,
    )


@pytest.fixture(params=["memory", "sqlite"])
def make_substrate(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[type[Substrate]]:
    opened: list[Substrate] = []

    def make() -> Substrate:
        if request.param == "memory":
            return MemorySubstrate()
        opened.append(SQLiteSubstrate(tmp_path / f"store{len(opened)}"))
        return opened[-1]

    yield make  # type: ignore[misc]
    for each in opened:
        each.close()


def by_id(things: Iterable[Any]) -> dict[str, Any]:
    return {each.id: each for each in things}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_comparing_forks_of_forks_finds_what_comparing_whole_worlds_finds(
    data: st.DataObject,
) -> None:
    substrate: Substrate = MemorySubstrate()
    names = ["r"]
    continued(substrate.create("r"), data.draw(histories))
    ours = substrate.open("r")
    assert not compare(ours, ours).world
    for number in range(data.draw(st.integers(1, 4))):
        parent = data.draw(st.sampled_from(names))
        position = data.draw(st.integers(0, substrate.open(parent).length()))
        names.append(f"b{number}")
        continued(fork(substrate, parent, position, names[-1]), data.draw(histories))
    a, b = (substrate.open(data.draw(st.sampled_from(names))) for _ in range(2))

    found = compare(a, b)

    whole = diff(reproject(a), reproject(b))
    patched = found.world.patched_objects
    assert {id: found.world.objects[id].fields for id in patched} == {
        id: whole.objects[id].fields for id in whole.patched_objects
    }
    moved = found.world.moved_objects
    removed = [*found.world.removed_objects, *(old for old, _ in moved)]
    added = [*found.world.added_objects, *(new for _, new in moved)]
    before, after = found.world.objects.before(removed), found.world.objects.after(added)
    assert (by_id(before), by_id(after)) == (
        by_id(whole.objects.before(whole.removed_objects)),
        by_id(whole.objects.after(whole.added_objects)),
    )
    assert applied(found.world, reproject(a)) == reproject(b)
    if a is b:
        assert not found.world
        assert not found.steps
        assert found.shared == a.length()
    shared = found.shared
    assert list(a.read_all())[:shared] == list(b.read_all())[:shared]
    assert [a.at(shared)] == [None] or a.at(shared) != b.at(shared)


def test_a_relation_to_an_object_that_was_replaced_later_is_compared() -> None:
    substrate = MemorySubstrate()
    parent = substrate.create("p")
    objects = [create("X", {"v": 1}, id="x"), create("Y", {}, id="y")]
    Runtime(parent, []).run([*objects, relate("near", "x", "y", id="r"), create("X", {}, id="x")])
    branch = fork(substrate, "p", 4, "b")
    Runtime(branch, []).run([unrelate("r"), patch("x", {"p": 1})])

    found = compare(parent, branch).world

    assert found.summary() == "~1 objects patched, -1 relations"
    assert found.patched_objects == ["x"]


def test_the_comparison_is_the_same_on_every_substrate(make_substrate: type[Substrate]) -> None:
    substrate = make_substrate()
    parent = substrate.create("r")
    parent.append(
        [thing("a"), thing("b", x=1), link("1", "a", "b"), event("note"), thing("c", y=1)]
    )
    branch = fork(substrate, "r", 4, "b1")
    branch.append(
        [
            event(OBJECT_PATCHED, id="b", patch={"x": 2}),
            event(RELATION_REMOVED, id="1"),
            thing("d", y=2),
            link("2", "d", "a"),
        ]
    )

    found = compare(parent, branch)

    assert found.shared == 4
    assert found.world.summary() == (
        "+1 objects, -1 objects, ~1 objects patched, +1 relations, -1 relations"
    )
    assert found.world.patched_objects == ["b"]
    assert found.world.objects["b"].fields == {"x": (1, 2)}
    assert found
    assert (
        found.summary()
        == f"{found.world.summary()}; steps: 1 only in the first, 4 only in the second"
    )
    same = compare(parent, branch, 4, 4)
    assert (same.world, bool(same), same.summary()) == (WorldDiff(), False, "no changes")
    empty = project([thing("one")]), project([thing("other")])
    assert diff(*empty, by_content=True).summary() == "+1 objects, -1 objects"


def test_the_events_that_two_ledgers_share_are_not_read() -> None:
    a = Counting("a")
    a.append([thing(f"s{n}") for n in range(1000)])
    b = Counting("b")
    b.append([*MemoryLedgerStore.read(a)])
    a.append([event("note")])
    b.append([event("note", n=1)])

    found = compare(a, b)

    assert found.shared == 1000
    assert a.read_events == b.read_events == 1


def test_objects_with_derived_ids_are_not_searched_for() -> None:
    substrate, cache = MemorySubstrate(), LLMCache()
    parent = substrate.create("r")
    run_on(parent, cache, [thing("goal"), *(event("note", n=n) for n in range(500))])
    copy = Counting("r")
    copy.append(list(parent.read_all()))
    fork_at = next(e.position for e in parent.read_all() if e.actor == "on_goal")
    branch = fork(substrate, "r", fork_at, "b1")

    found = compare(copy, branch)

    assert found.world.summary() == "-1 objects, -1 relations"
    assert found.shared == fork_at > 500
    assert copy.read_events == copy.length() - fork_at


def test_one_and_true_are_not_the_same_json() -> None:
    a, b = project([thing("x", n=1)]), project([thing("x", n=True)])

    assert [change.fields for change in diff(a, b).objects.values()] == [{"n": (1, True)}]


def test_objects_and_relations_with_other_ids_are_matched_by_type_and_content() -> None:
    a = project([thing("a1", x=1), thing("a2", x=2), thing("a3"), link("r1", "a1", "a2")])
    b = project([thing("b2", x=2), thing("b1", x=1), thing("b9", x=9), link("r9", "b1", "b2")])

    assert diff(a, b).summary() == "+3 objects, -3 objects, +1 relations, -1 relations"
    found = diff(a, b, by_content=True)

    assert found.moved_objects == [("a1", "b1"), ("a2", "b2")]
    assert found.moved_relations == [("r1", "r9")]
    assert found.added_objects == ["b9"]
    assert found.removed_objects == ["a3"]
    assert found.summary() == (
        "+1 objects, -1 objects, 2 objects under other ids, 1 relations under other ids"
    )


def test_a_relation_between_other_objects_is_another_relation() -> None:
    def world_of(*ends: str) -> World:
        world = World()
        for id in "abc":
            world.objects[id] = WorldObject(id, "T", {})
        id = f"r{''.join(ends)}"
        world.relations[id] = Relation(id, "near", *ends)
        return world

    found = diff(world_of("a", "b"), world_of("a", "c"), by_content=True)

    assert not found.moved_relations
    assert found.summary() == "+1 relations, -1 relations"


# --- steps, cost ----------------------------------------------------------------------------


def responders(*, status: str = "completed", answer: str = "yes", extra: bool = False):
    def on_goal(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        claim = yield create("Claim", {"status": "pending"})
        yield relate("about", claim, event)
        yield ask([{"role": "user", "content": "Is it?"}], about=claim)

    def on_answer(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        answered = {"status": status, "text": event.data["text"]}
        yield patch(event.data["cause_object_id"], answered)
        if extra:
            yield create("Remark", {})

    def complete(request: dict[str, object]) -> dict[str, object]:
        usage = {"input_tokens": 7, "output_tokens": 3}
        return {"text": answer, "model": "m", "cost_usd": 0.5, "usage": usage}

    return [
        Responder("on_goal", frozenset({OBJECT_CREATED}), on_goal, object_type="T"),
        Responder("on_answer", frozenset({LLM_RESPONSE}), on_answer),
        provider_executor(complete),  # type: ignore[arg-type]
    ]


def run_on(ledger: LedgerStore, cache: LLMCache, seeds: list[KandoEvent], **how: object) -> None:
    made = responders(**how)  # type: ignore[arg-type]
    Runtime(ledger, made, cache=cache, edge_logic=()).run(seeds)


def test_a_changed_step_is_reported_with_its_fields_and_others_are_aligned() -> None:
    substrate, cache = MemorySubstrate(), LLMCache()
    parent = substrate.create("r")
    run_on(parent, cache, [thing("goal")])
    branch = fork(substrate, "r", 1, "b1")
    run_on(branch, cache, [], status="done", extra=True)

    found = compare(parent, branch)

    (change,) = found.steps.changed
    assert (change.before.type, change.before.actor) == (OBJECT_PATCHED, "on_answer")
    assert change.fields == {"data.patch.status": ("completed", "done")}
    assert found.steps.only_a == []
    assert [each.data["type"] for each in found.steps.only_b] == ["Remark"]
    assert found.steps.summary() == "1 changed, 1 only in the second"
    assert found.shared == 1


def test_an_unchanged_branch_differs_only_in_cost() -> None:
    substrate, cache = MemorySubstrate(), LLMCache()
    parent = substrate.create("r")
    run_on(parent, cache, [thing("goal")])
    branch = fork(substrate, "r", 2, "b1")
    run_on(branch, cache, [])

    found = compare(parent, branch)

    assert not found.world
    assert not found.steps
    assert found.steps.summary() == "no changes"
    used = [(side.tail.llm.cost_usd, side.tail.llm.cached) for side in (found.a, found.b)]
    assert used == [(0.5, 0), (0.0, 1)]
    tokens = [
        (side.tail.llm.input_tokens, side.tail.llm.output_tokens) for side in (found.a, found.b)
    ]
    assert tokens == [(7, 3), (0, 0)]
    assert (found.a.stream, found.b.stream) == ("run:r", "branch:b1")


class EventByEvent(MemoryLedgerStore):
    """A ledger that returns no firing as one item."""

    def read_firings(self, from_position: int = 0) -> Iterator[RecordedEvent | Firing]:
        return self.read(from_position)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_comparing_firings_finds_what_comparing_their_events_finds(data: st.DataObject) -> None:
    substrate, cache = MemorySubstrate(), LLMCache()
    parent = substrate.create("r")
    run_on(parent, cache, [thing("goal"), thing("other"), event("note")])
    position = data.draw(st.integers(0, parent.length()))
    branch = fork(substrate, "r", position, "b1")
    answer = data.draw(st.sampled_from(["yes", "no"]))
    seeds = data.draw(st.sampled_from([[], [thing("goal", x=1)], [thing("third")]]))
    extra = data.draw(st.booleans())
    # A firing that began before the fork may not have other outputs.
    with suppress(ReplayDivergence):
        run_on(branch, cache, seeds, status="done", extra=extra, answer=answer)
    ends = [data.draw(st.integers(0, each.length())) for each in (parent, branch)]
    copies = EventByEvent("r"), EventByEvent("b1")
    for copy, ledger in zip(copies, (parent, branch), strict=True):
        copy.append(list(ledger.read_all()))

    found, other = compare(parent, branch, *ends), compare(*copies, *ends)

    assert found.shared == other.shared
    assert (found.a.tail, found.b.tail) == (other.a.tail, other.b.tail)
    assert (found.world, found.steps) == (other.world, other.steps)


def test_two_unrelated_runs_are_aligned_step_by_step() -> None:
    one, other = MemoryLedgerStore("one"), MemoryLedgerStore("other")
    run_on(one, LLMCache(), [thing("goal")])
    run_on(other, LLMCache(), [thing("unrelated"), thing("goal")], answer="no")

    found = compare(one, other)

    assert found.shared == 0
    assert [c.fields for c in found.steps.changed if c.before.type == LLM_RESPONSE] == [
        {"data.text": ("yes", "no")}
    ]
