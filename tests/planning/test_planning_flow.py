"""From a goal to a plan: proposals, attempts, retries, replacements, approvals and child runs."""

from __future__ import annotations

import pytest

from kando.app.status import read_status
from kando.errors import InvalidData
from kando.schema.events import (
    APPROVAL_DENIED,
    APPROVAL_GRANTED,
    APPROVAL_REQUESTED,
    OBJECT_CREATED,
    RUN_REQUESTED,
    make_event,
)
from kando.views.approvals import open_approvals

TRIANGLE = {"a": [], "b": ["a"], "c": ["a", "b"]}


def started(run):
    """Return the names of the tasks in the order of their attempts."""
    names = {o.id: o.data["name"] for o in run.world.objects_of("Task")}
    produced = [e for e in run.events("relation.created") if e.data["type"] == "produces"]
    return [names[each.data["source_id"]] for each in produced]


def attempts(run, name):
    """Return the statuses of the attempts at a task."""
    return [each.data["status"] for each in run.world.targets(run.id(name), "produces")]


def test_a_task_is_attempted_when_all_it_depends_on_is_done(planner):
    run = planner([{"c": ["a", "b"], "b": ["a"], "a": []}])
    run.run()

    assert started(run) == ["a", "b", "c"]
    assert set(run.statuses().values()) == {"done"}
    assert "3 of 3 tasks are done." in run.artifact()


def test_tasks_that_wait_for_nothing_are_attempted_together(planner):
    run = planner([{"a": [], "b": [], "c": []}])
    run.run()

    first = [e.type for e in run.events() if e.type in ("llm.request", "llm.response")]
    assert first == ["llm.request", "llm.response", *["llm.request"] * 3, *["llm.response"] * 3]


def test_a_later_task_sees_the_results_of_earlier_ones(planner, done):
    run = planner([{"a": [], "b": ["a"]}], results={"a": [done("The deck is rotten.")]})
    run.run()

    assert "- a (done): Do a\n  > The deck is rotten." in run.requests[-1]


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        ({"a": ["b"], "b": ["a"]}, "a cycle: a depends on b depends on a"),
        ({"a": ["a"]}, "a depends on itself"),
        ({"a": ["x"]}, "a depends on x, which is not one of the tasks"),
        ({}, "the plan has no task"),
        ({name: [] for name in "abcde"}, "the plan has 5 tasks; at most 4 are allowed"),
        ([{"name": "A", "title": "t"}, {"name": " a", "title": "t"}], "the name a is used twice"),
        ([{"name": " ", "title": "t"}], "task number 1 has no name or no title"),
        ([{"name": "a", "title": " "}], "task a has no name or no title"),
    ],
)
def test_an_invalid_proposal_is_refused_with_words_and_repaired_once(planner, plan, reason):
    run = planner([plan, {"x": [], "y": ["X "]}], settings={"tasks": 4})
    run.run()

    assert f"- {reason}" in run.requests[1]
    assert run.statuses() == {"x": "done", "y": "done"}
    assert f"The first proposal was refused: {reason}" in run.artifact()


@pytest.mark.parametrize(
    ("plan", "statuses", "told"),
    [
        ({"a": ["a", "x"]}, {"a": "done"}, ["- it was to depend on itself", "depend on x, which"]),
        (
            [
                {"name": "a", "title": "t"},
                {"name": "A", "title": "u"},
                {"name": "b", "title": "T"},
                {"name": "...", "title": "v"},
                {"name": "...", "title": "..."},
                *({"name": each, "title": each} for each in "cd"),
            ],
            dict.fromkeys(("a", "A 2", "task 4", "c"), "done"),
            [
                "- b, which has the title of an earlier task",
                "- task number 5, which has no name and no title",
                "- d, since at most 4 tasks are allowed",
            ],
        ),
    ],
)
def test_a_second_proposal_is_mended_and_the_report_says_how(planner, plan, statuses, told):
    run = planner([plan], settings={"tasks": 4})
    run.run()

    assert run.asked["plan"] == 2
    assert run.statuses() == statuses
    for each in told:
        assert each in run.artifact()


