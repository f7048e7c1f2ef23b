"""Contradictions between claims: detected, related, resolved by edge logic, scored."""

import json

import pytest

from kando.emit import create, relate
from kando.schema.events import LLM_REQUEST
from kando.trace.lineage import explain
from kits.diligence.kit import CLAIM, CONTRADICTION, CONTRADICTS

FILES = {
    "a.txt": "FACT 1: Acme Corp was founded in 1949.",
    "b.txt": "FACT 1: Acme Corp was founded in 1952.",
    "c.txt": "FACT 2: Acme Corp sells anvils.",
}


def resolved_with(answer, text):
    def complete(request):
        if request["messages"][-1]["content"].startswith("Two claims"):
            return text if "error" in text else {"text": json.dumps(text), "cost_usd": 0.0}
        return answer(request)

    return complete


def test_a_contradiction_becomes_a_relation_whose_edge_logic_resolves_it(diligence):
    world = diligence.run(FILES)

    (found,) = world.objects_of(CONTRADICTION)
    assert (found.data["status"], found.data["holds"]) == ("resolved", "second")
    assert found.data["reason"] == "figures differ"
    assert "It is in the register." in found.data["resolution"]
    (relation,) = [each for each in world.relations.values() if each.type == CONTRADICTS]
    assert relation.source_id == found.data["claim_a"]
    assert relation.target_id == found.data["claim_b"]
    resolver = [e.actor for e in diligence.events(LLM_REQUEST) if "contradict each other" in str(e)]
    assert resolver == ["diligence.resolve"]
    assert {each["status"] for each in diligence.claims().values()} == {"completed"}


def test_a_claim_is_disputed_until_its_contradiction_is_resolved(diligence, answer):
    def until_then(request):
        if request["messages"][-1]["content"].startswith("Two claims"):
            raise ConnectionError
        return answer(request)

    with pytest.raises(ConnectionError):
        diligence.run(FILES, complete=until_then)
    statuses = [each["status"] for each in diligence.claims().values()]
    assert statuses == ["disputed", "disputed", "completed"]

    diligence.resume()
    assert {each["status"] for each in diligence.claims().values()} == {"completed"}
    assert "1 contradiction resolved" in diligence.report()


@pytest.mark.parametrize(
    ("text", "first", "second", "says"),
    [
        ({"holds": "first", "reason": "Older."}, 60, 5, "The first holds. Older."),
        ({"holds": "second", "reason": ""}, 5, 60, "The second holds."),
        ({"holds": "both", "reason": "Two firms."}, 60, 60, "Both hold. Two firms."),
        ({"holds": "neither", "reason": ""}, 5, 5, "Neither holds."),
        (
            {"holds": "unclear", "reason": "Hard to say."},
            30,
            30,
            "It is not decided which holds. Hard to say.",
        ),
        ({"error": {"message": "refused"}}, 30, 30, "It is not decided which holds. refused"),
    ],
)
def test_the_resolution_determines_the_confidence(diligence, answer, text, first, second, says):
    diligence.run(FILES, complete=resolved_with(answer, text))

    claims = diligence.claims()
    assert claims["Acme Corp was founded in 1949."]["confidence"] == first
    assert claims["Acme Corp was founded in 1952."]["confidence"] == second
    assert claims["Acme Corp sells anvils."]["confidence"] == 60
    assert says in diligence.report()


def test_a_rejected_claim_stays_rejected(diligence):
    diligence.run(FILES | {"d.txt": "FACT 1: Acme Corp was founded in 1960."})

    found = {statement: each["confidence"] for statement, each in diligence.claims().items()}
    assert found["Acme Corp was founded in 1949."] == 5
    assert found["Acme Corp was founded in 1952."] == 5
    assert found["Acme Corp was founded in 1960."] == 60
    assert len(diligence.objects(CONTRADICTION)) == 3


def agreeing(answer, pairs):
    """Return a model for which the two statements of some pairs say the same."""

    def complete(request):
        prompt = request["messages"][-1]["content"]
        is_pair = any(all(each in prompt for each in pair) for pair in pairs)
        if prompt.startswith("Two statements") and is_pair:
            return {"text": '{"verdict": "agree", "reason": "same"}', "cost_usd": 0.0}
        return answer(request)

    return complete


