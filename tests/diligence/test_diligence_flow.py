"""A diligence run from the goal to the report."""

import re
from itertools import islice

import pytest

from kando.emit import create
from kando.ledger.memory import MemoryLedgerStore
from kando.schema.events import LLM_REQUEST, OBJECT_CREATED, TOOL_CALLED, make_event
from kando.trace.lineage import explain
from kits.diligence.kit import (
    CLAIM,
    COMPANY,
    CONTRADICTION,
    CONTRADICTS,
    DEFAULT_QUESTIONS,
    DEPENDS_ON,
    EVIDENCE,
    MAX_EVIDENCE,
    REPORT,
    SOURCED_FROM,
    SUPPORTS,
    create_kit,
    kit,
    seed_from_goal,
)

FILES = {
    "a.txt": "FACT 1: Acme Corp was founded in 1949.\n\nFACT 2: Acme Corp sells anvils.",
    "b.txt": "FACT 1: Acme Corp was founded in 1952.",
    "c.txt": "FACT 2: Acme Corp sells anvils.\nNothing else.",
}


def test_the_constants_match_the_specification():
    objects = (COMPANY, CLAIM, EVIDENCE, CONTRADICTION, REPORT)
    relations = (SUPPORTS, CONTRADICTS, DEPENDS_ON, SOURCED_FROM)

    assert objects == ("Company", "Claim", "Evidence", "Contradiction", "Report")
    assert relations == ("supports", "contradicts", "depends_on", "sourced_from")
    assert set(kit.object_types) == set(objects)
    assert set(kit.relation_types) == set(relations)


def test_create_kit_returns_equal_responders_each_time():
    names = [each.name for each in create_kit()]

    assert names == [each.name for each in create_kit()]
    assert len(set(names)) == len(names)


def test_a_goal_becomes_one_seed_event_by_cli():
    (seed,) = seed_from_goal("Evaluate Stripe", "r9")

    assert (seed.type, seed.source, seed.actor, seed.cause) == (
        OBJECT_CREATED,
        "run:r9",
        "cli",
        [],
    )
    assert seed.data == {"type": COMPANY, "data": {"name": "Evaluate Stripe"}}


@pytest.mark.parametrize("files", [{}, FILES])
def test_without_a_provider_the_first_claim_stays_pending_and_its_request_is_recorded(
    diligence, files
):
    world = diligence.run(files, complete=None)

    (claim,) = world.objects_of(CLAIM)
    assert claim.data["status"] == "pending"
    (request,) = diligence.events(LLM_REQUEST)
    assert request.data["cause_object_id"] == claim.id
    assert world.objects_of(REPORT) == []


def test_a_pending_claim_is_completed_when_a_provider_is_added(diligence):
    diligence.run(complete=None)

    world = diligence.resume(lambda request: {"text": "It makes anvils.", "cost_usd": 0.0})

    (claim,) = world.objects_of(CLAIM)
    assert (claim.data["status"], claim.data["text"]) == ("completed", "It makes anvils.")
    (report,) = world.objects_of(REPORT)
    (relation,) = world.get_relations(report.id, DEPENDS_ON)
    assert world.objects[relation.target_id].type == COMPANY
    assert "It makes anvils." in report.data["text"]


def test_the_model_plans_the_questions_and_every_source_is_read_with_them(diligence):
    diligence.run(FILES)

    (company,) = diligence.objects(COMPANY)
    assert company.data["questions"] == ["When was it founded?", "What does it sell?"]
    assert list(diligence.claims("reading")) == [f"What {path} says" for path in FILES]
    called = [event.data for event in diligence.events(TOOL_CALLED)]
    assert [each["tool"] for each in called] == ["read_document"] * 3
    assert [each["arguments"]["path"] for each in called] == list(FILES)
    prompts = [e.data["messages"][-1]["content"] for e in diligence.events(LLM_REQUEST)]
    asked = [prompt for prompt in prompts if prompt.startswith("Source:")]
    assert len(asked) == 3
    assert all("2. What does it sell?" in prompt for prompt in asked)


