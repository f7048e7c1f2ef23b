"""Open-ended research: object types, and the responders that lead from a goal to a synthesis."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from hashlib import sha256
from itertools import islice
from typing import Any, Literal

import attrs

from kando.emit import ask, create, patch, relate
from kando.kit import OMITTED, Demo, Kit, load_prompts
from kando.responders.answers import failure_of, text_of
from kando.responders.base import Responder
from kando.schema.events import (
    LLM_RESPONSE,
    OBJECT_CREATED,
    OBJECT_PATCHED,
    KandoEvent,
    RecordedEvent,
    make_event,
)
from kando.text.documents import passages
from kando.text.markdown import one_line
from kando.text.relevance import most_relevant
from kando.world.graph import World, WorldObject
from kits.research._texts import (
    clipped,
    planned_questions,
    questions_about,
    reason_of,
    sources_text,
    synthesis_text,
)

__all__ = [
    "ANSWERS",
    "CITES",
    "DECOMPOSES_INTO",
    "FINDING",
    "GOAL",
    "MAX_SOURCES",
    "QUESTION",
    "SOURCE",
    "SYNTHESIS",
    "SYNTHESIZES",
    "create_kit",
    "kit",
    "seed_from_goal",
]

#: Maximum number of sources that a finding cites.
MAX_SOURCES = 5

#: Maximum characters of an answer in a finding; the ``llm.response`` has the whole answer.
_MAX_ANSWER_CHARS = 16_000

_MAX_GOAL_CHARS = 4_000

_PLACES_PER_DOCUMENT = 2

#: Maximum number of documents that the request for a plan lists.
_MAX_LISTED = 50

Emitted = Generator[KandoEvent, RecordedEvent, None]
Status = Literal["pending", "completed", "failed"]

kit = Kit(
    "research",
    version="0.1.0",
    distribution="kando-kit-research",
    prompts=load_prompts(__package__),
    demo=Demo(__package__, "How should Eastbridge protect itself from floods?"),
)


@kit.object
@attrs.frozen
class Goal:
    """The goal of the run."""

    text: str


@kit.object
@attrs.frozen
class Question:
    """One of the questions that a goal decomposes into.

    Attributes:
        text: the question in plain text.
        status: ``draft`` until the plan is answered, if there are documents; then ``settled``.
    """

    text: str
    status: Literal["draft", "settled"] = "settled"


@kit.object
@attrs.frozen
class Source:
    """A passage of an input document.

    Attributes:
        path: path of the document.
        sha256: digest of the document, in hexadecimal.
        start: offset of the passage in the text of its document part, in characters.
        end: offset of its end, exclusive.
        excerpt: text of the passage.
        part: number of the part of a long document, from 1; 0 if the document is not split.
    """

    path: str
    sha256: str
    start: int
    end: int
    excerpt: str
    part: int = 0


@kit.object
@attrs.frozen
class Finding:
    """The answer to a question, from the sources it cites.

    Attributes:
        status: ``pending`` until there is an answer.
        text: the answer, empty until then.
        error: why it failed.
    """

    status: Status
    text: str = ""
    error: str | None = attrs.field(default=None, metadata=OMITTED)


@kit.object
@attrs.frozen
class Synthesis:
    """The combined findings of a goal.

    Attributes:
        text: the synthesis in Markdown.
        name: name of the artifact.
        media_type: media type of the text.
    """

    status: Status
    text: str
    name: str = "synthesis.md"
    media_type: str = "text/markdown"


GOAL, QUESTION, SOURCE, FINDING, SYNTHESIS = "Goal", "Question", "Source", "Finding", "Synthesis"
DECOMPOSES_INTO = kit.relation("decomposes_into", Goal, Question)
ANSWERS = kit.relation("answers", Finding, Question)
SYNTHESIZES = kit.relation("synthesizes", Synthesis, Goal)
CITES = kit.relation("cites", Finding, Source)


def create_kit() -> list[Responder]:
    """Return the kit's responders, to be passed to a `Runtime`."""
    return kit.create()


@kit.seeds
def seed_from_goal(goal: str, run_id: str) -> list[KandoEvent]:
    """Return the one event that starts a run.

    Args:
        goal: the goal in plain text.
        run_id: id of the run that the event is recorded in.
    """
    id = f"goal-{sha256(goal.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
    data = {"id": id, "type": GOAL, "data": {"text": goal}}
    return [make_event(OBJECT_CREATED, f"run:{run_id}", "cli", [], data)]


