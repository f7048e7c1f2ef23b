"""Contradictions between claims: comparison, resolution, and the confidence that results.

Each request shows the model two claims and their evidence only, so that no third source can
influence the answer.
"""

from __future__ import annotations

from collections.abc import Iterator

from kando.emit import create, patch, relate
from kando.responders.answers import text_of
from kando.schema.events import (
    LLM_RESPONSE,
    OBJECT_CREATED,
    KandoEvent,
    RecordedEvent,
)
from kando.text.markdown import one_line
from kando.text.relevance import words_in
from kando.world.graph import World, WorldObject
from kits.diligence._answers import parse_resolution, parse_verdict, reason_of
from kits.diligence._sources import Emitted, ask_about, company_of, is_sourced, quoted
from kits.diligence._types import (
    CLAIM,
    CONTRADICTION,
    CONTRADICTS,
    SOURCED_FROM,
    SUPPORTS,
    Claim,
    Contradiction,
    kit,
)

__all__ = ["confidence_of"]

_MAX_QUOTED = 3

#: Confidence in percent by the number of distinct sources that support a claim.
_CONFIDENCE = {0: 20, 1: 60, 2: 80}
_CONFIDENCE_OF_MORE = 90
_CONFIDENCE_OF_REJECTED = 5


@kit.responder(OBJECT_CREATED, type=Claim)
def on_statement_created(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
    """Score a statement, and open a suspected contradiction with similar ones of other sources.

    Of each other source, only the statement most similar to the new one is compared with it.
    """
    claim = world.objects[event.data["id"]]
    if not is_sourced(claim) or claim.data["status"] != "pending":
        return
    for other in _most_similar(claim, world):
        pair = {"claim_a": other.id, "claim_b": claim.id, "status": "suspected"}
        yield create(CONTRADICTION, pair, cause=[event, other.event_id])
    yield patch(claim, {"status": "completed", "confidence": confidence_of(claim, world)})


@kit.edge_logic(SUPPORTS)
def weigh_support(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
    """Update the confidence of a claim when more evidence supports it."""
    claim = world.objects[event.data["target_id"]]
    confidence = confidence_of(claim, world)
    if is_sourced(claim) and claim.data.get("confidence", confidence) != confidence:
        yield patch(claim, {"confidence": confidence})


@kit.responder(OBJECT_CREATED, type=Contradiction)
def on_contradiction_created(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
    """Request a comparison for a suspected contradiction; relate the claims of an open one.

    The edge logic of the relation does the rest.
    """
    found = world.objects[event.data["id"]]
    first, second = _claims_of(found, world)
    if first is None or second is None or first.id == second.id:
        return
    if found.data.get("status", "open") == "suspected":
        yield ask_about(
            found, "comparison", world, first=_statement(first), second=_statement(second)
        )
    elif found.data.get("status", "open") == "open":
        yield relate(CONTRADICTS, first, second, {"contradiction": found.id})


@kit.edge_logic(CONTRADICTS)
def resolve_contradiction(event: RecordedEvent, world: World) -> Emitted:
    """Request a resolution for two claims that contradict each other, however the relation arose."""
    first, second = (world.objects[event.data[end]] for end in ("source_id", "target_id"))
    named = (event.data.get("data") or {}).get("contradiction")
    found = world.get_object(named) if isinstance(named, str) else None
    for claim in (first, second):
        if claim.data["status"] == "completed":
            yield patch(claim, {"status": "disputed"})
    if found is not None and found.type == CONTRADICTION:
        yield patch(found, {"status": "resolving"})
    else:
        pair = {"claim_a": first.id, "claim_b": second.id, "status": "resolving"}
        made = yield create(CONTRADICTION, pair | {"reason": "the relation was created directly"})
        found = WorldObject(made.data["id"], CONTRADICTION, made.data["data"])
    yield ask_about(
        found,
        "resolution",
        world,
        first=_statement(first),
        second=_statement(second),
        reason=one_line(found.data.get("reason", ""), 500),
        first_evidence=_excerpts(first, world),
        second_evidence=_excerpts(second, world),
    )


@kit.responder(LLM_RESPONSE, type=Contradiction)
def on_contradiction_answered(event: RecordedEvent, world: World) -> Emitted:
    """Apply the answer to a comparison or to a resolution."""
    found = world.objects[event.data["cause_object_id"]]
    text = text_of(event.data)
    if found.data.get("status") == "suspected":
        verdict = parse_verdict(text or "")
        if verdict.outcome == "AGREES":
            yield from _share_evidence(event, found, world)
        is_open = verdict.outcome == "CONTRADICTS"
        yield patch(found, {"status": "open" if is_open else "dismissed", "reason": verdict.reason})
        first, second = _claims_of(found, world)
        if is_open and first is not None and second is not None:
            yield relate(CONTRADICTS, first, second, {"contradiction": found.id})
    elif found.data.get("status") == "resolving":
        changes = {"status": "failed", "resolution": reason_of(event.data)}
        if text is not None:
            holds, explanation = parse_resolution(text)
            changes = {"status": "resolved", "holds": holds, "resolution": explanation}
        yield from _settle(found, changes, world)


def confidence_of(claim: WorldObject, world: World, *outcomes: str) -> int:
    """Return the confidence in a claim, in percent.

    It grows with the number of distinct sources that support the claim; copies of one document
    count as one source. A rejected claim has almost none, and an undecided dispute halves it.

    Args:
        claim: the claim to score.
        world: the world that holds the claim.
        outcomes: ``upheld``, ``rejected`` or ``undecided``, in addition to the outcomes of
            earlier disputes.
    """
    evidence = (world.objects[r.source_id] for r in world.get_relations(claim.id, SUPPORTS))
    sources = {each.data.get("sha256") or each.data.get("path") for each in evidence}
    all_outcomes = {*outcomes, *_outcomes_of(claim, world)}
    if "rejected" in all_outcomes:
        return _CONFIDENCE_OF_REJECTED
    score = _CONFIDENCE.get(len(sources), _CONFIDENCE_OF_MORE)
    return score // 2 if "undecided" in all_outcomes else score


def _settle(found: WorldObject, changes: dict[str, str], world: World) -> Iterator[KandoEvent]:
    for end, claim in zip(("first", "second"), _claims_of(found, world), strict=True):
        if claim is None:
            continue
        update: dict[str, object] = {}
        others = [each for each in _disputes_of(claim, world) if each.id != found.id]
        is_free = all(each.data.get("status") != "resolving" for each in others)
        if claim.data["status"] == "disputed" and is_free:
            update["status"] = "completed"
        confidence = confidence_of(claim, world, _outcome(end, changes.get("holds", "")))
        if is_sourced(claim) and claim.data.get("confidence") != confidence:
            update["confidence"] = confidence
        if update:
            yield patch(claim, update)
    # Last, so that the responder that writes the report sees the updated claims.
    yield patch(found, changes)


def _disputes_of(claim: WorldObject, world: World) -> list[WorldObject]:
    return [
        each
        for each in world.objects_of(CONTRADICTION)
        if claim.id in (each.data["claim_a"], each.data["claim_b"])
    ]


def _outcomes_of(claim: WorldObject, world: World) -> Iterator[str]:
    for found in _disputes_of(claim, world):
        if found.data.get("status") in ("resolved", "failed"):
            end = "first" if found.data["claim_a"] == claim.id else "second"
            yield _outcome(end, found.data.get("holds", ""))


def _outcome(end: str, holds: str) -> str:
    if holds in (end, "both"):
        return "upheld"
    return "rejected" if holds in ("first", "second", "neither") else "undecided"


def _share_evidence(event: RecordedEvent, found: WorldObject, world: World) -> Iterator[KandoEvent]:
    """Let the evidence of each of two claims that agree support the other."""
    first, second = _claims_of(found, world)
    if first is None or second is None:
        return
    for one, other in ((first, second), (second, first)):
        known = {relation.source_id for relation in world.get_relations(other.id, SUPPORTS)}
        for relation in world.get_relations(one.id, SOURCED_FROM):
            if relation.source_id not in known:
                evidence = world.objects[relation.source_id]
                yield relate(SUPPORTS, evidence, other, cause=[event, evidence.event_id])


def _most_similar(claim: WorldObject, world: World) -> list[WorldObject]:
    """Return for each source the earlier statement that shares most words with a claim, if any."""
    company = company_of(world)
    common = words_in(company.data["name"]) if company else set()
    words = words_in(claim.data["statement"]) - common
    best: dict[str, tuple[int, WorldObject]] = {}
    for other in world.objects_of(CLAIM):
        if other.id == claim.id:
            break
        if not is_sourced(other):
            continue
        others = words_in(other.data["statement"]) - common
        shared, shorter = len(words & others), min(len(words), len(others))
        known, _ = best.get(other.data["source"], (0, other))
        if shared > known and 2 * shared >= shorter:
            best[other.data["source"]] = (shared, other)
    return [other for _, other in best.values()]


def _claims_of(found: WorldObject, world: World) -> tuple[WorldObject | None, WorldObject | None]:
    first, second = (world.get_object(found.data[end]) for end in ("claim_a", "claim_b"))
    return (
        first if first is not None and first.type == CLAIM else None,
        second if second is not None and second.type == CLAIM else None,
    )


def _statement(claim: WorldObject) -> str:
    return one_line(claim.data["statement"], 500)


def _excerpts(claim: WorldObject, world: World) -> str:
    relations = world.get_relations(claim.id, SOURCED_FROM)[:_MAX_QUOTED]
    return quoted([world.objects[each.source_id].data["excerpt"] for each in relations])
