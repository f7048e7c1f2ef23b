"""The rules of the graph hold for random graphs: valid plans, order, cycles, late relations, blocks."""

from __future__ import annotations

from itertools import pairwise, permutations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kando.schema.events import OBJECT_PATCHED, RELATION_CREATED, make_event
from kits.planning._graph import mended, problems_in
from kits.planning._types import Step

NAMES = ("a", "b", "c", "d", "e")

few = settings(deadline=None, max_examples=15, suppress_health_check=list(HealthCheck))

#: Steps that may depend on any name, itself and an unknown one included.
any_steps = st.dictionaries(
    st.sampled_from(NAMES), st.lists(st.sampled_from((*NAMES, "x")), max_size=3), max_size=5
)


@st.composite
def plans(draw, least=1):
    """Return the steps of a valid plan in any order."""
    order = draw(st.permutations(NAMES[: draw(st.integers(least, 5))]))
    steps = {
        name: draw(st.lists(st.sampled_from(order[:n]), unique=True, max_size=3)) if n else []
        for n, name in enumerate(order)
    }
    return {name: steps[name] for name in draw(st.permutations(order))}


def can_be_ordered(steps):
    """Whether some order of the steps has each after all that it depends on."""
    return any(
        all(needed in order[: order.index(name)] for name in order for needed in steps[name])
        for order in permutations(steps)
    )


def needs(run, id):
    world = run.world
    found = [*world.targets(id, "depends_on"), *world.sources(id, "blocks")]
    return {each.id for each in found}


def assert_consistent(run):
    """Check that no cycle exists, that each done task rests on done ones, and that no work is left."""
    statuses = {each.id: each.data["status"] for each in run.world.objects_of("Task")}
    rests = {id: needs(run, id) for id in statuses}
    while free := [id for id, needed in rests.items() if not needed & rests.keys()]:
        for id in free:
            del rests[id]
    assert not rests, "a cycle"
    for id, status in statuses.items():
        needed = {statuses[each] for each in needs(run, id)}
        assert status in ("done", "failed", "replaced", "pending")
        if status == "done":
            assert needed <= {"done"}
        if status == "pending":
            assert needed - {"done"}


def assert_in_order(run):
    """Check that each attempt began when all that its task waited for was done."""
    done, needed = set(), {}
    for event in run.events():
        data = event.data
        if event.type == RELATION_CREATED and data["type"] == "depends_on":
            needed.setdefault(data["source_id"], {})[data["id"]] = data["target_id"]
        elif event.type == RELATION_CREATED and data["type"] == "blocks":
            needed.setdefault(data["target_id"], {})[data["id"]] = data["source_id"]
        elif event.type == "relation.removed":
            for each in needed.values():
                each.pop(data["id"], None)
        elif event.type == OBJECT_PATCHED and data["id"].startswith("task-"):
            status = data["patch"].get("status")
            if status == "working":
                assert set(needed.get(data["id"], {}).values()) <= done
            if status is not None:
                done = done | {data["id"]} if status == "done" else done - {data["id"]}


@settings(deadline=None)
@given(any_steps)
def test_a_proposal_is_refused_exactly_if_no_order_of_its_tasks_exists(steps):
    proposed = [Step(name, "Do it", needed) for name, needed in steps.items()]

    assert bool(problems_in(proposed, 5)) == (not steps or not can_be_ordered(steps))


@settings(deadline=None)
@given(any_steps)
def test_a_mended_proposal_is_a_plan_unless_it_has_a_cycle(steps):
    found = mended([Step(name, name, needed) for name, needed in steps.items()], 5)

    rest = {name: [e for e in steps[name] if e in steps and e != name] for name in steps}
    assert {each.name: each.depends_on for each in found.steps} == rest
    assert bool(problems_in(found.steps, 5)) == (not steps or not can_be_ordered(rest))


@settings(deadline=None)
@given(plans(), st.data())
def test_a_step_that_closes_a_cycle_is_refused_with_all_its_names(steps, data):
    first = data.draw(st.sampled_from([*steps]))
    steps = {**steps, first: [*steps[first], "z"], "z": [first]}

    (problem,) = problems_in([Step(name, "Do it", [*steps[name]]) for name in steps], 9)

    assert problem.startswith("a cycle: ")
    names = problem.removeprefix("a cycle: ").split(" depends on ")
    assert names[0] == names[-1]
    assert all(later in steps[earlier] for earlier, later in pairwise(names))


@few
@given(plans())
def test_all_tasks_of_a_valid_plan_are_done_once_each_after_those_it_depends_on(planner, steps):
    run = planner([steps])
    run.run()

    assert run.statuses() == dict.fromkeys(steps, "done")
    assert len(run.world.objects_of("Outcome")) == len(steps)
    assert_in_order(run)
    assert_consistent(run)


@few
@given(plans(), st.data())
def test_failures_stop_only_what_rests_on_them(planner, failed, steps, data):
    failing = data.draw(st.sets(st.sampled_from([*steps])))
    results = {name: [failed("no")] for name in failing}
    run = planner([steps], results=results, settings={"retries": 0, "replans": 0})
    run.run()

    def state(name):
        states = {state(each) for each in steps[name]}
        if states - {"done"}:
            return "pending"
        return "failed" if name in failing else "done"

    assert run.statuses() == {name: state(name) for name in steps}
    assert_in_order(run)
    assert_consistent(run)