@kit.responder(OBJECT_CREATED, type=Goal)
def on_goal_created(event: RecordedEvent, world: World) -> Emitted:
    """Decompose a goal into questions, unless it already has some.

    If there are documents, the questions are drafts, and a model is asked for better ones.
    """
    if world.get_relations(event.data["id"], DECOMPOSES_INTO):
        return
    goal, paths = event.data["data"]["text"], _paths(world)
    draft = {"status": "draft"} if paths else {}
    for text in questions_about(goal):
        question = yield create(QUESTION, {"text": text, **draft})
        yield relate(DECOMPOSES_INTO, event, question, cause=[question])
    if paths:
        listed = "\n".join(f"> {one_line(path, 300)}" for path in paths[:_MAX_LISTED])
        prompt = kit.prompt("plan", goal=clipped(goal, _MAX_GOAL_CHARS), documents=listed)
        yield _ask(prompt, event)


@kit.responder(LLM_RESPONSE, type=Goal)
def on_plan_answered(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
    """Settle the draft questions of a goal: as planned, or unchanged without a usable plan."""
    drafts = [
        each
        for each in _ends(event.data["cause_object_id"], DECOMPOSES_INTO, world)
        if each.data.get("status") == "draft"
    ]
    planned = planned_questions(text_of(event.data) or "")
    if len(planned) < len(drafts):
        planned = [each.data["text"] for each in drafts]
    for question, asked in zip(drafts, planned, strict=False):
        changes = {"text": asked, "status": "settled"}
        yield patch(question, changes, cause=[event, question.event_id])


@kit.responder(OBJECT_CREATED, type="Document")
def on_document_created(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
    """Create a source from each passage of an input document."""
    document: dict[str, Any] = event.data.get("data") or {}
    text = document.get("text")
    if not isinstance(text, str):
        return
    part = document.get("part", 0) if document.get("parts", 1) > 1 else 0
    for passage in passages(text):
        yield create(
            SOURCE,
            {
                "path": document.get("path", ""),
                "sha256": document.get("sha256", ""),
                "start": passage.start,
                "end": passage.end,
                "excerpt": passage.text,
                **({"part": part} if part else {}),
            },
        )


@kit.responder(OBJECT_CREATED, type=Question)
def on_question_created(event: RecordedEvent, world: World) -> Emitted:
    """Create a pending finding, which cites the most relevant sources if the question is settled."""
    question = world.objects[event.data["id"]]
    cited = _relevant_sources(question, world) if _is_settled(question) else []
    finding = yield from _create_finding(event, cited)
    yield relate(ANSWERS, finding, question, cause=[finding])


@kit.responder(OBJECT_PATCHED, type=Question)
def on_question_settled(event: RecordedEvent, world: World) -> Emitted:
    """Replace the finding of a newly settled question by one that cites the relevant sources."""
    question = world.objects[event.data["id"]]
    for finding in _ends(question.id, ANSWERS, world):
        is_open = finding.data["status"] == "pending" and not _sources_of(finding.id, world)
        if is_open and event.data["patch"].get("status") == "settled":
            yield from _create_finding(event, _relevant_sources(question, world), finding.id)


@kit.responder(OBJECT_CREATED, type=Finding)
def on_finding_created(event: RecordedEvent, world: World) -> Emitted:
    """Ask a model to answer a pending finding, once its question is settled."""
    question = _question_of(event.data["id"], world)
    if question is None or not _is_settled(question) or event.data["data"]["status"] != "pending":
        return
    goal = _goal_of(question.id, world)
    prompt = kit.prompt(
        "finding",
        question=question.data["text"],
        goal=clipped(goal.data["text"], _MAX_GOAL_CHARS) if goal else "none",
        sources=sources_text([source.data for source in _sources_of(event.data["id"], world)]),
    )
    yield _ask(prompt, event)


@kit.responder(LLM_RESPONSE, type=Finding)
def on_answer(event: RecordedEvent, world: World) -> Emitted:
    """Complete a finding with its first answer, or mark it as failed."""
    finding = world.objects[event.data["cause_object_id"]]
    if finding.data["status"] == "completed":
        return
    text = text_of(event.data)
    if text is None or not text.strip():
        failure = failure_of(event.data) or {"message": "the answer has no text"}
        yield patch(finding, {"status": "failed", "error": reason_of(failure)})
    else:
        changes = {"status": "completed", "text": clipped(text, _MAX_ANSWER_CHARS)}
        yield patch(finding, changes | ({"error": None} if finding.data.get("error") else {}))


@kit.responder(OBJECT_PATCHED, type=Finding)
def on_finding_patched(event: RecordedEvent, world: World) -> Emitted:
    """Write the synthesis when no finding of the goal is pending, and update it after changes."""
    question = _question_of(event.data["id"], world)
    goal = _goal_of(question.id, world) if question else None
    if goal is None:
        return
    asked = [_ends(each.id, ANSWERS, world) for each in _ends(goal.id, DECOMPOSES_INTO, world)]
    findings = [finding for each in asked for finding in each]
    if not all(asked) or any(finding.data["status"] == "pending" for finding in findings):
        return
    text = synthesis_text(goal.data["text"], [_answered(each, world) for each in findings])
    cause: list[KandoEvent | str] = [event, *(finding.event_id for finding in findings)]
    existing = world.get_relations(goal.id, SYNTHESIZES)
    if not existing:
        # One synthesis per goal: its id does not depend on which finding was answered last.
        id, data = f"synthesis-of-{goal.id}", {"status": "completed", "text": text}
        data |= {"name": "synthesis.md", "media_type": "text/markdown"}
        synthesis = yield create(SYNTHESIS, data, id=id, cause=cause)
        yield relate(SYNTHESIZES, synthesis, goal, cause=[synthesis])
    elif world.objects[existing[0].source_id].data["text"] != text:
        yield patch(existing[0].source_id, {"text": text}, cause=cause)


def _ask(prompt: str, about: RecordedEvent) -> KandoEvent:
    messages = [
        {"role": "system", "content": kit.prompt("system")},
        {"role": "user", "content": prompt},
    ]
    return ask(messages, about=about)


def _create_finding(
    event: RecordedEvent, cited: list[WorldObject], id: str | None = None
) -> Generator[KandoEvent, RecordedEvent, RecordedEvent]:
    cause: list[KandoEvent | str] = [event, *(source.event_id for source in cited)]
    finding = yield create(FINDING, {"status": "pending", "text": ""}, id=id, cause=cause)
    for source in cited:
        yield relate(CITES, finding, source, cause=[finding, source.event_id])
    return finding


def _relevant_sources(question: WorldObject, world: World) -> list[WorldObject]:
    """Return the sources that are most relevant to a question and its goal.

    One document cannot crowd out the others: it gets two places, and more only if some remain.
    """
    goal = _goal_of(question.id, world)
    query = f"{question.data['text']} {goal.data['text'] if goal else ''}"
    sources = world.objects_of(SOURCE)
    ranked = most_relevant(query, [each.data["excerpt"] for each in sources], len(sources) or 1)
    first: list[int] = []
    places: dict[str, int] = {}
    for index in ranked:
        path = sources[index].data["path"]
        places[path] = places.get(path, 0) + 1
        if places[path] <= _PLACES_PER_DOCUMENT:
            first.append(index)
    in_order = dict.fromkeys([*first, *ranked])
    chosen = set(islice(in_order, MAX_SOURCES))
    return [sources[index] for index in ranked if index in chosen]


def _is_settled(question: WorldObject) -> bool:
    return question.data.get("status") != "draft"


def _paths(world: World) -> list[str]:
    paths = (each.data.get("path") for each in world.objects_of("Document"))
    return list(dict.fromkeys(path for path in paths if isinstance(path, str)))


def _answered(
    finding: WorldObject, world: World
) -> tuple[str, dict[str, Any], list[dict[str, Any]]]:
    question = _question_of(finding.id, world)
    asked = question.data["text"] if question else ""
    return asked, finding.data, [source.data for source in _sources_of(finding.id, world)]


def _ends(id: str, relation_type: str, world: World) -> list[WorldObject]:
    """Return the objects at the other end of an object's relations of a type."""
    return [
        world.objects[each.source_id if each.target_id == id else each.target_id]
        for each in world.get_relations(id, relation_type)
    ]


def _goal_of(question_id: str, world: World) -> WorldObject | None:
    return next(iter(_ends(question_id, DECOMPOSES_INTO, world)), None)


def _question_of(finding_id: str, world: World) -> WorldObject | None:
    return next(iter(_ends(finding_id, ANSWERS, world)), None)


def _sources_of(finding_id: str, world: World) -> list[WorldObject]:
    return _ends(finding_id, CITES, world)
