"""Questions, findings and sources of a world, found by their relations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kando.world.graph import World, WorldObject
from kits.research._types import ANSWERS, CITES, DECOMPOSES_INTO

__all__ = [
    "Answered",
    "answered",
    "drafts_of",
    "ends",
    "goal_of",
    "is_settled",
    "question_of",
    "shortfall",
    "sources_of",
    "waiting_findings",
]

#: The text of a question, the data of its finding, and the data of the sources of that.
Answered = tuple[str, dict[str, Any], list[dict[str, Any]]]


def shortfall(found: Sequence[Answered]) -> str:
    """Return why no question has an answer, if there are sources to answer from; else an empty text."""
    if not any(sources or finding.get("is_ranking") for _, finding, sources in found):
        return ""
    if any(finding["status"] == "completed" for _, finding, _ in found):
        return ""
    reasons = dict.fromkeys(finding.get("error") or "no reason given" for _, finding, _ in found)
    return f"None of {len(found)} questions has an answer: {'; '.join(reasons)}"


def drafts_of(goal_id: str, world: World) -> list[WorldObject]:
    """Return the questions of a goal that are drafts."""
    questions = ends(goal_id, DECOMPOSES_INTO, world)
    return [each for each in questions if not is_settled(each)]


def is_settled(question: WorldObject) -> bool:
    """Whether a question is final."""
    return question.data.get("status") != "draft"


def answered(finding: WorldObject, world: World) -> Answered:
    """Return a finding with its question and its sources."""
    question = question_of(finding.id, world)
    asked = question.data["text"] if question else ""
    return asked, finding.data, [source.data for source in sources_of(finding.id, world)]


def ends(id: str, relation_type: str, world: World) -> list[WorldObject]:
    """Return the objects at the other end of an object's relations of a type."""
    return [
        world.objects[each.source_id if each.target_id == id else each.target_id]
        for each in world.get_relations(id, relation_type)
    ]


def goal_of(question_id: str, world: World) -> WorldObject | None:
    """Return the goal of a question."""
    return next(iter(ends(question_id, DECOMPOSES_INTO, world)), None)


def question_of(finding_id: str, world: World) -> WorldObject | None:
    """Return the question of a finding."""
    return next(iter(ends(finding_id, ANSWERS, world)), None)


def sources_of(finding_id: str, world: World) -> list[WorldObject]:
    """Return the sources that a finding cites, in order."""
    return ends(finding_id, CITES, world)


def waiting_findings(question: WorldObject, world: World) -> list[WorldObject]:
    """Return the findings of a question that wait for their sources."""
    findings = ends(question.id, ANSWERS, world)
    pending = [each for each in findings if each.data["status"] == "pending"]
    return [each for each in pending if not sources_of(each.id, world)]
