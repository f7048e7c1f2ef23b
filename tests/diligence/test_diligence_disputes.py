"""Contradictions between claims: detected, related, resolved by edge logic, scored."""

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
            return {"text": text, "cost_usd": 0.0} if isinstance(text, str) else text
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
    assert resolver == ["diligence.resolve_contradiction"]
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
        ("HOLDS: FIRST\nOlder.", 60, 5, "The first holds. Older."),
        ("HOLDS: SECOND", 5, 60, "The second holds."),
        ("HOLDS: BOTH\nTwo firms.", 60, 60, "Both hold. Two firms."),
        ("HOLDS: NEITHER", 5, 5, "Neither holds."),
        ("Hard to say.", 30, 30, "It is not decided which holds. Hard to say."),
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


def test_dissimilar_claims_are_not_compared_and_agreeing_claims_are_dismissed(diligence):
    diligence.run({"a.txt": FILES["a.txt"], "b.txt": FILES["a.txt"] + "!", "c.txt": FILES["c.txt"]})

    assert diligence.objects(CONTRADICTION)[0].data["status"] == "dismissed"
    assert len(diligence.objects(CONTRADICTION)) == 1
    assert "## Contradictions" not in diligence.report()


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
