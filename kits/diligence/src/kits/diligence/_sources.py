"""From a company to statements: plan, read each source on its own, keep its statements.

Each request shows the model the text of one source only. So a hostile source can influence the
statements that are taken from it, and nothing else.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any

from kando.emit import ask, call_tool, create, patch, relate
from kando.responders.answers import text_of
from kando.schema.events import (
    LLM_RESPONSE,
    OBJECT_CREATED,
    TOOL_RETURNED,
    KandoEvent,
    RecordedEvent,
)
from kando.text.documents import passages
from kando.text.markdown import one_line
from kando.text.relevance import most_relevant
from kando.world.graph import World, WorldObject
from kits.diligence._answers import (
    Plan,
    parse_plan,
    parse_statements,
    reason_of,
    urls_in,
)
from kits.diligence._types import (
    CLAIM,
    COMPANY,
    EVIDENCE,
    OVERVIEW,
    READING,
    SOURCED_FROM,
    STATEMENT,
    SUPPORTS,
    Claim,
    Company,
    kit,
)

__all__ = [
    "DEFAULT_QUESTIONS",
    "MAX_EVIDENCE",
    "Emitted",
    "ask_about",
    "company_of",
    "is_sourced",
    "quoted",
]

#: Maximum number of pieces of evidence from one source.
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

Emitted = Generator[KandoEvent, RecordedEvent, None]


@kit.tool("read_document")
def read_document(world: World, path: str, about: str, limit: int = MAX_EVIDENCE) -> dict[str, Any]:
    """Return the passages of an input document that are most relevant, in document order.

    Args:
        world: the world that holds the documents.
        path: path of the document.
        about: words that relevant passages contain.
        limit: maximum number of passages to return.

    Raises:
        LookupError: the run has no such document.
    """
    parts = [each.data for each in world.objects_of(_DOCUMENT) if each.data.get("path") == path]
    if not parts:
        msg = f"The run has no document {path!r}."
        raise LookupError(msg)
    found = [
        {"part": part.get("part", 1) if part.get("parts", 1) > 1 else 0, **_place(passage)}
        for part in parts
        for passage in passages(str(part.get("text", "")))
    ]
    sha256 = str(parts[0].get("sha256", ""))
    return {"path": path, "sha256": sha256, "passages": _select(found, about, limit)}


@kit.tool("fetch_url", timeout=30.0, max_parallel=4)
def fetch_url(url: str, about: str, limit: int = MAX_EVIDENCE) -> dict[str, Any]:
    """Return the passages of a public web page that are most relevant, in document order.

    Args:
        url: ``http`` or ``https`` URL of the page.
        about: words that relevant passages contain.
        limit: maximum number of passages to return.

    Raises:
        FetchRefused: the page must not be fetched, or is too large, too slow or not text.
    """
    # Not at the top: the modules of HTTP and TLS are slow to import, and few runs fetch a page.
    from kits.diligence._fetch import fetch

    page = fetch(url)
    found = [{"part": 0, **_place(passage)} for passage in passages(page.text)]
    read = {"path": url, "sha256": page.sha256, "passages": _select(found, about, limit)}
    return read | ({"notes": page.notes} if page.notes else {})


@kit.responder(OBJECT_CREATED, type=Company)
def on_company_created(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
    """Create the first claim about a company."""
    statement = f"What is known about {event.data['data']['name']}"
    documents = [each.event_id for each in world.objects_of(_DOCUMENT)[:_MAX_LISTED]]
    data = {"statement": statement, "status": "pending", "kind": OVERVIEW}
    yield create(CLAIM, data, cause=[event, *documents])


@kit.responder(OBJECT_CREATED, type=Claim)
def on_claim_created(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
    """Call a tool to read the source of a pending claim, or ask the model about it."""
    claim = world.objects[event.data["id"]]
    if claim.data["status"] != "pending":
        return
    kind = claim.data.get("kind", STATEMENT)
    if kind == READING:
        path, company = claim.data["source"], company_of(world)
        name = one_line(company.data["name"], _MAX_NAME_CHARS) if company else ""
        wanted = " ".join([*_questions(company), name])
        tool = "read_document" if path in _paths(world) else "fetch_url"
        place = {"path": path} if tool == "read_document" else {"url": path}
        yield call_tool(tool, {**place, "about": wanted}, about=claim)
    elif kind == OVERVIEW:
        yield ask_about(claim, "plan", world, documents=_listed(world))
    elif not is_sourced(claim):
        evidence = [world.objects[r.source_id] for r in world.get_relations(claim.id, SUPPORTS)]
        statement = one_line(claim.data["statement"], _MAX_NAME_CHARS)
        texts = [each.data["excerpt"] for each in evidence[:MAX_EVIDENCE]]
        yield ask_about(claim, "claim", world, statement=statement, passages=quoted(texts))


@kit.responder(TOOL_RETURNED, type=Claim)
def on_source_read(event: RecordedEvent, world: World) -> Emitted:
    """Create evidence from the passages of a source, and ask the model what they state."""
    claim = world.objects[event.data["cause_object_id"]]
    if claim.data["status"] != "pending" or claim.data.get("kind") != READING:
        return
    result = event.data.get("result")
    if not result or not result["passages"]:
        reason = reason_of(event.data, "it contains no text")
        yield patch(claim, {"status": "failed", "error": reason})
        return
    documents = _document_events(claim.data["source"], world)
    for passage in result["passages"]:
        place = {"path": result["path"], "sha256": result["sha256"], **passage}
        evidence = yield create(EVIDENCE, place, cause=[event, *documents])
        yield relate(SOURCED_FROM, evidence, claim, cause=[evidence])
    texts = [passage["excerpt"] for passage in result["passages"]]
    source = one_line(claim.data["source"], _MAX_NAME_CHARS)
    asked = _questions(company_of(world))
    questions = "\n".join(f"{n}. {question}" for n, question in enumerate(asked, 1))
    yield ask_about(
        claim, "reading", world, source=source, questions=questions, passages=quoted(texts)
    )


@kit.responder(LLM_RESPONSE, type=Claim)
def on_claim_answered(event: RecordedEvent, world: World) -> Emitted:
    """Complete a claim with its first answer, and create the claims that follow from it."""
    claim = world.objects[event.data["cause_object_id"]]
    if claim.data["status"] != "pending":
        return
    text, kind = text_of(event.data), claim.data.get("kind", STATEMENT)
    changes: dict[str, Any] = {"status": "completed", "text": text}
    if text is None:
        changes = {"status": "failed", "error": reason_of(event.data)}
    if kind == OVERVIEW:
        plan = parse_plan(text) if text is not None else Plan("", [], [])
        yield from _create_readings(event, plan, world)
        changes |= {"text": plan.text} if plan.text else {}
    elif kind == READING and text is not None:
        changes["text"] = yield from _create_statements(event, claim, text, world)
    # Last, so that the responder that writes the report sees the new pending claims.
    yield patch(claim, changes)


def _create_readings(event: RecordedEvent, plan: Plan, world: World) -> Emitted:
    company = company_of(world)
    if company is None:
        return
    paths = _paths(world)
    urls = [*urls_in(company.data["name"]), *plan.urls]
    if not plan.questions and not paths and not urls:
        return
    yield patch(company, {"questions": plan.questions or list(DEFAULT_QUESTIONS)})
    for source in dict.fromkeys([*paths, *urls]):
        data = {"statement": f"What {source} says", "status": "pending"}
        data |= {"kind": READING, "source": source}
        yield create(CLAIM, data, cause=[event, *_document_events(source, world)])


def _create_statements(
    event: RecordedEvent, reading: WorldObject, text: str, world: World
) -> Generator[KandoEvent, RecordedEvent, str]:
    relations = world.get_relations(reading.id, SOURCED_FROM)
    evidence = [world.objects[each.source_id] for each in relations]
    questions = len(_questions(company_of(world)))
    rest, statements = parse_statements(text, questions, len(evidence))
    for found in statements:
        cited = [evidence[number - 1] for number in found.passages]
        data: dict[str, Any] = {"statement": found.text, "status": "pending", "kind": STATEMENT}
        data |= {"source": reading.data["source"], "question": found.question}
        claim = yield create(CLAIM, data, cause=[event, *(each.event_id for each in cited)])
        for each in cited:
            for relation in (SUPPORTS, SOURCED_FROM):
                yield relate(relation, each, claim, cause=[claim, each.event_id])
    return rest


def ask_about(about: WorldObject, prompt: str, world: World, **values: str) -> KandoEvent:
    """Return a request about an object, made from one of the kit's prompts."""
    company = company_of(world)
    name = one_line(company.data["name"], _MAX_NAME_CHARS) if company else "the company"
    messages = [
        {"role": "system", "content": kit.prompt("system")},
        {"role": "user", "content": kit.prompt(prompt, company=name, **values)},
    ]
    return ask(messages, about=about)


