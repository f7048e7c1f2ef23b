"""A diligence run from the goal to the report."""

import json
import re
from itertools import islice, pairwise

import pytest

from kando.emit import create
from kando.ledger.memory import MemoryLedgerStore
from kando.schema.events import LLM_REQUEST, OBJECT_CREATED, TOOL_CALLED, make_event
from kando.text.hostile import pdf
from kando.trace.lineage import explain
from kits.diligence.kit import (
    CLAIM,
    COMPANY,
    CONTRADICTION,
    CONTRADICTS,
    DEFAULT_QUESTIONS,
    DEPENDS_ON,
    EVIDENCE,
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


def answered(data):
    return {"text": json.dumps(data), "cost_usd": 0.0}


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

    world = diligence.resume(lambda request: answered({"summary": "It makes anvils."}))

    (claim,) = world.objects_of(CLAIM)
    assert (claim.data["status"], claim.data["text"]) == ("completed", "It makes anvils.")
    (report,) = world.objects_of(REPORT)
    (relation,) = world.get_relations(report.id, DEPENDS_ON)
    assert world.objects[relation.target_id].type == COMPANY
    assert "It makes anvils." in report.data["text"]


def test_a_model_that_answers_with_text_in_place_of_a_plan_completes_the_first_claim(diligence):
    diligence.run(FILES, lambda request: {"text": "It makes anvils.", "cost_usd": 0.0})

    (claim,) = diligence.claims("overview").values()
    assert (claim["status"], claim["text"], claim["error"]) == (
        "completed",
        "It makes anvils.",
        None,
    )
    assert "It makes anvils." in diligence.report()


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


def test_a_plan_without_questions_falls_back_to_the_default_questions(diligence, answer):
    def no_questions(request):
        if request["messages"][-1]["content"].startswith("Plan"):
            return answered({"summary": "Little can be found out."})
        return answer(request)

    diligence.run(FILES, complete=no_questions)

    (company,) = diligence.objects(COMPANY)
    assert company.data["questions"] == list(DEFAULT_QUESTIONS)
    assert "3 claims from 3 sources" in diligence.report()


def test_a_model_that_answers_without_json_fails_each_reading_and_the_report_says_so(diligence):
    diligence.run(FILES, complete=lambda request: {"text": "Echo: Plan", "cost_usd": 0.0})

    assert {each["status"] for each in diligence.claims("reading").values()} == {"failed"}
    (report,) = diligence.objects(REPORT)
    assert report.data["problem"] == (
        "The report has no claim with a source: 3 of 3 sources failed: "
        "a.txt: The answer does not match the output_schema: it is not JSON."
    )
    assert "0 claims from 0 sources" in report.data["text"]
    assert "3 of 3 sources failed: a.txt: The answer does not match" in report.data["text"]
    assert (
        "- b.txt: The answer does not match the output\\_schema: it is not JSON."
        in report.data["text"]
    )


def test_a_run_without_sources_says_so_and_a_run_whose_sources_are_all_broken_has_a_problem(
    diligence, new_diligence
):
    diligence.run()
    assert "No document was given, and no web page named" in diligence.report()
    assert "problem" not in diligence.objects(REPORT)[0].data

    broken = new_diligence()
    broken.run({"z.bin": b"\0\1\2"})
    (report,) = broken.objects(REPORT)
    assert report.data["problem"] == (
        "The report has no claim with a source: 1 of 1 source failed: z.bin: binary file"
    )


def test_an_answer_without_anything_usable_is_asked_for_once_more(diligence, answer):
    asked = []

    def better_the_second_time(request):
        prompt = request["messages"][-1]["content"]
        if prompt.startswith("Source: b.txt"):
            asked.append(prompt)
            if len(asked) == 1:
                return answered({"note": "", "statements": []})
        return answer(request)

    diligence.run(FILES, complete=better_the_second_time)

    assert [("An earlier answer was unusable" in each) for each in asked] == [False, True]
    assert "Acme Corp was founded in 1952." in diligence.claims()


@pytest.mark.parametrize(
    ("statement", "passages", "why"),
    [
        ("Cheese is tasty.", [1], "it shares no word with the passages that it cites"),
        (
            "Acme Corp was founded in 1066.",
            [1],
            "the passages that it cites have none of its figures",
        ),
        ("", [1], "it is empty"),
    ],
)
def test_an_answer_that_stays_unusable_fails_its_reading_with_the_reason(
    diligence, answer, statement, passages, why
):
    def unusable(request):
        if request["messages"][-1]["content"].startswith("Source: b.txt"):
            found = {"statement": statement, "passages": passages}
            return answered({"note": "A text.", "statements": [found]})
        return answer(request)

    diligence.run(FILES, complete=unusable)

    assert diligence.claims("reading")["What b.txt says"]["status"] == "failed"
    assert f"- b.txt: no usable answer: {why}" in diligence.report()
    assert len(diligence.claims()) == 2


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("FACT 1: Founded in 1952.", "completed"),
        ("# One\n\nFACT 1: Founded in 1952.\n\n# Two\n\nIt sells anvils.", "failed"),
    ],
)
def test_a_number_that_no_passage_has_is_refused_unless_only_one_was_shown(
    diligence, answer, text, status
):
    def misnumbered(request):
        found = answer(request)
        for each in found.get("data", {}).get("statements", []):
            each["passages"] = [7]
        return found

    diligence.run({"b.txt": text}, misnumbered)

    assert diligence.claims("reading")["What b.txt says"]["status"] == status


