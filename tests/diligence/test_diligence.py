"""The diligence kit: from a goal to a report, with contradictions that resolve themselves."""

from collections.abc import Callable
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kando.cache.llm import LLMCache
from kando.emit import create, relate
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.llm_executor import LLMExecutorResponder
from kando.runtime import Runtime
from kando.schema.events import KandoEvent, make_event
from kando.trace.lineage import explain
from kando.world.graph import World, WorldObject
from kits.diligence.kit import (
    CLAIM,
    COMPANY,
    CONTRADICTION,
    CONTRADICTS,
    DEPENDS_ON,
    EVIDENCE,
    REPORT,
    SOURCED_FROM,
    SUPPORTS,
    create_kit,
    kit,
    seed_from_goal,
)

RUN = "r1"
Answerer = Callable[[str], str]

STORY = """Acme Corp makes anvils [1].
CLAIM: Acme Corp was founded in 1949.
CLAIM: Acme Corp was founded in 1952.
CONTRADICTS: 1 2 one company is founded once"""


def document(path: str, text: str) -> KandoEvent:
    data = {"path": path, "sha256": "0" * 64, "media_type": "text/plain", "text": text}
    cause = ["object.created-0"]
    whole = {"type": "Document", "data": data | {"part": 1, "parts": 1}}
    return make_event("object.created", "", "cli", cause, whole)


def runtime(ledger: MemoryLedgerStore, answer: Answerer | None) -> Runtime:
    responders = create_kit()
    if answer is not None:
        responders.append(
            LLMExecutorResponder(lambda messages, model, n: (answer(messages[-1]["content"]), 0.01))
        )
    return Runtime(ledger, responders, cache=LLMCache(), edge_logic=(), checks_purity=True)


def run(answer: Answerer | None, *more: KandoEvent) -> tuple[World, MemoryLedgerStore]:
    ledger = MemoryLedgerStore(RUN)
    seeds = [*seed_from_goal("Evaluate Acme Corp", RUN), *more]
    return runtime(ledger, answer).run(seeds), ledger


def story(question: str) -> str:
    return STORY if "Claim to examine" in question else "The first holds: it is in the register."


def only(world: World, type: str) -> WorldObject:
    (found,) = world.objects_of(type)
    return found


def compared(ledger: MemoryLedgerStore) -> list[object]:
    return [(e.id, e.type, e.actor, e.cause, e.data) for e in ledger.read_all()]


def test_the_names_are_those_of_the_specification() -> None:
    assert (COMPANY, CLAIM, EVIDENCE, CONTRADICTION, REPORT) == (
        "Company",
        "Claim",
        "Evidence",
        "Contradiction",
        "Report",
    )
    assert (SUPPORTS, CONTRADICTS, DEPENDS_ON, SOURCED_FROM) == (
        "supports",
        "contradicts",
        "depends_on",
        "sourced_from",
    )
    assert set(kit.object_types) == {COMPANY, CLAIM, EVIDENCE, CONTRADICTION, REPORT}


def test_a_goal_becomes_one_seed_by_the_command_line() -> None:
    (seed,) = seed_from_goal("Evaluate Stripe", "r9")

    assert (seed.type, seed.source, seed.actor, seed.cause) == (
        "object.created",
        "run:r9",
        "cli",
        [],
    )
    assert seed.data == {"type": COMPANY, "data": {"name": "Evaluate Stripe"}}


def test_without_a_provider_the_claim_stays_pending_and_its_request_is_recorded() -> None:
    world, ledger = run(None)

    claim = only(world, CLAIM)
    assert claim.data["status"] == "pending"
    (request,) = [e for e in ledger.read_all() if e.type == "llm.request"]
    assert request.data["cause_object_id"] == claim.id
    assert world.objects_of(REPORT) == []


def test_a_pending_claim_is_completed_when_somebody_can_answer_later() -> None:
    _, ledger = run(None)

    world = runtime(ledger, lambda question: "It makes anvils.").run([])

    assert only(world, CLAIM).data["status"] == "completed"
    assert only(world, CLAIM).data["text"] == "It makes anvils."
    report = only(world, REPORT)
    assert [r.target_id for r in world.get_relations(report.id, DEPENDS_ON)] == [
        only(world, COMPANY).id
    ]