def company_of(world: World) -> WorldObject | None:
    """Return the company under examination."""
    return next(iter(world.objects_of(COMPANY)), None)


def is_sourced(claim: WorldObject) -> bool:
    """Whether a claim is a statement from a source."""
    return claim.data.get("kind") == STATEMENT and bool(claim.data.get("source"))


def quoted(texts: Sequence[str]) -> str:
    """Return texts as a prompt shows them: numbered, each line prefixed with ``>``."""
    pieces = [
        f"[{number}]\n" + "\n".join(f"> {line}".rstrip() for line in text.splitlines())
        for number, text in enumerate(texts, 1)
    ]
    return "\n\n".join(pieces) or "There is no evidence."


def _questions(company: WorldObject | None) -> list[str]:
    asked: list[str] = company.data.get("questions", []) if company else []
    return asked or list(DEFAULT_QUESTIONS)


def _paths(world: World) -> list[str]:
    paths = (each.data.get("path") for each in world.objects_of(_DOCUMENT))
    return list(dict.fromkeys(path for path in paths if isinstance(path, str)))


def _document_events(path: str, world: World) -> list[str]:
    documents = world.objects_of(_DOCUMENT)
    return [each.event_id for each in documents if each.data.get("path") == path]


def _listed(world: World) -> str:
    paths = _paths(world)
    lines = [f"> {one_line(path, _MAX_NAME_CHARS)}" for path in paths[:_MAX_LISTED]]
    more = [f"and {len(paths) - _MAX_LISTED} more"] if len(paths) > _MAX_LISTED else []
    return "\n".join([*lines, *more]) or "none"


def _place(passage: Any) -> dict[str, Any]:
    return {"start": passage.start, "end": passage.end, "excerpt": passage.text}


def _select(found: list[dict[str, Any]], about: str, limit: int) -> list[dict[str, Any]]:
    if len(found) <= limit:
        return found
    best = most_relevant(about, [each["excerpt"] for each in found], max(limit, 1))
    return [found[index] for index in sorted(best)]