def test_a_malformed_proposal_is_asked_for_once_more(planner, failed):
    malformed = {"text": "no JSON"}
    run = planner([malformed, {"a": []}], [malformed, {"b": []}], {"a": [failed("no")]})
    run.run()

    assert run.statuses() == {"a": "replaced", "b": "done"}
    assert "Your first proposal was refused:\n- The answer" in run.requests[-2]


CYCLE = {"a": ["b"], "b": ["a"]}


def test_a_cycle_that_is_proposed_twice_is_refused(planner):
    run = planner([CYCLE])
    run.run()

    assert run.asked["plan"] == 2
    assert run.world.objects_of("Goal")[0].data["status"] == "failed"
    assert "**Nothing was done**: no valid plan: a cycle: a depends on b" in run.artifact()
    assert {each.data["status"] for each in run.world.objects_of("Plan")} == {"failed"}


@pytest.mark.parametrize("second", [CYCLE, {"text": "no JSON"}, {}])
def test_the_first_proposal_is_mended_if_the_second_one_cannot_be(planner, second):
    run = planner([{"a": ["x"]}, second])
    run.run()

    assert run.statuses() == {"a": "done"}


def test_an_answer_that_is_cut_off_counts_with_its_whole_tasks_and_the_report_says_so(planner):
    text = '{"items": [{"name": "a", "title": "t"}, {"name": "b", "ti'
    run = planner([{"text": text, "stop": "length"}])
    run.run()

    assert run.statuses() == {"a": "done"}
    assert "The answer with the tasks was cut off at its limit of tokens" in run.artifact()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"error": {"type": "RequestRejected", "message": "no credit"}}, "no credit"),
        ({"text": "I would rather not.", "stop": "refusal"}, "I would rather not"),
        ({"text": "no JSON"}, "JSON"),
    ],
)
def test_without_an_answer_the_report_says_why(planner, answer, reason):
    run = planner([answer])
    run.run()

    assert "**Nothing was done**" in run.artifact()
    assert reason in run.artifact()


def test_a_failed_task_is_attempted_again_and_the_request_says_why_it_failed(planner, done, failed):
    run = planner(results={"a": [failed("no timber"), done("built")]})
    run.run()

    assert attempts(run, "a") == ["failed", "done"]
    assert "This is attempt 2. The earlier ones:\n- failed: no timber" in run.requests[-1]
    assert "- Attempt 1 failed: no timber" in run.artifact()


def test_a_task_that_keeps_failing_is_replaced_and_what_rests_on_it_waits_for_the_others(
    planner, failed
):
    run = planner(
        [TRIANGLE], [{"b1": [], "b2": ["b1"], "b3": ["b1", "a"]}], {"b": [failed("no carpenter")]}
    )
    run.run()

    assert run.statuses() == {
        "a": "done",
        "b": "replaced",
        "c": "done",
        **dict.fromkeys(("b1", "b2", "b3"), "done"),
    }
    assert started(run) == ["a", "b", "b", "b1", "b2", "b3", "c"]
    needed = {each.data["name"] for each in run.world.targets(run.id("c"), "depends_on")}
    assert needed == {"a", "b2", "b3"}
    # They rest on what the replaced task rested on.
    assert [each.data["name"] for each in run.world.targets(run.id("b1"), "depends_on")] == ["a"]
    assert "5 of 5 tasks are done." in run.artifact()


def test_retries_and_replans_end(planner, failed):
    never = [failed("no carpenter")]
    run = planner([TRIANGLE], [{"b1": []}], {"b": never, "b1": never})
    run.run()

    assert run.statuses() == {"a": "done", "b": "replaced", "b1": "failed", "c": "pending"}
    assert "1 of 3 tasks is done." in run.artifact()
    assert "c: not done, waits for b1" in run.artifact()