def test_a_plan_without_questions_falls_back_to_the_default_questions(diligence):
    diligence.run(FILES, complete=lambda request: {"text": "Echo: Plan", "cost_usd": 0.0})

    (company,) = diligence.objects(COMPANY)
    assert company.data["questions"] == list(DEFAULT_QUESTIONS)
    assert "0 claims from 0 sources" in diligence.report()
    assert {each["status"] for each in diligence.claims("reading").values()} == {"completed"}


def test_statements_are_linked_to_the_passages_they_cite(diligence):
    world = diligence.run(FILES)

    for claim in world.objects_of(CLAIM):
        if claim.data["kind"] == "statement":
            relations = world.get_relations(claim.id, SOURCED_FROM)
            (evidence,) = (world.objects[each.source_id] for each in relations)
            assert claim.data["statement"] in evidence.data["excerpt"]
            assert evidence.data["path"] == claim.data["source"]
            supporting = world.get_relations(claim.id, SUPPORTS)
            assert evidence.id in {each.source_id for each in supporting}
    questions = {each["statement"]: each["question"] for each in diligence.claims().values()}
    assert questions["Acme Corp sells anvils."] == 2
    assert questions["Acme Corp was founded in 1949."] == 1


def test_every_claim_and_piece_of_evidence_traces_to_a_document_and_the_goal(diligence):
    world = diligence.run(FILES)
    events = diligence.events()

    found = [*world.objects_of(CLAIM), *world.objects_of(EVIDENCE), *world.objects_of(REPORT)]
    assert len(found) > 10
    for each in found:
        steps = explain(each.event_id, events)
        types = [step.data.get("type") for step in steps]
        assert "Document" in types, each
        assert steps[-1].id == "object.created-0"
        if each.data.get("source"):
            paths = {s.data["data"]["path"] for s in steps if s.data.get("type") == "Document"}
            assert each.data["source"] in paths


def test_agreement_between_sources_raises_confidence_and_copies_count_once(diligence):
    copied = {"d.txt": FILES["c.txt"], "e.txt": "FACT 2: Acme Corp sells anvils. Really."}

    diligence.run(FILES | copied)

    by_source = {
        (each.data["source"], each.data["statement"]): each.data["confidence"]
        for each in diligence.objects(CLAIM)
        if each.data["kind"] == "statement"
    }
    assert by_source["a.txt", "Acme Corp sells anvils."] == 80
    assert by_source["d.txt", "Acme Corp sells anvils."] == 80
    assert by_source["e.txt", "Acme Corp sells anvils. Really."] == 60


def test_the_report_has_numbered_citations(diligence):
    diligence.run(FILES)

    report = diligence.report()
    assert report.startswith("# Evaluate Acme Corp\n\nMuch can be found out.\n")
    assert "4 claims from 3 sources; 1 contradiction resolved." in report
    assert "- Acme Corp was founded in 1949. [1] (confidence 5%, see contradiction 1)" in report
    assert "- Acme Corp sells anvils. [1] [2] (confidence 80%)" in report
    for number, path in [(1, "a.txt"), (2, "c.txt"), (3, "b.txt")]:
        assert f"\n{number}. {path}, characters 0-" in report


def test_the_report_is_written_once_after_all_other_changes(diligence):
    diligence.run(FILES)

    created = [e for e in diligence.events(OBJECT_CREATED) if e.data["type"] == REPORT]
    assert len(created) == 1
    changes = diligence.events("object.patched")
    assert max(change.position for change in changes) < created[0].position


def test_the_report_lists_a_source_that_cannot_be_read(diligence):
    diligence.run({"a.txt": FILES["a.txt"], "z.bin": b"\0\1\2"})

    assert "## Not read\n\n- z.bin: binary file" in diligence.report()


