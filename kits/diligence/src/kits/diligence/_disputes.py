"""Contradictions between claims: comparison, resolution, and the confidence that results.

Each request shows the model two claims and their evidence only, so that no third source can
influence the answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from kando.emit import create, patch, relate
from kando.schema.events import OBJECT_CREATED, OBJECT_PATCHED
from kando.schema.events import KandoEvent as Event
from kando.schema.events import RecordedEvent as Recorded
from kando.text.markdown import one_line
from kando.text.relevance import words_in
from kando.world.graph import World, WorldObject
from kits.diligence._answers import Comparison, Resolution
from kits.diligence._reading import (
    company_name,
    is_sourced,
    one_reason,
    quoted,
    statements_in,
)
from kits.diligence._types import (
    CONTRADICTION,
    CONTRADICTS,
    SOURCED_FROM,
    SUPPORTS,
    Claim,
    Contradiction,
    Evidence,
    kit,
    max_tokens,
    model_of,
)

__all__ = ["confidence_of", "disputes_of", "outcome_for", "sources_of", "surviving"]

_MAX_QUOTED = 3

#: Confidence in percent by the number of distinct sources that support a claim.
_CONFIDENCE = {0: 20, 1: 60, 2: 80}
_CONFIDENCE_OF_MORE = 90
_CONFIDENCE_OF_REJECTED = 5


@kit.responder(OBJECT_CREATED, type=Claim)
def on_statement_created(event: Recorded, world: World) -> Iterator[Event]:
    """Score a statement, and suspect a contradiction with those of other sources where one may be.

    Of each other source, only the most similar of these statements is compared with it.
    """
    id, claim = str(event.object_id), event.as_object(Claim)
    if not is_sourced(claim) or claim.status != "pending":
        return
    for other in _comparable(id, claim, world):
        pair = Contradiction(other, id, status="suspected")
        yield create(pair, cause=[event, world.objects[other].event_id])
    yield patch(id, {"status": "completed", "confidence": confidence_of(id, world)})


@kit.edge_logic(SUPPORTS)
def weigh_support(event: Recorded, world: World) -> Iterator[Event]:
    """Update the confidence of a claim when more evidence supports it."""
    id = event.data["target_id"]
    claim = world.get(Claim, id)
    if claim is None or not is_sourced(claim) or claim.status == "merged":
        return
    if claim.confidence is not None and claim.confidence != confidence_of(id, world):
        yield patch(id, {"confidence": confidence_of(id, world)})


@kit.responder(OBJECT_CREATED, type=Contradiction)
def on_contradiction_created(event: Recorded, world: World) -> Iterator[Event]:
    """Relate the claims of an open contradiction; the edge logic of the relation does the rest."""
    found, id = event.as_object(Contradiction), str(event.object_id)
    if found.status == "open" and _are_two_claims(found, world):
        yield relate(CONTRADICTS, found.claim_a, found.claim_b, {"contradiction": id})


@kit.llm_responder(
    OBJECT_CREATED,
    type=Contradiction,
    prompt="comparison",
    system="system",
    output=Comparison,
    model=model_of("comparison"),
    max_tokens=max_tokens,
)
def compare(event: Recorded, world: World) -> Mapping[str, Any] | None:
    """Ask whether two claims that are suspected to contradict each other do."""
    found = event.as_object(Contradiction)
    if found.status != "suspected" or not _are_two_claims(found, world):
        return None
    first, second = (_statement(id, world) for id in (found.claim_a, found.claim_b))
    return {"company": company_name(world), "first": first, "second": second}


@compare.then
def on_compared(answer: Comparison, about: WorldObject, world: World) -> Iterator[Event]:
    """Merge two claims that say the same, or relate two that contradict each other."""
    first, second = (surviving(about.data[end], world) for end in ("claim_a", "claim_b"))
    known = {each.id for each in disputes_of(first, world)}
    is_known = any(each.id in known for each in disputes_of(second, world))
    if answer.verdict == "agree" and first != second:
        yield from _merge(first, second, world)
    is_open = answer.verdict == "contradict" and first != second and not is_known
    status = "open" if is_open else "dismissed"
    yield patch(about, {"status": status, "reason": one_line(answer.reason, 500)})
    if is_open:
        yield relate(CONTRADICTS, first, second, {"contradiction": about.id})


@compare.failed
def on_not_compared(error: Mapping[str, Any], about: WorldObject, world: World) -> Iterator[Event]:
    """Leave a suspicion undecided, and report why."""
    yield from _settle(about, {"status": "failed", "resolution": one_reason(error)}, world)


@kit.edge_logic(CONTRADICTS)
def open_resolution(event: Recorded, world: World) -> Iterator[Event]:
    """Open the resolution of two claims that contradict each other, however the relation arose."""
    first, second = event.data["source_id"], event.data["target_id"]
    for end in (first, second):
        if world.objects[end].data["status"] == "completed":
            yield patch(end, {"status": "disputed"})
    named = (event.data.get("data") or {}).get("contradiction")
    found = world.get(Contradiction, named) if isinstance(named, str) else None
    if found is None:
        reason = "the relation was created directly"
        yield create(Contradiction(first, second, reason, "resolving"))
    else:
        yield patch(str(named), {"status": "resolving"})


@kit.llm_responder(
    OBJECT_CREATED,
    OBJECT_PATCHED,
    type=Contradiction,
    prompt="resolution",
    system="system",
    output=Resolution,
    model=model_of("resolution"),
    max_tokens=max_tokens,
)
def resolve(event: Recorded, world: World) -> Mapping[str, Any] | None:
    """Ask which of two claims that contradict each other holds."""
    found = world.get(Contradiction, str(event.object_id))
    if found is None or event.object.get("status") != "resolving":
        return None
    first, second = (surviving(id, world) for id in (found.claim_a, found.claim_b))
    return {
        "company": company_name(world),
        "first": _statement(first, world),
        "second": _statement(second, world),
        "reason": one_line(found.reason, 500),
        "first_evidence": _excerpts(first, world),
        "second_evidence": _excerpts(second, world),
    }


@resolve.then
def on_resolved(answer: Resolution, about: WorldObject, world: World) -> Iterator[Event]:
    """Apply the answer to the claims and their confidence."""
    reason = one_line(answer.reason, 4000)
    changes = {"status": "resolved", "holds": answer.holds, "resolution": reason}
    yield from _settle(about, changes, world)


@resolve.failed
def on_unresolved(error: Mapping[str, Any], about: WorldObject, world: World) -> Iterator[Event]:
    """Leave a contradiction undecided."""
    yield from _settle(about, {"status": "failed", "resolution": one_reason(error)}, world)


def confidence_of(id: str, world: World, *outcomes: str) -> int:
    """Return the confidence in a claim, in percent.

    It grows with the number of distinct sources that support the claim; copies of one document
    count as one source. A rejected claim has almost none, and an undecided dispute halves it.

    Args:
        id: of the claim to score.
        world: the world that holds the claim.
        outcomes: as in `outcome_for`, in addition to those of earlier disputes.
    """
    all_outcomes = {*outcomes, *(outcome_for(id, each, world) for each in disputes_of(id, world))}
    if "rejected" in all_outcomes:
        return _CONFIDENCE_OF_REJECTED
    score = _CONFIDENCE.get(sources_of(id, world), _CONFIDENCE_OF_MORE)
    return score // 2 if "undecided" in all_outcomes else score


def sources_of(id: str, world: World) -> int:
    """Return the number of distinct sources that support a claim."""
    evidence = world.sources(id, SUPPORTS, Evidence)
    return len({each.sha256 or each.path for each in evidence})


def disputes_of(id: str, world: World) -> list[WorldObject]:
    """Return the contradictions of a claim and of those that were merged into it."""
    return [
        each
        for each in world.objects_of(CONTRADICTION)
        if each.data["status"] not in ("suspected", "dismissed")
        and id in (surviving(each.data["claim_a"], world), surviving(each.data["claim_b"], world))
    ]


def outcome_for(id: str, dispute: WorldObject, world: World) -> str:
    """Return the outcome of a dispute for a claim: upheld, rejected, undecided; empty if pending."""
    status, holds = dispute.data["status"], dispute.data["holds"]
    if status not in ("resolved", "failed"):
        return ""
    end = "first" if surviving(dispute.data["claim_a"], world) == id else "second"
    if holds in (end, "both"):
        return "upheld"
    return "undecided" if holds in ("", "unclear") else "rejected"


def surviving(id: str, world: World) -> str:
    """Return the id of the claim that a claim was merged into, or its own."""
    while (claim := world.get(Claim, id)) is not None and claim.merged_into:
        id = claim.merged_into
    return id


def _settle(found: WorldObject, changes: dict[str, str], world: World) -> Iterator[Event]:
    settled = attrs.evolve(found, data={**found.data, **changes})
    for id in (surviving(found.data[end], world) for end in ("claim_a", "claim_b")):
        claim = world.get(Claim, id)
        if claim is None:
            continue
        others = [each for each in disputes_of(id, world) if each.id != found.id]
        is_free = all(each.data["status"] != "resolving" for each in others)
        confidence = confidence_of(id, world, outcome_for(id, settled, world))
        update: dict[str, object] = {}
        if claim.status == "disputed" and is_free:
            update["status"] = "completed"
        if is_sourced(claim) and claim.confidence != confidence:
            update["confidence"] = confidence
        if update:
            yield patch(id, update)
    # Last, so that the responder that writes the report sees the updated claims.
    yield patch(found, changes)


def _merge(kept: str, merged: str, world: World) -> Iterator[Event]:
    """Let the evidence of a claim support the one that says the same, which takes its place."""
    known = {each.id for each in world.sources(kept, SUPPORTS)}
    if world.objects[merged].data["status"] == "disputed":
        yield patch(kept, {"status": "disputed"})
    yield patch(merged, {"status": "merged", "merged_into": kept})
    for evidence in world.sources(merged, SUPPORTS):
        if evidence.id not in known:
            yield relate(SUPPORTS, evidence, kept, cause=[evidence.event_id])


def _comparable(id: str, claim: Claim, world: World) -> list[str]:
    """Return for each other source the earlier statement that is most similar, if one may conflict."""
    name = words_in(f"company {company_name(world)}")
    said = words_in(claim.statement) - name
    best: dict[str, tuple[int, str]] = {}
    for other_id, other in statements_in(world):
        if other_id == id:
            break
        if other.source == claim.source or not _may_conflict(claim, other, name):
            continue
        shared = 1 + len(said & words_in(other.statement))
        if shared > best.get(other.source, (0, ""))[0]:
            best[other.source] = shared, other_id
    return [other_id for _, other_id in best.values()]


def _may_conflict(one: Claim, other: Claim, name: set[str]) -> bool:
    """Whether two statements are about the same attribute of the same subject."""
    if one.attribute and other.attribute:
        subjects = [words_in(each.subject) - name for each in (one, other)]
        # A subject that is not given may be the company or any other.
        is_same = not (one.subject and other.subject) or not any(subjects) or _overlap(*subjects)
        return is_same and _overlap(words_in(one.attribute), words_in(other.attribute))
    return _overlap(words_in(one.statement) - name, words_in(other.statement) - name)


def _overlap(one: set[str], other: set[str]) -> bool:
    """Whether two sets share at least half of the words of the smaller one."""
    shared = len(one & other)
    return shared > 0 and 2 * shared >= min(len(one), len(other))


def _are_two_claims(found: Contradiction, world: World) -> bool:
    ends = (found.claim_a, found.claim_b)
    return ends[0] != ends[1] and all(world.get(Claim, end) is not None for end in ends)


def _statement(id: str, world: World) -> str:
    return one_line(world.objects[id].data["statement"], 500)


def _excerpts(id: str, world: World) -> str:
    return quoted(
        [each.excerpt for each in world.sources(id, SOURCED_FROM, Evidence)[:_MAX_QUOTED]]
    )
