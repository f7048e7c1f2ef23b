"""Claims against claims: who is compared, what a contradiction means, what confidence is left.

Each request shows a model two claims and what they rest on, so that no third one can have a say.
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

#: Confidence in percent by the number of different sources that support a claim.
_CONFIDENCE = {0: 20, 1: 60, 2: 80}
_CONFIDENCE_OF_MORE = 90
_CONFIDENCE_OF_REJECTED = 5


@kit.responder(OBJECT_CREATED, type=Claim)
def on_statement_created(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
    """Complete what a source states: score it, and suspect contradictions to what others state.

    A suspicion is about the claim of each source that is most like the new one.
    """
    claim = world.objects[event.data["id"]]
    if not is_sourced(claim) or claim.data["status"] != "pending":
        return
    for other in _most_alike(claim, world):
        pair = {"claim_a": other.id, "claim_b": claim.id, "status": "suspected"}
        yield create(CONTRADICTION, pair, cause=[event, other.event_id])
    yield patch(claim, {"status": "completed", "confidence": confidence_of(claim, world)})


@kit.edge_logic(SUPPORTS)
def weigh_support(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
    """Score a claim anew when further evidence supports it."""
    claim = world.objects[event.data["target_id"]]
    confidence = confidence_of(claim, world)
    if is_sourced(claim) and claim.data.get("confidence", confidence) != confidence:
        yield patch(claim, {"confidence": confidence})


@kit.responder(OBJECT_CREATED, type=Contradiction)
def on_contradiction_created(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
    """Have suspected claims compared; relate those of an open contradiction.

    What the relation means is said by the edge logic.
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
    """Open the resolution of two claims that contradict each other, whoever related them."""
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
        made = yield create(CONTRADICTION, pair | {"reason": "they were related so"})
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
    """Take what comparing two claims, or resolving their contradiction, came to."""
    found = world.objects[event.data["cause_object_id"]]
    text = text_of(event.data)
    if found.data.get("status") == "suspected":
        verdict = parse_verdict(text or "")
        if verdict.says == "AGREES":
            yield from _share_evidence(event, found, world)
        is_open = verdict.says == "CONTRADICTS"
        yield patch(found, {"status": "open" if is_open else "dismissed", "reason": verdict.reason})
        first, second = _claims_of(found, world)
        if is_open and first is not None and second is not None:
            yield relate(CONTRADICTS, first, second, {"contradiction": found.id})
    elif found.data.get("status") == "resolving":
        done = {"status": "failed", "resolution": reason_of(event.data)}
        if text is not None:
            holds, why = parse_resolution(text)
            done = {"status": "resolved", "holds": holds, "resolution": why}
        yield from _settle(found, done, world)


def confidence_of(claim: WorldObject, world: World, *outcomes: str) -> int:
    """Return the confidence in a claim, in percent.

    It grows with the number of different sources that support the claim; copies of one document
    are one source. A claim that was found not to hold is next to nothing, one whose dispute was
    not decided is half of what its sources say.

    Args:
        claim: whose it is.
        world: where it stands.
        outcomes: ``upheld``, ``rejected`` or ``undecided``, beside those of earlier disputes.
    """
    evidence = (world.objects[r.source_id] for r in world.get_relations(claim.id, SUPPORTS))
    sources = {each.data.get("sha256") or each.data.get("path") for each in evidence}
    all_outcomes = {*outcomes, *_outcomes_of(claim, world)}
    if "rejected" in all_outcomes:
        return _CONFIDENCE_OF_REJECTED
    score = _CONFIDENCE.get(len(sources), _CONFIDENCE_OF_MORE)
    return score // 2 if "undecided" in all_outcomes else score


def _settle(found: WorldObject, done: dict[str, str], world: World) -> Iterator[KandoEvent]:
    for end, claim in zip(("first", "second"), _claims_of(found, world), strict=True):
        if claim is None:
            continue
        changes: dict[str, object] = {}
        others = [each for each in _disputes_of(claim, world) if each.id != found.id]
        is_free = all(each.data.get("status") != "resolving" for each in others)
        if claim.data["status"] == "disputed" and is_free:
            changes["status"] = "completed"
        confidence = confidence_of(claim, world, _outcome(end, done.get("holds", "")))
        if is_sourced(claim) and claim.data.get("confidence") != confidence:
            changes["confidence"] = confidence
        if changes:
            yield patch(claim, changes)
    # Last, so that whoever looks whether anything is open sees what became of the claims.
    yield patch(found, done)


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
    """Let what two claims that agree rest on support both."""
    first, second = _claims_of(found, world)
    if first is None or second is None:
        return
    for one, other in ((first, second), (second, first)):
        known = {relation.source_id for relation in world.get_relations(other.id, SUPPORTS)}
        for relation in world.get_relations(one.id, SOURCED_FROM):
            if relation.source_id not in known:
                evidence = world.objects[relation.source_id]
                yield relate(SUPPORTS, evidence, other, cause=[event, evidence.event_id])


def _most_alike(claim: WorldObject, world: World) -> list[WorldObject]:
    """Return of each source the earlier statement that shares most with a claim, if any does."""
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
