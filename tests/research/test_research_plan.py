"""The plan: if there are documents, a model proposes the three questions."""

from __future__ import annotations

from itertools import islice

import pytest

from kando.ledger.memory import MemoryLedgerStore
from kando.schema.events import LLM_REQUEST
from kits.research._texts import planned_questions
from kits.research.kit import CITES, FINDING, QUESTION

PLANNED = ["What do the tides follow?", "What is unsolved?", "What do tests support?"]
PLAN = {"questions": [*PLANNED, "One too many?"]}
TEMPLATE = "Understand AI safety: what is claimed?"


@pytest.fixture
def documents(make_document):
    return [
        make_document("tides.txt", "The tides follow the moon."),
        make_document("safety.txt", "AI safety is unsolved."),
    ]


@pytest.fixture
def planning(answer):
    def complete(request):
        if request["messages"][-1]["content"].startswith("Plan"):
            return {"data": PLAN, "text": "", "cost_usd": 0.0}
        return answer(request)

    return complete


def questions(research):
    return [each.data for each in research.objects(QUESTION)]


def test_the_three_questions_are_those_of_the_plan(research, documents, planning):
    research.run(documents, planning)

    assert questions(research) == [{"text": text, "status": "settled"} for text in PLANNED]
    asked = [e.data["messages"][-1]["content"].splitlines()[-1] for e in research.asked()]
    assert asked == [f"Question: {text}" for text in PLANNED]
    assert "3 of 3 questions answered." in research.synthesis().data["text"]


def test_findings_cite_the_sources_relevant_to_the_planned_question(research, documents, planning):
    world = research.run(documents, planning)

    cited = [
        [world.objects[each.target_id].data["path"] for each in world.get_relations(f.id, CITES)]
        for f in world.objects_of(FINDING)
    ]
    assert cited[0][0] == "tides.txt"
    assert cited[1][0] == "safety.txt"


def test_the_request_for_a_plan_names_documents_without_their_text(research, documents):
    research.run(documents)

    plan = research.events(LLM_REQUEST)[0].data["messages"][-1]["content"]
    assert "> tides.txt\n> safety.txt" in plan
    assert "moon" not in plan


@pytest.mark.parametrize(
    "given",
    [
        {"text": ""},
        {"text": "Echo: Plan the research of a goal. QUESTION: the question"},
        {"data": {"questions": ["Only one?"]}, "text": ""},
        {"data": {"questions": ["Twice?", "Twice?", "\x07"]}, "text": ""},
        {"error": {"message": "overloaded"}},
    ],
)
def test_without_a_usable_plan_the_questions_stay_unchanged(research, documents, answer, given):
    def complete(request):
        is_plan = request["messages"][1]["content"].startswith("Plan")
        return given if is_plan else answer(request)

    research.run(documents, complete)

    assert questions(research)[0] == {"text": TEMPLATE, "status": "settled"}
    assert "3 of 3 questions answered." in research.synthesis().data["text"]


def test_without_a_provider_findings_stay_pending_and_the_plan_is_requested(research, documents):
    world = research.run(documents, complete=None)

    assert [each.data["status"] for each in world.objects_of(FINDING)] == ["pending"] * 3
    assert len(research.events(LLM_REQUEST)) == 1
    assert {each["status"] for each in questions(research)} == {"draft"}

    research.resume()
    assert "3 of 3 questions answered." in research.synthesis().data["text"]


def test_without_documents_no_plan_is_requested(research):
    research.run()

    assert questions(research)[0] == {"text": TEMPLATE, "status": "settled"}
    assert len(research.events(LLM_REQUEST)) == 3


def test_a_run_stopped_anywhere_resumes_to_the_same_ledger(
    research, new_research, documents, planning
):
    world = research.run(documents, planning)
    whole = research.decided()

    assert research.runtime(None).replay(strict=True) == world
    for cut in range(3, len(whole), 2):
        part = new_research()
        part.store = MemoryLedgerStore("r1")
        part.store.append(list(islice(research.store.read_all(), cut)))
        part.resume(planning)
        assert part.decided() == whole, cut


@pytest.mark.parametrize(
    ("questions", "expected"),
    [
        (PLAN["questions"], [*PLANNED, "One too many?"]),
        (["a", "a", "  b"], ["a", "b"]),
        (["\x1b[2J\u202ex"], ["[2J x"]),
        (["", "\x07"], []),
        (["x" * 9000], ["x" * 299 + "…"]),
    ],
)
def test_questions_of_a_plan_are_printable_lines(questions, expected):
    assert planned_questions(questions) == expected


def test_the_settings_say_how_many_questions_there_are(research, documents, planning):
    research.settings = {"questions": 2}

    research.run(documents, planning)

    assert [each["text"] for each in questions(research)] == PLANNED[:2]
    plan = research.events(LLM_REQUEST)[0].data["messages"][-1]["content"]
    assert "Which 2 questions" in plan


def test_the_settings_name_the_model_of_each_step(research, documents, planning):
    research.settings = {"model": "small", "models": {"plan": "large"}, "max_tokens": 99}

    research.run(documents, planning)

    asked = [(e.data["model"], e.data["max_tokens"]) for e in research.events(LLM_REQUEST)]
    assert asked == [("large", 99), ("small", 99), ("small", 99), ("small", 99)]
