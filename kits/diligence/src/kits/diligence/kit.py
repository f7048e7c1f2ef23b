"""The kit: its types, and the responders that lead from a company to a report."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, Literal

import attrs

from kando.app.documents import passages
from kando.emit import ask, create, patch, relate
from kando.kit import Kit, load_prompts
from kando.responders.base import Responder
from kando.schema.events import (
    LLM_RESPONSE,
    OBJECT_CREATED,
    OBJECT_PATCHED,
    KandoEvent,
    RecordedEvent,
    make_event,
)
from kando.world.graph import World, WorldObject
from kits.diligence._answers import parse_answer, reason_of
from kits.diligence._texts import evidence_text, report_text

__all__ = [
    "CLAIM",
    "COMPANY",
    "CONTRADICTION",
    "CONTRADICTS",
    "DEPENDS_ON",
    "EVIDENCE",
    "MAX_EVIDENCE",
    "REPORT",
    "SOURCED_FROM",
    "SUPPORTS",
    "create_kit",
    "kit",
    "seed_from_goal",
]

#: Pieces of evidence that a prompt quotes at most.
MAX_EVIDENCE = 20

_MAX_ANSWER_TOKENS = 1024

Emitted = Generator[KandoEvent, RecordedEvent, None]

kit = Kit(
    "diligence",
    version="0.1.0",
    distribution="kando-kit-diligence",
    prompts=load_prompts(__package__),
)


@kit.object
@attrs.frozen
class Company:
    """What is examined."""

    name: str


@kit.object
@attrs.frozen
class Claim:
    """A statement about the company.

    Attributes:
        statement: in words.
        status: ``pending`` until it is answered; ``disputed`` while it contradicts another.
        text: what the evidence says to it.
        error: why it failed.
    """

    statement: str
    status: Literal["pending", "completed", "disputed", "failed"]
    text: str = ""
    error: str | None = None


@kit.object
@attrs.frozen
class Evidence:
    """A passage of an input document.

    Attributes:
        path: of the document.
        sha256: of the document.
        start: where the passage begins in the text of the document's part, in characters.
        end: where it ends, exclusive.
        excerpt: the passage.
        part: which part of a long document, from 1; 0 if it has only one.
    """

    path: str
    sha256: str
    start: int
    end: int
    excerpt: str
    part: int = 0


@kit.object
@attrs.frozen
class Contradiction:
    """Two claims that cannot both be true.

    Attributes:
        claim_a: id of the first.
        claim_b: id of the second.
        reason: why they cannot.
        status: ``open`` until its relation exists, ``resolving`` until it is answered.
        resolution: the answer.
    """

    claim_a: str
    claim_b: str
    reason: str = ""
    status: Literal["open", "resolving", "resolved", "failed"] = "open"
    resolution: str = ""


@kit.object
@attrs.frozen
class Report:
    """What came of it, in Markdown."""

    status: Literal["completed"]
    text: str


COMPANY, CLAIM, EVIDENCE = "Company", "Claim", "Evidence"
CONTRADICTION, REPORT = "Contradiction", "Report"
SUPPORTS = kit.relation("supports", Evidence, Claim)
CONTRADICTS = kit.relation("contradicts", Claim, Claim)
DEPENDS_ON = kit.relation("depends_on", Report, Company)
SOURCED_FROM = kit.relation("sourced_from", Evidence, Claim)


def create_kit() -> list[Responder]:
    """Return the kit's responders as a runtime takes them."""
    return kit.create()


@kit.seeds
def seed_from_goal(goal: str, run_id: str) -> list[KandoEvent]:
    """Return the one event that starts a run.

    Args:
        goal: in words; it becomes the company's name.
        run_id: of the run that it will be recorded in.
    """
    data = {"type": COMPANY, "data": {"name": goal}}
    return [make_event(OBJECT_CREATED, f"run:{run_id}", "cli", [], data)]