def test_a_statement_that_its_passages_do_not_support_is_left_out_and_listed(diligence, answer):
    def inventive(request):
        if request["messages"][-1]["content"].startswith("Source: b.txt"):
            years = [{"statement": f"Founded in {y}.", "passages": [1]} for y in (1952, 1066)]
            return answered({"note": "A text.", "statements": years})
        return answer(request)

    diligence.run(FILES, complete=inventive)

    assert "Founded in 1952." in diligence.claims()
    assert "Founded in 1066." not in diligence.claims()
    left_out = "- b.txt: Founded in 1066. (the passages that it cites have none of its figures)"
    assert f"## Left out\n\n{left_out}\n" in diligence.report()


def test_a_passage_that_has_the_words_of_a_statement_is_cited_if_the_cited_one_has_not(
    diligence, answer
):
    text = "# One\n\nIt sells anvils.\n\n# Two\n\nThe works in Millbrook employ 412 people.\n"

    def careless(request):
        found = answer(request)
        if request["messages"][-1]["content"].startswith("Source: c.txt"):
            said = {"statement": "The Millbrook works employ 412 people.", "passages": [1]}
            found = answered({"note": "A text.", "statements": [said]})
        return found

    diligence.run({"c.txt": text}, careless)

    report = diligence.report()
    chosen = "- c.txt: The Millbrook works employ 412 people.\n"
    assert f"## Source chosen by its words\n\n{chosen}" in report
    assert "1. c.txt, line 5," in report
    assert "anvils" not in report


def test_an_answer_that_was_cut_off_counts_and_the_report_says_so(diligence, answer):
    def cut(request):
        found = answer(request)
        if request["messages"][-1]["content"].startswith("Source: b.txt"):
            year = {"statement": "Founded in 1952.", "passages": [1]}
            text = json.dumps({"statements": [year, year]})
            return {"text": text[:-40], "stop": "length", "model": "m", "cost_usd": 0}
        return found

    diligence.run(FILES, complete=cut)

    assert "Founded in 1952." in diligence.claims()
    assert "- b.txt: what follows the last statement" in diligence.report()


def test_a_source_that_states_nothing_is_listed_with_the_reason(diligence):
    diligence.run(FILES | {"d.txt": "The weather was fine."})

    assert "## Read without a statement\n\n- d.txt: It says something.\n" in diligence.report()
    assert "problem" not in diligence.objects(REPORT)[0].data


def test_equal_statements_of_two_sources_are_one_claim_with_the_evidence_of_both(diligence):
    world = diligence.run(FILES)

    (found,) = [each for each in world.objects_of(CLAIM) if "anvils" in each.data["statement"]]
    sources = [each.data["path"] for each in world.sources(found.id, SUPPORTS)]
    assert sources == ["a.txt", "c.txt"]


