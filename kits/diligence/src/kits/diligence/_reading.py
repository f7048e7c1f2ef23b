"""From a company to statements: plan, read each source on its own, keep its statements.

Each request shows the model the text of one source only. So a hostile source can influence the
statements that are taken from it, and nothing else.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

import attrs

from kando.emit import call_tool, create, patch, relate
from kando.responders.answers import failure_of
from kando.schema.events import LLM_RESPONSE, OBJECT_CREATED, OBJECT_PATCHED, TOOL_RETURNED
from kando.schema.events import KandoEvent as Event
from kando.schema.events import RecordedEvent as Recorded
from kando.text.markdown import one_line
from kando.text.portions import parts_of
from kando.world.graph import World, WorldObject
from kits.diligence._answers import (
    Plan,
    Reading,
    Statement,
    cited_in,
    urls_in,
    why_unsupported,
    with_holder,
)
from kits.diligence._tools import call_that_reads, paths_in, ranked_document
from kits.diligence._types import (
    COMPANY,
    OVERVIEW,
    READING,
    SOURCED_FROM,
    STATEMENT,
    SUPPORTS,
    Claim,
    Company,
    Evidence,
    Settings,
    kit,
    max_tokens,
    model_of,
)

__all__ = [
    "DEFAULT_QUESTIONS",
    "MAX_EVIDENCE",
    "Emitted",
    "company_name",
    "company_of",
    "is_sourced",
    "one_reason",
    "quoted",
    "statements_in",
]

#: Maximum number of pieces of evidence that a request about a single claim shows.
MAX_EVIDENCE = 20

#: Questions about the company if the plan has none.
DEFAULT_QUESTIONS = (
    "What does it do, and for whom?",
    "When and by whom was it founded, and who owns it?",
    "How large is it: revenue, profit, people?",
    "What could go wrong with it?",
)

_MAX_LISTED = 50
_MAX_NAME_CHARS = 300
_DOCUMENT = "Document"

Emitted = Generator[Event, Recorded, None]


@kit.responder(OBJECT_CREATED, type=Company)
def on_company_created(event: Recorded, world: World) -> Iterator[Event]:
    """Create the first claim about a company."""
    statement = f"What is known about {event.as_object(Company).name}"
    documents = [each.event_id for each in world.objects_of(_DOCUMENT)[:_MAX_LISTED]]
    yield create(Claim(statement, "pending", kind=OVERVIEW), cause=[event, *documents])


@kit.llm_responder(
    OBJECT_CREATED,
    type=Claim,
    prompt="plan",
    system="system",
    output=Plan,
    model=model_of("plan"),
    max_tokens=max_tokens,
)
def plan(event: Recorded, world: World) -> Mapping[str, Any] | None:
    """Ask what to find out about a company."""
    claim = event.as_object(Claim)
    if claim.status != "pending" or claim.kind != OVERVIEW:
        return None
    depth = world.settings(Settings).depth
    return {"company": company_name(world), "documents": _listed(world), "depth": depth}


@plan.then
def on_plan(found: Plan, about: WorldObject, world: World) -> Emitted:
    """Create a reading for each source, with the questions of the plan."""
    asked = [one_line(each, 500) for each in found.questions if each.strip()]
    named = [url for page in found.pages for url in urls_in(page)]
    done = yield patch(about, {"status": "completed", "text": found.summary})
    asked = asked[: max(world.settings(Settings).depth, 1)]
    yield from _create_readings(done.cause, asked, named, world)


@plan.failed
def on_no_plan(error: Mapping[str, Any], about: WorldObject, world: World) -> Emitted:
    """Read the sources with the default questions."""
    done = yield patch(about, {"status": "failed", "error": one_reason(error)})
    yield from _create_readings(done.cause, [], [], world)


@kit.responder(LLM_RESPONSE, type=Claim)
def on_plain_answer(event: Recorded, world: World) -> Iterator[Event]:
    """Keep what a model says about a company that answers with text in place of a plan."""
    claim = world.get(Claim, str(event.object_id))
    failure = failure_of(event.data)
    is_text = bool(event.data.get("text")) and (failure is None or failure.get("type") == "Misfit")
    if claim is not None and claim.kind == OVERVIEW and claim.status == "failed" and is_text:
        text = str(event.data["text"])[:4000]
        yield patch(str(event.object_id), {"status": "completed", "text": text, "error": None})


@kit.responder(OBJECT_CREATED, type=Claim)
def on_reading_created(event: Recorded, world: World) -> Iterator[Event]:
    """Call a tool to read a source."""
    claim = event.as_object(Claim)
    if claim.status != "pending" or claim.kind != READING or claim.part:
        return
    tool, arguments = call_that_reads(claim.source, _about(world), world)
    yield call_tool(tool, arguments, about=event)


@kit.responder(TOOL_RETURNED, type=Claim)
def on_source_read(event: Recorded, world: World) -> Emitted:
    """Create evidence from the passages of a source, and a reading for each further part of it."""
    id = str(event.object_id)
    claim = world.get(Claim, id)
    if claim is None or claim.status != "pending" or claim.kind != READING:
        return
    result = event.data.get("result") or {}
    if isinstance(result, list):
        result = ranked_document(claim.source, _about(world), result, world)
    if not result.get("passages"):
        reason = one_reason(failure_of(event.data) or {"message": "it contains no text"})
        yield patch(id, {"status": "failed", "error": reason})
        return
    if result["unread"]:
        yield patch(id, {"unread": _unread(result)})
    documents = _document_events(claim.source, world)
    place = {"path": result["path"], "sha256": result["sha256"]}
    made = []
    for each in result["passages"]:
        made.append((yield create(Evidence(**place, **each), cause=[event, *documents])))
    sizes = [len(each["excerpt"]) for each in result["passages"]]
    parts = parts_of(sizes, world.settings(Settings).part_chars)
    for number, part in enumerate(parts, 1):
        reading: Event | str = id
        if number > 1:
            statement = f"{claim.statement}, part {number} of {len(parts)}"
            more = attrs.evolve(claim, statement=statement, part=number)
            reading = yield create(more, cause=[event, *documents])
        for evidence in made[slice(*part)]:
            yield relate(SOURCED_FROM, evidence, reading, cause=[evidence])


@kit.llm_responder(
    OBJECT_CREATED,
    TOOL_RETURNED,
    OBJECT_PATCHED,
    type=Claim,
    prompt="reading",
    system="system",
    output=Reading,
    model=model_of("reading"),
    max_tokens=max_tokens,
    accepts_cut=True,
)
def read(event: Recorded, world: World) -> Mapping[str, Any] | None:
    """Ask what a source states, or a part of it; once more if the first answer was unusable."""
    claim = world.get(Claim, str(event.object_id))
    evidence = world.sources(str(event.object_id), SOURCED_FROM, Evidence)
    is_repair = event.type == OBJECT_PATCHED
    if claim is None or claim.status != "pending" or claim.kind != READING or not evidence:
        return None
    if is_repair and not event.object.get("problem"):
        return None
    questions = "\n".join(f"{n}. {each}" for n, each in enumerate(_questions(world), 1))
    problem = f"\n\nAn earlier answer was unusable: {claim.problem}." if claim.problem else ""
    return {
        "source": one_line(claim.source, _MAX_NAME_CHARS),
        "company": company_name(world),
        "questions": questions,
        "passages": quoted([each.excerpt for each in evidence]),
        "problem": problem,
    }


@read.then
def on_read(found: Reading, about: WorldObject, world: World) -> Emitted:
    """Create the claims that a source supports; if there are none and it says no reason, ask again."""
    evidence = world.sources(about.id, SOURCED_FROM)
    excerpts = [each.data["excerpt"] for each in evidence]
    statements = [with_holder(each, excerpts) for each in found.statements]
    reasons = [why_unsupported(each, excerpts) for each in statements]
    good = [each for each, why in zip(statements, reasons, strict=True) if not why]
    problem = next(filter(None, reasons), "" if found.note.strip() else "it has no statement")
    if problem and not good:
        if about.data.get("problem"):
            yield patch(about, {"status": "failed", "error": f"no usable answer: {problem}"})
        else:
            yield patch(about, {"problem": problem})
        return
    changes: dict[str, Any] = {"status": "completed", "text": one_line(found.note, 500)}
    left_out = [
        f"{one_line(each.statement, 300)} ({why})"
        for each, why in zip(statements, reasons, strict=True)
        if why
    ]
    chosen = [
        one_line(now.statement, 300)
        for said, now, why in zip(found.statements, statements, reasons, strict=True)
        if now != said and not why
    ]
    if not found.note.strip():
        # The note comes last.
        left_out.append("what follows the last statement (the answer was cut off)")
    changes |= {"left_out": left_out} if left_out else {}
    changes |= {"chosen": chosen} if chosen else {}
    done = yield patch(about, changes)
    known = {_said(claim): id for id, claim in statements_in(world)}
    for each in good:
        yield from _create_statement(each, about, done.cause, evidence, known, world)


@read.failed
def on_not_read(error: Mapping[str, Any], about: WorldObject, world: World) -> Iterator[Event]:
    """Record why the model gave no answer about a source."""
    yield patch(about, {"status": "failed", "error": one_reason(error)})


@kit.llm_responder(
    OBJECT_CREATED,
    type=Claim,
    prompt="claim",
    system="system",
    model=model_of("claim"),
    max_tokens=max_tokens,
)
def examine(event: Recorded, world: World) -> Mapping[str, Any] | None:
    """Ask about a claim that a person has added."""
    claim = event.as_object(Claim)
    if claim.status != "pending" or claim.kind != STATEMENT or claim.source:
        return None
    evidence = world.sources(str(event.object_id), SUPPORTS, Evidence)[:MAX_EVIDENCE]
    texts = quoted([each.excerpt for each in evidence])
    statement = one_line(claim.statement, _MAX_NAME_CHARS)
    return {"statement": statement, "company": company_name(world), "passages": texts}


@examine.then
def on_examined(text: str, about: WorldObject, world: World) -> Iterator[Event]:
    """Complete a claim with the answer."""
    yield patch(about, {"status": "completed", "text": text})


@examine.failed
def on_not_examined(error: Mapping[str, Any], about: WorldObject, world: World) -> Iterator[Event]:
    """Record why there is no answer about a claim."""
    yield patch(about, {"status": "failed", "error": one_reason(error)})


def _create_readings(
    answer: Sequence[str], asked: list[str], pages: list[str], world: World
) -> Emitted:
    company = company_of(world)
    if company is None:
        return
    paths = paths_in(world)
    urls = [*urls_in(company.data["name"]), *pages]
    if asked or paths or urls:
        yield patch(company, {"questions": asked or list(DEFAULT_QUESTIONS)})
    for source in dict.fromkeys([*paths, *urls]):
        reading = Claim(f"What {source} says", "pending", kind=READING, source=source)
        yield create(reading, cause=[*answer, *_document_events(source, world)])


def _create_statement(
    found: Statement,
    reading: WorldObject,
    answer: Sequence[str],
    evidence: Sequence[WorldObject],
    known: dict[tuple[str, ...], str],
    world: World,
) -> Emitted:
    """Create a claim with its evidence; a claim that is already stated gets the evidence only."""
    cited = [evidence[n - 1] for n in cited_in(found, len(evidence))]
    is_known = found.question in range(1, len(_questions(world)) + 1)
    claim = Claim(
        one_line(found.statement, 500),
        "pending",
        source=reading.data["source"],
        question=found.question if is_known else 0,
        subject=one_line(found.subject, 60),
        attribute=one_line(found.attribute, 60),
    )
    id = known.get(_said(claim))
    linked: set[str] = set()
    if id is None:
        made = yield create(claim, cause=[*answer, *(each.event_id for each in cited)])
        id = known[_said(claim)] = made.data["id"]
    elif id in world.objects:
        linked = {each.id for each in world.sources(id, SUPPORTS)}
    for each in cited:
        if each.id not in linked:
            for relation in (SUPPORTS, SOURCED_FROM):
                yield relate(relation, each, id, cause=[each.event_id])


def company_of(world: World) -> WorldObject | None:
    """Return the company under examination."""
    return next(iter(world.objects_of(COMPANY)), None)


def company_name(world: World) -> str:
    """Return the name of the company as prompts show it."""
    company = company_of(world)
    return one_line(company.data["name"], _MAX_NAME_CHARS) if company else "the company"


def is_sourced(claim: Claim) -> bool:
    """Whether a claim is a statement from a source."""
    return claim.kind == STATEMENT and bool(claim.source)


def one_reason(error: Mapping[str, Any]) -> str:
    """Return in one line why a call failed or was refused."""
    return one_line(str(error.get("message") or "no answer"), 500)


def quoted(texts: Sequence[str]) -> str:
    """Return texts as a prompt shows them: numbered, each line prefixed with ``>``."""
    pieces = [
        f"[{number}]\n" + "\n".join(f"> {line}".rstrip() for line in text.splitlines())
        for number, text in enumerate(texts, 1)
    ]
    return "\n\n".join(pieces) or "There is no evidence."


def statements_in(world: World) -> Iterator[tuple[str, Claim]]:
    """Yield the statements of sources, with their ids."""
    for id in world.ids(Claim):
        claim = world.get(Claim, id)
        if claim is not None and is_sourced(claim) and claim.status != "merged":
            yield id, claim


def _said(claim: Claim) -> tuple[str, ...]:
    """Return the words of a statement, by which one that says the same is recognized."""
    return tuple("".join(c if c.isalnum() else " " for c in claim.statement.casefold()).split())


def _about(world: World) -> str:
    """Return the words that relevant passages contain."""
    return " ".join([*_questions(world), company_name(world)])


def _questions(world: World) -> list[str]:
    company = company_of(world)
    asked: list[str] = company.data.get("questions", []) if company else []
    return asked or list(DEFAULT_QUESTIONS)


def _document_events(path: str, world: World) -> list[str]:
    documents = world.objects_of(_DOCUMENT)
    return [each.event_id for each in documents if each.data.get("path") == path]


def _listed(world: World) -> str:
    paths = paths_in(world)
    lines = [f"> {one_line(path, _MAX_NAME_CHARS)}" for path in paths[:_MAX_LISTED]]
    more = [f"and {len(paths) - _MAX_LISTED} more"] if len(paths) > _MAX_LISTED else []
    return "\n".join([*lines, *more]) or "none"


def _unread(result: Mapping[str, Any]) -> str:
    return (
        f"{result['unread']:,} of {result['chars']:,} characters were not read: they are beyond "
        "document_chars, and less relevant to the questions"
    )
