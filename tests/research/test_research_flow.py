"""A research run from the goal to the synthesis."""

from __future__ import annotations

from typing import Any

import pytest

from kando.errors import InvalidData
from kando.schema.events import (
    LLM_REQUEST,
    LLM_RESPONSE,
    OBJECT_CREATED,
    OBJECT_PATCHED,
    make_event,
)
from kits.research import kit as research_kit
from kits.research.kit import (
    ANSWERS,
    CITES,
    DECOMPOSES_INTO,
    FINDING,
    GOAL,
    QUESTION,
    SOURCE,
    SYNTHESIS,
    SYNTHESIZES,
    create_kit,
    kit,
    seed_from_goal,
)

STEM = "Understand AI safety"


def test_the_constants_are_the_names_of_the_types():
    assert tuple(kit.object_types) == (GOAL, QUESTION, SOURCE, FINDING, SYNTHESIS)
    assert tuple(kit.relation_types) == (DECOMPOSES_INTO, ANSWERS, SYNTHESIZES, CITES)


def test_every_name_in_all_exists():
    for name in research_kit.__all__:
        assert getattr(research_kit, name) is not None


def test_a_goal_becomes_one_seed_event_by_cli():
    (seed,) = seed_from_goal(STEM, "r1")

    assert (seed.type, seed.source, seed.actor, seed.cause) == (
        OBJECT_CREATED,
        "run:r1",
        "cli",
        [],
    )
    assert (seed.data["type"], seed.data["data"]) == ("Goal", {"text": STEM})


def test_create_kit_returns_equal_responders_each_time():
    one, other = create_kit(), kit.create()

    assert [each.name for each in one] == [each.name for each in other] == kit.firing_order()


def test_a_goal_decomposes_into_three_questions(research):
    world = research.run()

    (goal,) = world.objects_of(GOAL)
    relations = world.get_relations(goal.id, DECOMPOSES_INTO)
    assert [world.objects[each.target_id].data["text"] for each in relations] == [
        f"{STEM}: what is claimed?",
        f"{STEM}: what evidence supports or contradicts it?",
        f"{STEM}: what remains open?",
    ]
    assert all(each.source_id == goal.id for each in relations)


def test_each_question_has_a_pending_finding_with_a_request(research):
    world = research.run()

    created = [e for e in research.events(OBJECT_CREATED) if e.data["type"] == FINDING]
    assert [e.data["data"]["status"] for e in created] == ["pending"] * 3
    answered = [
        relation.source_id
        for question in world.objects_of(QUESTION)
        for relation in world.get_relations(question.id, ANSWERS)
    ]
    assert answered == [e.data["id"] for e in created]
    assert [e.data["cause_object_id"] for e in research.events(LLM_REQUEST)] == answered


def test_answers_complete_their_findings(research):
    world = research.run()

    for finding, question in zip(
        world.objects_of(FINDING), world.objects_of(QUESTION), strict=True
    ):
        asked = question.data["text"]
        assert finding.data["status"] == "completed"
        assert finding.data["text"] == f"Answer to: Question: {asked} [1]"


def test_one_synthesis_of_the_goal_quotes_every_finding(research):
    world = research.run()

    (synthesis,) = world.objects_of(SYNTHESIS)
    (relation,) = world.get_relations(synthesis.id, SYNTHESIZES)
    assert world.objects[relation.target_id].type == GOAL
    assert synthesis.data["status"] == "completed"
    assert "3 of 3 questions answered." in synthesis.data["text"]
    for finding in world.objects_of(FINDING):
        assert f"> {finding.data['text']}" in synthesis.data["text"]


def test_the_synthesis_comes_after_the_last_finding_is_complete(research):
    research.run()

    completed = [e.position for e in research.events(OBJECT_PATCHED)]
    (synthesis,) = [e for e in research.events(OBJECT_CREATED) if e.data["type"] == SYNTHESIS]
    assert len(completed) == 3
    assert synthesis.position > max(completed)


def test_without_a_provider_findings_stay_pending_and_there_is_no_synthesis(research):
    world = research.run(complete=None)

    assert [each.data["status"] for each in world.objects_of(FINDING)] == ["pending"] * 3
    assert len(research.events(LLM_REQUEST)) == 3
    assert not world.objects_of(SYNTHESIS)


def test_a_run_resumes_when_a_provider_is_added(research):
    research.run(complete=None)

    world = research.resume()

    assert [each.data["status"] for each in world.objects_of(FINDING)] == ["completed"] * 3
    assert "3 of 3 questions answered." in research.synthesis().data["text"]