@pytest.mark.parametrize(("retries", "replans"), [(0, 0), (2, 0), (0, 2)])
def test_the_settings_limit_retries_and_replans(planner, failed, retries, replans):
    results = {name: [failed("no")] for name in "abc"}
    limits = {"retries": retries, "replans": replans}
    run = planner(replans=[{"b": []}, {"c": []}], results=results, settings=limits)
    run.run()

    assert len(attempts(run, "a")) == 1 + retries
    assert [*run.statuses()] == ["a", "b", "c"][: 1 + replans]
    assert [*run.statuses().values()] == [*["replaced"] * replans, "failed"]


@pytest.mark.parametrize(
    ("proposed", "reason", "made"),
    [
        ({"b": []}, "the name b is used twice", {"b 2": "done"}),
        (
            {"d": ["c"]},
            "d depends on c, which is neither one of the new tasks nor done",
            {"d": "done"},
        ),
        ({}, "the plan has no task", {}),
    ],
)
def test_a_replacement_is_checked_like_a_plan(planner, failed, proposed, reason, made):
    run = planner([TRIANGLE], [proposed, {"d": []}], {"b": [failed("no")]})
    run.run()
    assert f"- {reason}" in run.requests[-3]
    assert run.statuses()["b"] == "replaced"

    again = planner([TRIANGLE], [proposed], {"b": [failed("no")]})
    again.run()
    assert again.asked["replan"] == 2
    assert again.statuses() == (
        {"a": "done", "b": "replaced", "c": "done", **made}
        if made
        else {"a": "done", "b": "failed", "c": "pending"}
    )
    assert (f"- Failed: no valid plan: {reason}" in again.artifact()) == (not made)


def test_a_replacement_that_no_model_finds_is_reported(planner, failed):
    error = {"error": {"type": "RequestRejected", "message": "no credit"}}
    run = planner([TRIANGLE], [error], {"b": [failed("no timber")]})
    run.run()

    assert run.statuses()["b"] == "failed"
    assert "- Failed: no timber (no other tasks: no credit)" in run.artifact()


def test_an_attempt_without_a_summary_has_failed(planner, done):
    run = planner(results={"a": [done(" ")]}, settings={"replans": 0})
    run.run()

    assert run.statuses() == {"a": "failed"}


DANGEROUS = [
    {"name": "a", "title": "Look"},
    {
        "name": "pay",
        "title": "Pay \x1b[2J the carpenter",
        "depends_on": ["a"],
        "is_dangerous": True,
    },
]


def test_a_person_approves_each_attempt_at_a_dangerous_task(planner, done, failed):
    run = planner([DANGEROUS], results={"pay": [failed("no cheque"), done("paid")]})
    run.run()

    for expected in ("working", "done"):
        (asked,) = open_approvals(run.events())
        assert asked.reason == "work on the task 'Pay [2J the carpenter'?"
        assert run.statuses() == {"a": "done", "pay": "working"}
        run.send(make_event(APPROVAL_GRANTED, "", "ann", [], {"approval": asked.event_id}))
        assert run.statuses()["pay"] == expected
    assert attempts(run, "pay") == ["failed", "done"]


def test_a_denied_task_fails_at_once(planner):
    run = planner([DANGEROUS])
    run.run()
    (asked,) = open_approvals(run.events())
    denied = {"approval": asked.event_id, "reason": "too dear"}
    run.send(make_event(APPROVAL_DENIED, "", "ann", [], denied))

    assert run.statuses() == {"a": "done", "pay": "failed"}
    assert attempts(run, "pay") == ["failed"]
    assert "too dear" in run.artifact()


@pytest.mark.parametrize(("approval", "asked"), [("none", 0), ("dangerous", 1), ("all", 1)])
def test_the_settings_say_which_tasks_need_approval(planner, approval, asked):
    run = planner([DANGEROUS], settings={"approval": approval})
    run.run()

    assert len(run.events(APPROVAL_REQUESTED)) == asked
    assert run.statuses()["a"] == ("working" if approval == "all" else "done")


QUESTION = [{"name": "a", "title": "Who owns the bridge?", "kind": "question"}]