def test_a_report_on_thousands_of_claims_fits_into_one_event(diligence):
    diligence.run()
    said = "It is said that " + "very " * 80 + "much is said"
    claims = [
        create(CLAIM, {"statement": f"{said} {n}", "status": "completed"}) for n in range(3000)
    ]
    last = create(CLAIM, {"statement": "Last", "status": "pending"})

    diligence.runtime().run([*claims, last])

    report = diligence.report()
    assert len(report.encode()) < 1024 * 1024
    assert re.search(r"\n\.\.\. and \d{3,4} more lines\.\n$", report)


def test_the_relevant_passages_of_a_long_document_are_read(diligence):
    filler = "\n\n".join(f"Paragraph {n} about weather. " + "word " * 200 for n in range(60))
    long = filler + "\n\nFACT 1: It was founded in 1949.\n\n" + filler

    diligence.run({"long.txt": long})

    assert len(diligence.objects(EVIDENCE)) <= MAX_EVIDENCE
    assert "It was founded in 1949." in diligence.claims()


def test_an_error_as_answer_fails_its_claim_only(diligence, answer):
    def failing_once(request):
        if "Source: b.txt" in request["messages"][-1]["content"]:
            return {"text": "CLAIM 1 [1]: It", "error": {"message": "no\nway"}, "cost_usd": 0.0}
        return answer(request)

    diligence.run(FILES, complete=failing_once)

    readings = diligence.claims("reading")
    assert readings["What b.txt says"]["error"] == "no way"
    assert [each["status"] for each in readings.values()] == ["completed", "failed", "completed"]
    assert "- b.txt: no way" in diligence.report()


def test_a_refusal_yields_no_statements(diligence, answer):
    def refusing_once(request):
        if "Source: b.txt" in request["messages"][-1]["content"]:
            return {"text": "CLAIM 1 [1]: No", "stop": "refusal", "cost_usd": 0.0}
        return answer(request)

    diligence.run(FILES, complete=refusing_once)

    readings = diligence.claims("reading")
    assert [each["status"] for each in readings.values()] == ["completed", "failed", "completed"]
    assert all(each["statement"] != "No" for each in diligence.claims().values())


def test_sources_are_read_even_if_the_plan_fails(diligence, answer):
    def no_plan(request):
        if request["messages"][-1]["content"].startswith("Plan"):
            return {"error": {"message": "overloaded"}, "cost_usd": 0.0}
        return answer(request)

    diligence.run(FILES, complete=no_plan)

    assert [each["error"] for each in diligence.claims("overview").values()] == ["overloaded"]
    assert len(diligence.claims()) == 3
    assert "overloaded" in diligence.report()


def test_a_claim_that_a_user_adds_is_examined(diligence):
    diligence.run(FILES)
    own = create(CLAIM, {"statement": "It is bankrupt", "status": "pending"}, id="own")

    world = diligence.runtime().run([own])

    assert world.objects["own"].data["status"] == "completed"
    assert "- It is bankrupt: Who knows." in diligence.report()


def test_later_answers_to_a_claim_are_ignored(diligence):
    world = diligence.run(FILES)
    before = {each.id: each.data for each in world.objects_of(CLAIM)}
    answers = [
        make_event("llm.response", "", "x", [], {"text": PLAN_AGAIN, "cause_object_id": id})
        for id in before
    ]

    world = diligence.runtime(None).run(answers)

    assert {each.id: each.data for each in world.objects_of(CLAIM)} == before


PLAN_AGAIN = "QUESTION: What else?\nCLAIM 1 [1]: Something else."


def test_two_runs_of_one_goal_give_equal_ledgers_that_replay_strictly(new_diligence):
    first, second = new_diligence(), new_diligence()
    first.checks_purity = True
    world = first.run(FILES)
    second.run(FILES)

    assert first.decided() == second.decided()
    assert first.runtime(None).replay(strict=True) == world


def test_a_run_stopped_anywhere_resumes_to_the_same_ledger(diligence, new_diligence):
    diligence.run(FILES)
    whole = diligence.decided()

    for cut in range(4, len(whole), 3):
        part = new_diligence()
        part.store = MemoryLedgerStore("r1")
        part.store.append(list(islice(diligence.store.read_all(), cut)))
        part.resume()
        assert part.decided() == whole, cut