def test_evidence_links_to_its_claim_and_traces_to_its_document_and_the_goal() -> None:
    world, ledger = run(lambda question: "Yes [1].", document("a.txt", "Acme makes anvils."))

    evidence, claim = only(world, EVIDENCE), only(world, CLAIM)
    relations = world.get_relations(evidence.id)
    assert {(r.type, r.target_id) for r in relations} == {
        (SUPPORTS, claim.id),
        (SOURCED_FROM, claim.id),
    }
    causes = [e.id for e in explain(evidence.event_id, ledger.read_all())]
    assert causes == [evidence.event_id, "object.created-1", "object.created-0"]
    (request,) = [e for e in ledger.read_all() if e.type == "llm.request"]
    assert "> Acme makes anvils." in request.data["messages"][-1]["content"]


def test_a_contradiction_becomes_a_relation_whose_edge_logic_resolves_it() -> None:
    world, ledger = run(story, document("a.txt", "Founded in 1949. Or 1952."))

    contradiction = only(world, CONTRADICTION)
    assert contradiction.data["status"] == "resolved"
    assert contradiction.data["resolution"].startswith("The first holds")
    (relation,) = [r for r in world.relations.values() if r.type == CONTRADICTS]
    assert relation.source_id == contradiction.data["claim_a"]
    assert {c.data["status"] for c in world.objects_of(CLAIM)} == {"completed"}
    assert "diligence.resolve_contradiction" in {e.actor for e in ledger.read_all()}
    report = only(world, REPORT)
    for text in ("1949", "1952", "The first holds", "a.txt"):
        assert text in report.data["text"]
    reasons = {e.type for e in explain(report.changed_by, ledger.read_all())}
    assert "llm.response" in reasons


def test_claims_related_by_hand_are_resolved_as_well() -> None:
    _, ledger = run(story)
    claims = [
        create(CLAIM, {"statement": s, "status": "completed"}, id=s) for s in ("one", "other")
    ]
    by_hand = relate(CONTRADICTS, "one", "other")

    world = runtime(ledger, story).run([*claims, by_hand])

    states = {c.data["status"] for c in world.objects_of(CONTRADICTION)}
    assert len(world.objects_of(CONTRADICTION)) == 2
    assert states == {"resolved"}


def test_an_answer_that_is_an_error_fails_its_claim_and_no_more() -> None:
    _, ledger = run(None)
    (request,) = [e for e in ledger.read_all() if e.type == "llm.request"]
    about = request.data["cause_object_id"]
    data = {"error": {"type": "Refused", "message": "no\nway"}, "cause_object_id": about}

    world = runtime(ledger, None).run([make_event("llm.response", "", "x", [request.id], data)])

    assert only(world, CLAIM).data["status"] == "failed"
    assert only(world, CLAIM).data["error"] == "no way"
    assert "no way" in only(world, REPORT).data["text"]


def test_two_runs_of_one_goal_give_one_ledger_and_it_replays() -> None:
    more = [document("a.txt", "Acme makes anvils.\n\nIt was founded in 1949.")]
    world, ledger = run(story, *more)
    _, again = run(story, *more)

    assert compared(ledger) == compared(again)
    assert runtime(ledger, None).replay(strict=True) == world


def test_a_run_stopped_anywhere_goes_on_to_the_same_ledger() -> None:
    _, whole = run(story, document("a.txt", "Acme makes anvils."))

    for cut in range(2, whole.length()):
        part = MemoryLedgerStore(RUN)
        part.append(list(islice(whole.read_all(), cut)))
        runtime(part, story).run([])
        assert compared(part) == compared(whole), cut


lines = st.sampled_from(
    [
        "CLAIM: x",
        "CLAIM:",
        "CONTRADICTS: 0 1 y",
        "CONTRADICTS: 1 1",
        "CONTRADICTS: 9 9",
        "$x \x1b[2J",
    ]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(lines | st.text(), max_size=12), st.text(max_size=60))
def test_whatever_a_model_or_a_document_says_changes_nothing_but_claims(
    answer: list[str], text: str
) -> None:
    said = "\n".join(answer).encode("utf-8", "replace").decode()
    passage = text.encode("utf-8", "replace").decode()

    world, ledger = run(lambda question: said, document("a.txt", passage))

    assert {o.type for o in world.objects.values()} <= {*kit.object_types, "Document"}
    assert len(world.objects_of(CLAIM)) <= 9
    assert len(world.objects_of(REPORT)) == 1
    assert runtime(ledger, None).replay(strict=True) == world


@pytest.mark.parametrize("number", [0, 1, 40])
def test_a_prompt_quotes_so_much_evidence_and_no_more(number: int) -> None:
    more = [document(f"{n}.txt", f"Fact {n}.") for n in range(number)]

    _, ledger = run(None, *more)

    (request,) = [e for e in ledger.read_all() if e.type == "llm.request"]
    assert request.data["messages"][-1]["content"].count("> Fact") == min(number, 20)