@kit.responder(OBJECT_CREATED, type=Company)
def on_company_created(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
    """Open the first claim about a company."""
    statement = f"What is known about {event.data['data']['name']}"
    yield create(CLAIM, {"statement": statement, "status": "pending"})


@kit.responder(OBJECT_CREATED, type="Document")
def on_document_created(event: RecordedEvent, world: World) -> Emitted:
    """Make evidence of each passage of an input document, for the claims that wait for it."""
    document: dict[str, Any] = event.data.get("data") or {}
    text = document.get("text")
    if not isinstance(text, str):
        return
    waiting = [claim for claim in world.objects_of(CLAIM) if claim.data["status"] == "pending"]
    part = document.get("part", 0) if document.get("parts", 1) > 1 else 0
    for passage in passages(text):
        piece = {
            "path": document.get("path", ""),
            "sha256": document.get("sha256", ""),
            "start": passage.start,
            "end": passage.end,
            "excerpt": passage.text,
        }
        evidence = yield create(EVIDENCE, piece | ({"part": part} if part else {}))
        for claim in waiting:
            yield relate(SUPPORTS, evidence, claim, cause=[evidence])
            yield relate(SOURCED_FROM, evidence, claim, cause=[evidence])


@kit.responder(OBJECT_CREATED, type=Claim)
def on_claim_created(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
    """Ask what the evidence says to a pending claim."""
    claim = event.data
    if claim["data"]["status"] != "pending":
        return
    question = kit.prompt(
        "claim",
        statement=claim["data"]["statement"],
        company=_company_name(world),
        evidence=evidence_text(_evidence_for(claim["id"], world)[:MAX_EVIDENCE]),
    )
    yield _ask(question, claim["id"])


@kit.responder(LLM_RESPONSE, type=Claim)
def on_claim_answered(event: RecordedEvent, world: World) -> Emitted:
    """Complete a claim, and record the further claims and contradictions its answer states."""
    claim = world.objects[event.data["cause_object_id"]]
    if claim.data["status"] != "pending":
        return
    text = event.data.get("text")
    if not isinstance(text, str):
        reason = reason_of(event.data.get("error"))
        yield patch(claim, {"status": "failed", "error": reason})
        return
    answer = parse_answer(text)
    yield patch(claim, {"status": "completed", "text": answer.text})
    ids = [claim.id]
    evidence = _evidence_for(claim.id, world)
    for statement in answer.claims:
        made = yield create(CLAIM, {"statement": statement, "status": "completed"})
        ids.append(made.data["id"])
        for each in evidence:
            yield relate(SUPPORTS, each, made, cause=[event, each.event_id])
    for first, second, reason in answer.contradictions:
        pair = {"claim_a": ids[first], "claim_b": ids[second]}
        yield create(CONTRADICTION, pair | {"reason": reason, "status": "open"})


@kit.responder(OBJECT_CREATED, type=Contradiction)
def on_contradiction_created(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
    """Relate the claims of an open contradiction; what that means is said by the edge logic."""
    found = event.data["data"]
    first, second = (world.get_object(found[end]) for end in ("claim_a", "claim_b"))
    if found.get("status", "open") != "open" or first is None or second is None:
        return
    if first.id != second.id and first.type == second.type == CLAIM:
        yield relate(CONTRADICTS, first, second, {"contradiction": event.data["id"]})


@kit.edge_logic("contradicts")
def resolve_contradiction(event: RecordedEvent, world: World) -> Emitted:
    """Open the resolution of two claims that contradict each other, whoever related them."""
    first, second = (world.objects[event.data[end]] for end in ("source_id", "target_id"))
    named = (event.data.get("data") or {}).get("contradiction")
    contradiction = world.get_object(named) if isinstance(named, str) else None
    for claim in (first, second):
        if claim.data["status"] == "completed":
            yield patch(claim, {"status": "disputed"})
    if contradiction is not None and contradiction.type == CONTRADICTION:
        id, reason = contradiction.id, contradiction.data.get("reason", "")
        yield patch(contradiction, {"status": "resolving"})
    else:
        reason = "they were related so"
        pair = {"claim_a": first.id, "claim_b": second.id, "reason": reason}
        made = yield create(CONTRADICTION, pair | {"status": "resolving"})
        id = made.data["id"]
    question = kit.prompt(
        "resolution",
        company=_company_name(world),
        first=_one_line(first.data["statement"]),
        second=_one_line(second.data["statement"]),
        reason=_one_line(reason),
    )
    yield _ask(question, id)


@kit.responder(LLM_RESPONSE, type=Contradiction)
def on_contradiction_answered(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
    """Resolve a contradiction, and with it the dispute about its claims."""
    contradiction = world.objects[event.data["cause_object_id"]]
    if contradiction.data.get("status") != "resolving":
        return
    text = event.data.get("text")
    if isinstance(text, str):
        yield patch(contradiction, {"status": "resolved", "resolution": text[:4000]})
    else:
        reason = reason_of(event.data.get("error"))
        yield patch(contradiction, {"status": "failed", "resolution": reason})
    for end in ("claim_a", "claim_b"):
        claim = world.get_object(contradiction.data[end])
        if claim is not None and claim.data.get("status") == "disputed":
            yield patch(claim, {"status": "completed"})


@kit.responder(OBJECT_PATCHED, type=Claim)
def on_claim_patched(event: RecordedEvent, world: World) -> Emitted:
    """Write the report when no claim is pending or disputed, and anew when one changes later."""
    companies, claims = world.objects_of(COMPANY), world.objects_of(CLAIM)
    contradictions = world.objects_of(CONTRADICTION)
    open_claims = [c for c in claims if c.data["status"] in ("pending", "disputed")]
    unresolved = [
        c for c in contradictions if c.data.get("status", "open") in ("open", "resolving")
    ]
    if not companies or open_claims or unresolved:
        return
    company = companies[0]
    text = report_text(company.data["name"], claims, contradictions, world.objects_of(EVIDENCE))
    basis = [company.changed_by, *(each.changed_by for each in (*claims, *contradictions))]
    cause: list[KandoEvent | str] = [event, *dict.fromkeys(id for id in basis if id != event.id)]
    id = f"report-of-{company.id}"
    written = world.get_object(id)
    if written is None:
        report = yield create(REPORT, {"status": "completed", "text": text}, id=id, cause=cause)
        yield relate(DEPENDS_ON, report, company, cause=[report])
    elif written.data["text"] != text:
        yield patch(written, {"text": text}, cause=cause)


def _ask(question: str, about: str) -> KandoEvent:
    messages = [
        {"role": "system", "content": kit.prompt("system")},
        {"role": "user", "content": question},
    ]
    return ask(messages, about=about, max_tokens=_MAX_ANSWER_TOKENS)


def _evidence_for(claim_id: str, world: World) -> list[WorldObject]:
    return [world.objects[r.source_id] for r in world.get_relations(claim_id, SUPPORTS)]


def _company_name(world: World) -> str:
    companies = world.objects_of(COMPANY)
    return _one_line(companies[0].data["name"]) if companies else "the company"


def _one_line(text: str) -> str:
    return " ".join(text.split())