@pytest.mark.parametrize(
    ("end", "status", "shown"),
    [
        ({"result": "The *town*."}, "done", "> The \\*town\\*."),
        ({"result": {"owner": "town"}}, "done", '> {"owner": "town"}'),
        ({"result": None}, "failed", "the run of research has no result"),
        ({"error": {"type": "RunFailed", "message": "it failed"}}, "failed", "it failed"),
    ],
)
def test_a_kit_of_the_settings_works_on_a_task_as_a_child_run(planner, end, status, shown):
    limits = {"kits": {"question": "research"}, "retries": 0, "replans": 0}
    run = planner([QUESTION], settings=limits)
    run.run()
    (asked,) = run.events(RUN_REQUESTED)
    assert (asked.data["kit"], asked.data["goal"]) == ("research", "Who owns the bridge?")
    assert run.asked == {"plan": 1}

    run.end_child(asked, **end)

    assert run.statuses() == {"a": status}
    assert shown in run.artifact()
    assert run.world.objects_of("Outcome")[0].data["run_id"] == "child"


def test_a_project_is_a_planning_run_until_the_depth_is_used_up(planner):
    project = [{"name": "a", "title": "Build a road", "kind": "project"}]
    run = planner([project], settings={"depth": 2, "retries": 3})
    run.run()
    (asked,) = run.events(RUN_REQUESTED)
    assert (asked.data["kit"], asked.data["goal"]) == ("planning", "Build a road")
    assert (asked.data["settings"]["depth"], asked.data["settings"]["retries"]) == (1, 3)

    flat = planner([project])
    flat.run()
    assert flat.events(RUN_REQUESTED) == []
    assert flat.statuses() == {"a": "done"}


def test_a_person_may_send_a_further_task(planner):
    run = planner()
    run.run()
    more = {"id": "more", "type": "Task", "data": {"name": "b", "title": "Sweep the bridge"}}
    part = {"type": "part_of", "source_id": "more", "target_id": "goal"}
    run.send(
        make_event(OBJECT_CREATED, "", "ann", [], more),
        make_event("relation.created", "", "ann", [], part),
    )

    assert run.statuses() == {"a": "done", "b": "done"}
    assert "2 of 2 tasks are done." in run.artifact()


def test_the_settings_name_the_model_of_each_step(planner, failed):
    models = {"plan_model": "test:large", "work_model": "test:small"}
    run = planner(results={"a": [failed("no")]}, settings=models)
    run.run()

    asked = [e.data["model"] for e in run.events("llm.request")]
    assert asked == ["test:large", "test:small", "test:small", "test:large", "test:small"]


def test_a_plan_without_a_done_task_states_its_problem_until_one_is_done(planner, done, failed):
    run = planner(
        results={"a": [failed("no timber"), done("built")]}, settings={"retries": 0, "replans": 0}
    )
    run.run()
    problem = read_status(run.store)
    assert problem.got_no_answer
    assert problem.problem == "no task was completed"

    again = {"id": run.id("a"), "patch": {"status": "pending"}}
    run.send(make_event("object.patched", "", "ann", [], again))
    assert run.statuses() == {"a": "done"}
    assert read_status(run.store).problem is None


def test_a_request_shows_the_passages_of_documents_that_are_relevant_to_its_task(planner):
    plan = [{"name": "a", "title": "Count the planks."}, {"name": "b", "title": "Paint the rail."}]
    run = planner([plan])
    texts = {"deck.txt": "The deck has 60 planks.", "rail.txt": "The rail is blue."}
    documents = [
        make_event(
            OBJECT_CREATED,
            "",
            "cli",
            [],
            {"type": "Document", "data": {"path": path, "text": text}},
        )
        for path, text in texts.items()
    ]
    run.run("Open it", documents)

    assert "> deck.txt\n> rail.txt" in run.requests[0]
    assert "- deck.txt\n  > The deck has 60 planks." in run.requests[1]
    assert "The deck" not in run.requests[2]


def test_a_kit_for_an_unknown_kind_of_task_is_refused(planner):
    run = planner(settings={"kits": {"x": "research"}})

    with pytest.raises(InvalidData, match=r"data\.kits\['x'\]"):
        run.run()
