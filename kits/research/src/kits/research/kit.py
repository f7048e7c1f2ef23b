"""Open-ended research: the responders that lead from a goal to a synthesis."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

import attrs

from kando.emit import ask, call_tool, create, patch, relate
from kando.responders.answers import failure_of, text_of
from kando.responders.base import Responder
from kando.schema.events import (
    LLM_RESPONSE,
    OBJECT_CREATED,
    OBJECT_PATCHED,
    TOOL_RETURNED,
    KandoEvent,
    RecordedEvent,
    make_event,
)
from kando.text.markdown import one_line
from kando.world.graph import World, WorldObject
from kits.research._found import (
    answered,
    drafts_of,
    ends,
    goal_of,
    is_settled,
    question_of,
    shortfall,
    sources_of,
    waiting_findings,
)
from kits.research._sources import (
    in_parts,
    parts_at,
    paths_in,
    portion_of,
    ranking_of,
    relevant_sources,
    unread_in,
)
from kits.research._texts import (
    checked,
    clipped,
    planned_questions,
    problem_of,
    questions_about,
    reason_of,
    sources_text,
    synthesis_text,
)
from kits.research._types import (
    ANSWERS,
    CITES,
    DECOMPOSES_INTO,
    FINDING,
    GOAL,
    QUESTION,
    SOURCE,
    SYNTHESIS,
    SYNTHESIZES,
    Answer,
    Finding,
    Goal,
    Plan,
    Question,
    Settings,
    Source,
    Synthesis,
    kit,
    max_tokens,
    model_of,
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
    "Settings",
    "create_kit",
    "kit",
    "seed_from_goal",
]

#: Maximum number of sources that a finding cites, unless the settings name another `depth`.
MAX_SOURCES = Settings().depth

#: Maximum characters of an answer in a finding; the ``llm.response`` has the whole answer.
_MAX_ANSWER_CHARS = 16_000

_MAX_GOAL_CHARS = 4_000

#: Maximum number of documents that the request for a plan lists.
_MAX_LISTED = 50

#: Type of the error of an answer that does not match its schema.
_MISFIT = "Misfit"

Emitted = Generator[KandoEvent, RecordedEvent, None]


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
    draft = {"status": "draft"} if paths_in(world) else {}
    for text in questions_about(event.data["data"]["text"], world.settings(Settings).questions):
        question = yield create(QUESTION, {"text": text, **draft})
        yield relate(DECOMPOSES_INTO, event, question, cause=[question])


@kit.llm_responder(
    OBJECT_CREATED,
    type=Goal,
    prompt="plan",
    system="system",
    output=Plan,
    model=model_of("plan"),
    max_tokens=max_tokens,
)
def plan(event: RecordedEvent, world: World) -> Mapping[str, Any] | None:
    """Ask which questions about the documents serve a goal, while its questions are drafts."""
    paths, drafts = paths_in(world), drafts_of(event.data["id"], world)
    if not paths or not drafts:
        return None
    goal = clipped(event.data["data"]["text"], _MAX_GOAL_CHARS)
    listed = "\n".join(f"> {one_line(path, 300)}" for path in paths[:_MAX_LISTED])
    return {"goal": goal, "documents": listed, "number": len(drafts)}


@plan.then
def on_plan(found: Plan, about: WorldObject, world: World) -> Iterator[KandoEvent]:
    """Settle the draft questions of a goal as planned; unchanged if the plan has too few."""
    drafts = drafts_of(about.id, world)
    planned = planned_questions(found.questions)
    if len(planned) < len(drafts):
        planned = [each.data["text"] for each in drafts]
    for question, asked in zip(drafts, planned, strict=False):
        yield patch(question, {"text": asked, "status": "settled"})


@plan.failed
def on_no_plan(error: Mapping[str, Any], about: WorldObject, world: World) -> Iterator[KandoEvent]:
    """Settle the draft questions of a goal unchanged."""
    for question in drafts_of(about.id, world):
        yield patch(question, {"status": "settled"})


@kit.responder(OBJECT_CREATED, type="Document")
def on_document_created(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
    """Create a source from each passage that is read of an input document."""
    path = event.data["data"].get("path")
    parts = parts_at(path, world)
    if not parts or parts[0].id != event.data["id"]:
        return
    goal = next(iter(world.objects_of(GOAL)), None)
    about = goal.data["text"] if goal is not None else ""
    portion = portion_of([each.data for each in parts], about, world.settings(Settings))
    sha256, events = parts[0].data.get("sha256", ""), [each.event_id for each in parts]
    for each in portion.passages:
        source = Source(path=path or "", sha256=sha256, **attrs.asdict(each))
        yield create(source, cause=[events[max(each.part - 1, 0)]])


@kit.responder(OBJECT_CREATED, type=Question)
def on_question_created(event: RecordedEvent, world: World) -> Emitted:
    """Create a pending finding, which cites the most relevant sources if the question is settled."""
    question = world.objects[event.data["id"]]
    ranking = ranking_of(question, world) if is_settled(question) else None
    cited = relevant_sources(question, world) if is_settled(question) and ranking is None else []
    finding = yield from _create_finding(event, cited, is_ranking=ranking is not None)
    yield relate(ANSWERS, finding, question, cause=[finding])
    if ranking is not None:
        yield call_tool("rank_passages", ranking, about=question)


@kit.responder(OBJECT_PATCHED, type=Question)
def on_question_settled(event: RecordedEvent, world: World) -> Emitted:
    """Replace the finding of a newly settled question by one that cites the relevant sources."""
    question = world.objects[event.data["id"]]
    for finding in waiting_findings(question, world):
        if event.data["patch"].get("status") == "settled":
            ranking = ranking_of(question, world)
            if ranking is not None:
                yield call_tool("rank_passages", ranking, about=question)
                return
            relevant = relevant_sources(question, world)
            yield from _create_finding(event, relevant, finding.id, [question.event_id])


@kit.responder(TOOL_RETURNED, type=Question)
def on_passages_ranked(event: RecordedEvent, world: World) -> Emitted:
    """Replace the finding of a question by one that cites the sources as an installed recall ranks them."""
    question = world.objects[str(event.object_id)]
    failure, order = failure_of(event.data), event.data.get("result")
    for finding in waiting_findings(question, world):
        if failure is not None or not isinstance(order, list):
            reason = reason_of(failure or {"message": "the passages have no order"})
            yield patch(finding, {"status": "failed", "error": reason, "is_ranking": True})
        else:
            relevant = relevant_sources(question, world, order)
            yield from _create_finding(event, relevant, finding.id, [question.event_id])


@kit.llm_responder(
    OBJECT_CREATED,
    OBJECT_PATCHED,
    type=Finding,
    prompt="finding",
    system="system",
    output=Answer,
    model=model_of("finding"),
    max_tokens=max_tokens,
    accepts_cut=True,
)
def find(event: RecordedEvent, world: World) -> Mapping[str, Any] | None:
    """Ask for the answer to a question from its sources: from each part of them, one by one.

    After an unusable answer it asks once more.
    """
    finding, sources = world.objects[event.data["id"]], sources_of(event.data["id"], world)
    asks_again = event.data.get("patch", {}).keys() & {"part", "problem"}
    if not sources or finding.data["status"] != "pending" or not question_of(finding.id, world):
        return None
    if event.type == OBJECT_PATCHED and not asks_again:
        return None
    data = [source.data for source in sources]
    parts = in_parts(data, world.settings(Settings))
    start, end = parts[min(finding.data.get("part", 1), len(parts)) - 1]
    problem = finding.data.get("problem")
    again = f"\n\nAn earlier answer was unusable: {problem}." if problem else ""
    shown = sources_text(data[start:end], start + 1)
    return {**_asked(finding.id, world), "sources": shown, "again": again}


@find.then
def on_found(found: Answer, about: WorldObject, world: World) -> Iterator[KandoEvent]:
    """Keep the statements that their sources support; complete the finding after the last part."""
    sources = [source.data for source in sources_of(about.id, world)]
    good, left_out = checked(found, sources)
    problem = problem_of(found, good, left_out)
    if problem and not about.data.get("problem"):
        yield patch(about, {"problem": problem})
        return
    part, parts = about.data.get("part", 1), in_parts(sources, world.settings(Settings))
    said = list(dict.fromkeys([*about.data.get("said", ()), *good]))
    changes: dict[str, Any] = {}
    if left_out:
        changes["left_out"] = [*about.data.get("left_out", ()), *left_out]
    if part < len(parts):
        yield patch(about, {**changes, "part": part + 1, "problem": "", "said": said})
        return
    missing = one_line(found.missing, 500)
    if not said and problem:
        changes |= {"status": "failed", "error": f"no usable answer: {problem}"}
    else:
        text = clipped("\n".join(said) or missing, _MAX_ANSWER_CHARS)
        changes |= {"status": "completed", "text": text, "missing": missing}
    yield patch(about, changes)


@find.failed
def on_not_found(
    error: Mapping[str, Any], about: WorldObject, world: World
) -> Iterator[KandoEvent]:
    """Record why a question has no answer."""
    # The text of an answer that is not structured is handled with the other texts.
    if error.get("type") != _MISFIT:
        yield patch(about, {"status": "failed", "error": reason_of(error)})


@kit.responder(OBJECT_CREATED, type=Finding)
def on_finding_created(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
    """Ask for the answer to a settled question that has no sources, as a text."""
    question = question_of(event.data["id"], world)
    if question is None or not is_settled(question) or event.data["data"]["status"] != "pending":
        return
    if not sources_of(event.data["id"], world) and not event.data["data"].get("is_ranking"):
        asked = _asked(event.data["id"], world)
        prompt = kit.prompt("finding", **asked, sources=sources_text([]), again="")
        messages = [
            {"role": "system", "content": kit.prompt("system")},
            {"role": "user", "content": prompt},
        ]
        settings = world.settings(Settings)
        model, limit = model_of("finding")(world), settings.max_tokens
        yield ask(messages, about=event, model=model, max_tokens=limit)


@kit.responder(LLM_RESPONSE, type=Finding)
def on_text(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
    """Complete a finding with its first answer that is a text, or mark it as failed."""
    finding = world.objects[event.data["cause_object_id"]]
    failure = failure_of(event.data)
    is_misfit = failure is not None and failure.get("type") == _MISFIT
    if finding.data["status"] == "completed" or ("conversation" in event.data and not is_misfit):
        return
    text = event.data.get("text") if is_misfit else text_of(event.data)
    # A text that begins like JSON is a damaged structured answer, which no reader understands.
    if not isinstance(text, str) or not text.strip() or (is_misfit and text.lstrip()[0] in "{["):
        yield patch(finding, {"status": "failed", "error": reason_of(failure or _NO_TEXT)})
        return
    changes = {"status": "completed", "text": clipped(text, _MAX_ANSWER_CHARS)}
    if is_misfit:
        changes["unchecked"] = "the model gave no structured answer"
    yield patch(finding, changes | ({"error": None} if finding.data.get("error") else {}))


_NO_TEXT = {"message": "the answer has no text"}


@kit.responder(OBJECT_PATCHED, type=Finding)
def on_finding_patched(event: RecordedEvent, world: World) -> Emitted:
    """Write the synthesis when no finding of the goal is pending, and update it after changes."""
    question = question_of(event.data["id"], world)
    goal = goal_of(question.id, world) if question else None
    if goal is None:
        return
    asked = [ends(each.id, ANSWERS, world) for each in ends(goal.id, DECOMPOSES_INTO, world)]
    findings = [finding for each in asked for finding in each]
    if not all(asked) or any(finding.data["status"] == "pending" for finding in findings):
        return
    found = [answered(each, world) for each in findings]
    problem = shortfall(found)
    unread = [*unread_in(world, goal.data["text"])]
    text = synthesis_text(goal.data["text"], found, unread, problem)
    cause: list[KandoEvent | str] = [event, *(finding.event_id for finding in findings)]
    existing = world.get_relations(goal.id, SYNTHESIZES)
    if not existing:
        # One synthesis per goal: its id does not depend on which finding was answered last.
        made = Synthesis("completed", text, problem=problem)
        synthesis = yield create(made, id=f"synthesis-of-{goal.id}", cause=cause)
        yield relate(SYNTHESIZES, synthesis, goal, cause=[synthesis])
        return
    known = world.objects[existing[0].source_id].data
    changes = (
        {"text": text, "problem": problem} if problem or known.get("problem") else {"text": text}
    )
    if any(known.get(name) != value for name, value in changes.items()):
        yield patch(existing[0].source_id, changes, cause=cause)


def _asked(finding_id: str, world: World) -> dict[str, str]:
    """Return the question of a finding and its goal, as the prompt shows them."""
    question = question_of(finding_id, world)
    goal = goal_of(question.id, world) if question else None
    return {
        "question": question.data["text"] if question else "",
        "goal": clipped(goal.data["text"], _MAX_GOAL_CHARS) if goal else "none",
    }


def _create_finding(
    event: RecordedEvent,
    cited: list[WorldObject],
    id: str | None = None,
    also: Sequence[str] = (),
    *,
    is_ranking: bool = False,
) -> Generator[KandoEvent, RecordedEvent, RecordedEvent]:
    cause: list[KandoEvent | str] = [event, *(source.event_id for source in cited), *also]
    waits = {"is_ranking": True} if is_ranking else {}
    finding = yield create(FINDING, {"status": "pending", "text": "", **waits}, id=id, cause=cause)
    for source in cited:
        yield relate(CITES, finding, source, cause=[finding, source.event_id])
    return finding