def test_dissimilar_claims_are_not_compared_and_agreeing_claims_are_merged(diligence, answer):
    files = {
        "a.txt": FILES["a.txt"],
        "b.txt": "FACT 1: Acme Corp, founded 1949.",
        "c.txt": "FACT 2: X",
    }
    diligence.run(files, agreeing(answer, [("founded in 1949", "founded 1949")]))

    (found,) = diligence.objects(CONTRADICTION)
    assert found.data["status"] == "dismissed"
    assert "## Contradictions" not in diligence.report()
    merged = diligence.claims()["Acme Corp, founded 1949."]
    (kept,) = [each for each in diligence.objects(CLAIM) if each.id == merged["merged_into"]]
    assert (kept.data["statement"], kept.data["confidence"]) == (
        "Acme Corp was founded in 1949.",
        80,
    )
    assert diligence.report().count("founded") == 1 + diligence.report().count("“FACT")


def test_a_contradiction_of_a_merged_claim_is_one_of_the_claim_that_it_was_merged_into(
    diligence, answer
):
    files = FILES | {"d.txt": "FACT 1: Acme Corp, founded 1949."}

    diligence.run(files, agreeing(answer, [("founded in 1949", "founded 1949")]))

    assert "1 contradiction resolved" in diligence.report()
    claims = diligence.claims()
    assert claims["Acme Corp was founded in 1949."]["confidence"] == 5
    assert claims["Acme Corp was founded in 1952."]["confidence"] == 60


@pytest.mark.parametrize(
    ("subject", "attribute", "pairs"),
    [
        ("Acme Corp", "year of founding", 1),
        ("", "founding year", 1),
        ("the forge in Eastbridge", "founding year", 0),
        ("Acme Corp", "number of employees", 0),
    ],
)
def test_only_statements_about_one_attribute_of_one_subject_are_compared(
    diligence, answer, subject, attribute, pairs
):
    about = {"b.txt": (subject, attribute), "a.txt": ("Acme Corp", "founding year")}

    def with_attributes(request):
        prompt = request["messages"][-1]["content"]
        found = answer(request)
        source = next((each for each in about if prompt.startswith(f"Source: {each}")), None)
        if source is not None:
            named = dict(zip(("subject", "attribute"), about[source], strict=True))
            statements = [{**each, **named} for each in found["data"]["statements"]]
            found["data"] = {**found["data"], "statements": statements}
        return found

    diligence.run(FILES, with_attributes)

    assert len(diligence.objects(CONTRADICTION)) == pairs


def test_a_comparison_without_an_answer_is_reported(diligence, answer):
    def no_comparison(request):
        if request["messages"][-1]["content"].startswith("Two statements"):
            return {"error": {"type": "Busy", "message": "overloaded"}, "cost_usd": 0.0}
        return answer(request)

    diligence.run(FILES, no_comparison)

    assert "It is not decided which holds. overloaded" in diligence.report()
    assert diligence.claims()["Acme Corp was founded in 1949."]["confidence"] == 30


def test_a_comparison_shows_only_the_two_statements(diligence):
    diligence.run(FILES)

    prompts = [e.data["messages"][-1]["content"] for e in diligence.events(LLM_REQUEST)]
    pairs = [prompt for prompt in prompts if prompt.startswith("Two ")]
    assert len(pairs) == 2
    assert not [prompt for prompt in pairs if "anvils" in prompt]


def test_a_contradicts_relation_created_by_hand_is_resolved(diligence):
    diligence.run()
    claims = [create(CLAIM, {"statement": s, "status": "completed"}, id=s) for s in ("1", "2")]

    world = diligence.runtime().run([*claims, relate(CONTRADICTS, "1", "2")])

    (found,) = world.objects_of(CONTRADICTION)
    assert (found.data["status"], found.data["claim_a"]) == ("resolved", "1")
    assert "“1” against “2”" in diligence.report()


def test_a_resolution_traces_to_both_sources_and_the_goal(diligence):
    world = diligence.run(FILES)

    (found,) = world.objects_of(CONTRADICTION)
    steps = explain(found.changed_by, diligence.events())
    paths = {s.data["data"]["path"] for s in steps if s.data.get("type") == "Document"}
    assert {"a.txt", "b.txt"} <= paths
    assert steps[-1].id == "object.created-0"


@pytest.mark.parametrize("ends", [("unknown", "unknown"), ("own", "own"), ("own", "company")])
def test_a_contradiction_that_does_not_name_two_claims_is_ignored(diligence, ends):
    world = diligence.run()
    (company,) = world.objects_of("Company")
    own = create(CLAIM, {"statement": "x", "status": "completed"}, id="own")
    first, second = (company.id if end == "company" else end for end in ends)
    pair = create(CONTRADICTION, {"claim_a": first, "claim_b": second})

    world = diligence.runtime().run([own, pair])

    assert [each for each in world.relations.values() if each.type == CONTRADICTS] == []