def test_statements_are_linked_to_the_passages_they_cite(diligence):
    world = diligence.run(FILES)

    for claim in world.objects_of(CLAIM):
        if claim.data["kind"] == "statement":
            relations = world.get_relations(claim.id, SOURCED_FROM)
            evidence, *others = (world.objects[each.source_id] for each in relations)
            assert claim.data["statement"] in evidence.data["excerpt"]
            assert evidence.data["path"] == claim.data["source"]
            assert [each.data["path"] for each in others] in ([], ["c.txt"])
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

    assert diligence.claims()["Acme Corp sells anvils."]["confidence"] == 80
    assert diligence.claims()["Acme Corp sells anvils. Really."]["confidence"] == 60
    assert "(confidence 80%: 2 sources agree)" in diligence.report()


def test_the_report_has_numbered_citations(diligence):
    diligence.run(FILES)

    report = diligence.report()
    assert report.startswith("# Evaluate Acme Corp\n\nMuch can be found out.\n")
    assert "3 claims from 3 sources; 1 contradiction resolved." in report
    rejected = "(confidence 5%: 1 source, rejected in contradiction 1)"
    assert f"- Acme Corp was founded in 1949. [1] {rejected}" in report
    assert "- Acme Corp sells anvils. [1] [2] (confidence 80%: 2 sources agree)" in report
    for number, path in [(1, "a.txt"), (2, "c.txt"), (3, "b.txt")]:
        assert f"\n{number}. {path}, line 1, sha256 " in report


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


def test_the_relevant_passages_of_a_long_document_are_read_in_parts_that_overlap(diligence):
    filler = "\n\n".join(f"Paragraph {n} about weather. " + "word " * 200 for n in range(60))
    long = filler + "\n\nFACT 1: It was founded in 1949.\n\n" + filler

    world = diligence.run({"long.txt": long})

    assert sum(len(each.data["excerpt"]) for each in world.objects_of(EVIDENCE)) <= 48_000
    assert "It was founded in 1949." in diligence.claims()
    parts = [claim for claim in world.objects_of(CLAIM) if claim.data["kind"] == "reading"]
    assert len(parts) == 5
    read = [[each.id for each in world.sources(part.id, SOURCED_FROM)] for part in parts]
    assert all(one[-1] == other[0] for one, other in pairwise(read))
    assert re.search(
        r"## Read in part\n\n- long.txt: \d\d,\d{3} of \d{3},\d{3} characters", diligence.report()
    )


def test_a_citation_leads_to_the_line(diligence):
    diligence.run({"a.txt": "# Acme\n\nIt has a history.\n\n# Facts\n\nFACT 1: Founded in 1949."})

    assert "\n1. a.txt, line 5, sha256 " in diligence.report()


def test_a_citation_of_a_pdf_leads_to_the_page(diligence):
    pytest.importorskip("pypdf")

    diligence.run({"a.pdf": pdf(["Acme."], ["FACT 1: Founded in 1949."])})

    assert "\n1. a.pdf, page 2, line 3, sha256 " in diligence.report()


def test_an_error_as_answer_fails_its_claim_only(diligence, answer):
    def failing_once(request):
        if "Source: b.txt" in request["messages"][-1]["content"]:
            return {"text": "{}", "error": {"message": "no\nway"}, "cost_usd": 0.0}
        return answer(request)

    diligence.run(FILES, complete=failing_once)

    readings = diligence.claims("reading")
    assert readings["What b.txt says"]["error"] == "no way"
    assert [each["status"] for each in readings.values()] == ["completed", "failed", "completed"]
    assert "- b.txt: no way" in diligence.report()


def test_a_refusal_yields_no_statements(diligence, answer):
    def refusing_once(request):
        if "Source: b.txt" in request["messages"][-1]["content"]:
            return {"text": "No", "stop": "refusal", "cost_usd": 0.0}
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


PLAN_AGAIN = json.dumps({"summary": "What else?"})


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