def test_a_failed_answer_fails_its_finding_and_the_synthesis_says_so(research, answer):
    def failing_once(request: dict[str, Any]) -> dict[str, Any]:
        if "evidence" in request["messages"][-1]["content"]:
            return {"error": {"type": "Overloaded", "message": "try\nlater"}, "cost_usd": 0.0}
        return answer(request)

    world = research.run(complete=failing_once)

    findings = world.objects_of(FINDING)
    assert [each.data["status"] for each in findings] == ["completed", "failed", "completed"]
    assert findings[1].data["error"] == "try later"
    synthesis = research.synthesis().data
    assert synthesis["status"] == "completed"
    assert "2 of 3 questions answered." in synthesis["text"]
    assert "No answer: try later" in synthesis["text"]


@pytest.mark.parametrize("text", ["", " \n", None, 7])
def test_an_answer_without_text_fails_its_finding(research, text):
    world = research.run(complete=lambda request: {"text": text, "cost_usd": 0.0})

    assert {each.data["error"] for each in world.objects_of(FINDING)} == {"the answer has no text"}
    assert "0 of 3 questions answered." in research.synthesis().data["text"]


def test_a_refusal_fails_its_finding(research):
    no = {"text": "I will not.", "stop": "refusal", "cost_usd": 0.0}

    world = research.run(complete=lambda request: no)

    assert {each.data["status"] for each in world.objects_of(FINDING)} == {"failed"}
    assert {each.data["error"] for each in world.objects_of(FINDING)} == {
        "the model refused: I will not."
    }


def test_an_answer_after_a_failure_completes_the_finding_and_the_synthesis_follows(research):
    research.run(complete=lambda request: {"error": "no", "cost_usd": 0.0})
    finding = research.objects(FINDING)[0]
    body = {"text": "At last.", "model": "m", "cost_usd": 0.0, "cause_object_id": finding.id}

    research.runtime(None).run([make_event(LLM_RESPONSE, "run:r1", "cli", [], body)])

    assert research.objects(FINDING)[0].data == {
        "status": "completed",
        "text": "At last.",
        "error": None,
    }
    assert "1 of 3 questions answered." in research.synthesis().data["text"]
    assert "> At last." in research.synthesis().data["text"]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (2, 1, 0)])
@pytest.mark.parametrize("is_at_once", [True, False])
def test_there_is_one_synthesis_in_whatever_order_answers_arrive(research, order, is_at_once):
    research.run(complete=None)
    findings = research.objects(FINDING)
    answers = [
        make_event(
            LLM_RESPONSE,
            "run:r1",
            "someone-else",
            [],
            {"text": f"A{n}", "model": "m", "cost_usd": 0.0, "cause_object_id": findings[n].id},
        )
        for n in order
    ]

    for batch in [answers] if is_at_once else [[each] for each in answers]:
        research.runtime(None).run(batch)

    assert research.synthesis().id == f"synthesis-of-{research.objects(GOAL)[0].id}"
    assert "3 of 3 questions answered." in research.synthesis().data["text"]


def test_later_answers_to_a_finding_are_ignored(research):
    research.run()
    before = research.objects(FINDING)
    body = {"text": "Other", "model": "m", "cost_usd": 0.0, "cause_object_id": before[0].id}

    research.runtime(None).run([make_event(LLM_RESPONSE, "run:r1", "cli", [], body)])

    assert research.objects(FINDING) == before


def test_a_corrected_finding_updates_the_synthesis(research):
    research.run()
    finding = research.objects(FINDING)[0]
    body = {"id": finding.id, "patch": {"text": "Corrected."}}

    research.runtime(None).run([make_event(OBJECT_PATCHED, "run:r1", "cli", [], body)])

    assert "> Corrected." in research.synthesis().data["text"]
    assert finding.data["text"] not in research.synthesis().data["text"]


def test_a_repeated_goal_creates_no_new_questions(research):
    research.run()

    research.runtime(None).run(seed_from_goal(STEM, "r1"))

    assert len(research.objects(QUESTION)) == 3


def test_another_goal_on_the_same_ledger_gets_its_own_synthesis(research):
    research.run()

    world = research.runtime().run(seed_from_goal("Understand tides", "r1"))

    assert len(world.objects_of(FINDING)) == 6
    texts = [each.data["text"] for each in world.objects_of(SYNTHESIS)]
    assert ["3 of 3 questions answered." in text for text in texts] == [True, True]
    assert "tides" not in texts[0]
    assert "AI safety" not in texts[1]


def test_data_that_does_not_match_its_declared_type_is_refused(research):
    body = {"type": FINDING, "data": {"status": "done", "text": ""}}

    with pytest.raises(InvalidData, match="status"):
        research.runtime().run([make_event(OBJECT_CREATED, "run:r1", "cli", [], body)])

    assert research.events() == []