@few
@given(
    plans(least=2),
    st.lists(
        st.tuples(st.sampled_from(["depends_on", "blocks"]), st.integers(0, 4), st.integers(0, 4)),
        max_size=5,
    ),
    st.integers(0, 3),
    st.data(),
)
def test_any_relations_that_a_person_sends_at_any_time_leave_a_consistent_plan(
    planner, failed, steps, relations, after, data
):
    failing = data.draw(st.sets(st.sampled_from([*steps]), max_size=1))
    run = planner([steps], [{"y": []}], {name: [failed("no")] for name in failing})
    run.run()
    ids = [each.id for each in run.world.objects_of("Task")]
    sent = [
        make_event(
            RELATION_CREATED,
            "",
            "ann",
            [],
            {"type": kind, "source_id": ids[a % len(ids)], "target_id": ids[b % len(ids)]},
        )
        for kind, a, b in relations
    ]
    # Some together, the others one by one.
    if sent[:after]:
        run.send(*sent[:after])
    for each in sent[after:]:
        run.send(each)

    assert_in_order(run)
    assert_consistent(run)
    assert run.runtime().replay(strict=True) == run.world
    plan = run.world.objects["plan.md-of-goal"].data
    done = sum(status == "done" for status in run.statuses().values())
    assert f"{done} of " in plan["text"]


@pytest.mark.parametrize("kind", ["depends_on", "blocks"])
def test_a_relation_that_closes_a_cycle_is_removed_and_noted(planner, kind):
    run = planner([{"first": [], "second": ["first"]}])
    run.run()
    ends = {"source_id": run.id("first"), "target_id": run.id("second")}
    if kind == "blocks":
        ends = {"source_id": ends["target_id"], "target_id": ends["source_id"]}
    run.send(make_event(RELATION_CREATED, "", "ann", [], {"type": kind, **ends}))

    assert len([r for r in run.world.relations.values() if r.type == kind]) == (
        1 if kind == "depends_on" else 0
    )
    assert run.statuses() == {"first": "done", "second": "done"}
    assert "- it cannot wait for second, which waits for it" in run.artifact()


def test_a_block_stops_a_task_and_reopens_what_rests_on_it(planner, done):
    run = planner(
        [{"base": [], "wall": ["base"], "roof": ["wall"], "test": ["base"]}],
        results={"test": [done("The base is too weak.", **{"Mend it": ["base"]}), done("fine")]},
    )
    run.run()

    assert run.statuses() == dict.fromkeys(("base", "wall", "roof", "test", "obstacle 1"), "done")
    by_task = {
        each.data["name"]: [o.data["status"] for o in run.world.targets(each.id, "produces")]
        for each in run.world.objects_of("Task")
    }
    assert by_task == {
        "base": ["withdrawn", "done"],
        "wall": ["withdrawn", "done"],
        "test": ["withdrawn", "done"],
        "roof": ["withdrawn", "done"],
        "obstacle 1": ["done"],
    }
    assert_in_order(run)
    assert_consistent(run)


def test_a_late_answer_to_a_stopped_attempt_is_ignored(planner, done):
    plan = [{"name": "a", "title": "Ask"}, {"name": "b", "title": "Find out", "kind": "question"}]
    run = planner(
        [plan],
        results={"a": [done("It needs a permit.", **{"Get a permit": ["b"]})]},
        settings={"kits": {"question": "research"}},
    )
    run.run()
    stopped, again = run.events("run.requested")
    run.end_child(stopped, result="too early")
    assert run.statuses() == {"a": "done", "b": "working", "obstacle 1": "done"}

    run.end_child(again, result="with a permit")
    attempts = [each.data for each in run.world.targets(run.id("b"), "produces")]
    assert [each["status"] for each in attempts] == ["withdrawn", "done"]
    assert [each["text"] for each in attempts] == ["", "with a permit"]
    assert "too early" not in run.artifact()


def test_a_task_may_block_itself_until_an_obstacle_is_done(planner, done, failed):
    run = planner(results={"a": [failed("It is locked.", **{"Find the key": ["a"]}), done("open")]})
    run.run()

    assert run.statuses() == {"a": "done", "obstacle 1": "done"}
    assert run.asked["a"] == 2


def test_obstacles_are_limited(planner, failed):
    endless = failed("It is locked.", **{"Find the key": ["a"]})
    run = planner(results={"a": [endless]}, settings={"obstacles": 2, "replans": 0, "retries": 0})
    run.run()

    assert run.statuses() == {"a": "failed", "obstacle 1": "done", "obstacle 2": "done"}


def test_a_block_that_is_removed_frees_its_task(planner, failed):
    run = planner(
        [{"a": [], "b": []}],
        results={"b": [failed("no")]},
        settings={"replans": 0, "retries": 0},
    )
    run.run()
    block = {"id": "block", "type": "blocks", "source_id": run.id("b"), "target_id": run.id("a")}
    run.send(make_event(RELATION_CREATED, "", "ann", [], block))
    assert run.statuses() == {"a": "pending", "b": "failed"}
    assert "a: not done, waits for b" in run.artifact()

    run.send(make_event("relation.removed", "", "ann", [], {"id": "block"}))
    assert run.statuses() == {"a": "done", "b": "failed"}
    assert "1 of 2 tasks is done." in run.artifact()


def test_each_problem_of_a_proposal_is_reported_once_and_at_most_ten():
    repeated = [Step("mirror", "t", ["mirror"])] * 12
    many = [Step(name, "t", [name]) for name in "abcdefghijkl"]

    assert problems_in(repeated, 20) == [
        "mirror depends on itself",
        "the name mirror is used twice",
    ]
    assert len(problems_in(many, 20)) == 10
