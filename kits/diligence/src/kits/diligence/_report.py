"""The report: the claims and contradictions in Markdown, with numbered citations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate

import attrs

from kando.emit import create, patch, relate
from kando.schema.events import OBJECT_PATCHED
from kando.schema.events import KandoEvent as Event
from kando.schema.events import RecordedEvent as Recorded
from kando.text.markdown import plain
from kando.world.graph import World, WorldObject
from kits.diligence._disputes import disputes_of, outcome_for, sources_of
from kits.diligence._reading import Emitted, company_of
from kits.diligence._types import (
    CLAIM,
    CONTRADICTION,
    DEPENDS_ON,
    OVERVIEW,
    READING,
    SOURCED_FROM,
    STATEMENT,
    SUPPORTS,
    Claim,
    Company,
    Contradiction,
    Evidence,
    Report,
    kit,
)

__all__ = ["report_of"]

_QUOTED_CHARS = 240

# A report is one event, and an event holds at most 1 MiB.
_MAX_BYTES = 700 * 1024
_CITATION = re.compile(r"\s*\[[\d,\s]*\]")

_OUTCOMES = {
    "first": "The first holds.",
    "second": "The second holds.",
    "both": "Both hold.",
    "neither": "Neither holds.",
}


@kit.responder(OBJECT_PATCHED, type=Claim)
def on_claim_patched(event: Recorded, world: World) -> Emitted:
    """Write the report when no claim is pending or disputed, and again when a claim changes."""
    yield from _report(event, world)


@kit.responder(OBJECT_PATCHED, type=Contradiction)
def on_contradiction_patched(event: Recorded, world: World) -> Emitted:
    """Write the report when the last contradiction is dismissed or resolved."""
    yield from _report(event, world)


def _report(event: Recorded, world: World) -> Emitted:
    company, claims = company_of(world), world.objects_of(CLAIM)
    disputes = world.objects_of(CONTRADICTION)
    if company is None or any(c.data["status"] in ("pending", "disputed") for c in claims):
        return
    if any(d.data["status"] in ("suspected", "open", "resolving") for d in disputes):
        return
    report = report_of(world)
    basis = dict.fromkeys([company.changed_by, *(each.changed_by for each in (*claims, *disputes))])
    cause: list[Event | str] = [event, *(id for id in basis if id != event.id)]
    id = f"report-of-{company.id}"
    written = world.get(Report, id)
    if written is None:
        made = yield create(report, id=id, cause=cause)
        yield relate(DEPENDS_ON, made, company, cause=[made])
    elif written != report:
        yield patch(id, {"text": report.text, "problem": report.problem}, cause=cause)


@attrs.frozen
class _Page:
    """The objects that the lines of a report refer to.

    Attributes:
        world: that it reports on.
        claims: the statements, without those that were merged into others, by id.
        numbers: the citation number of each cited piece of evidence, by its id.
        disputes: the contradictions that were found, in the order of their numbers.
    """

    world: World
    claims: dict[str, Claim]
    numbers: dict[str, int]
    disputes: list[WorldObject]


def report_of(world: World) -> Report:
    """Return the report on the claims and contradictions of a world.

    Text from documents and models is escaped, so that it adds neither markup nor citations. A
    report that is too long for one event is truncated and says how many lines were left out.
    """
    found = zip(world.ids(Claim), world.all(Claim), strict=True)
    claims = {id: c for id, c in found if c.kind == STATEMENT and c.status != "merged"}
    numbers = {
        id: n
        for n, id in enumerate(dict.fromkeys(id for c in claims for id in _cited(c, world)), 1)
    }
    disputes = [d for d in world.objects_of(CONTRADICTION) if d.data["status"] != "dismissed"]
    page = _Page(world, claims, numbers, disputes)
    problem = _problem(page)
    company = next(iter(world.all(Company)), Company("The company"))
    lines = [f"# {plain(company.name)}", "", *_overview(world), _summary(page)]
    lines += ["", plain(problem)] if problem else []
    if not numbers and not problem:
        lines += ["", "No document was given, and no web page named: there is nothing to cite."]
    for number, heading in [*enumerate(company.questions, 1), (0, "Further statements")]:
        about = [id for id, claim in claims.items() if claim.question == number]
        if about:
            lines += ["", f"## {_escaped(heading)}", "", *(f"- {_line(id, page)}" for id in about)]
    if disputes:
        shown = (f"{n}. {_dispute(each, page)}" for n, each in enumerate(disputes, 1))
        lines += ["", "## Contradictions", "", *shown]
    lines += [*_losses(world), *_sources(page)]
    return Report("completed", "\n".join(_truncated(lines)) + "\n", problem=problem)


def _truncated(lines: Sequence[str]) -> list[str]:
    sizes = accumulate(len(line.encode()) + 1 for line in lines)
    count = sum(size <= _MAX_BYTES for size in sizes)
    more = [f"... and {len(lines) - count} more lines."] if count < len(lines) else []
    return [*lines[:count], *more]


def _problem(page: _Page) -> str:
    """Return why there is no claim with a source; empty if there is one, or no source was given."""
    skipped = page.world.objects_of("SkippedDocument")
    readings = [claim for claim in page.world.all(Claim) if claim.kind == READING]
    if page.numbers or not (readings or skipped):
        return ""
    failed = [f"{each.source}: {each.error}" for each in readings if each.status == "failed"]
    failed += [f"{each.data.get('path')}: {each.data.get('reason')}" for each in skipped]
    number = _count(len(readings) + len(skipped), "source")
    why = f"{len(failed)} of {number} failed: {failed[0]}" if failed else f"none in {number}"
    return f"The report has no claim with a source: {why}"


def _overview(world: World) -> Iterator[str]:
    for claim in world.all(Claim):
        if claim.kind == OVERVIEW and (text := claim.error or claim.text):
            yield from (_escaped(text, 4000), "")


def _summary(page: _Page) -> str:
    sources = len({page.world.objects[id].data["path"] for id in page.numbers})
    resolved = sum(each.data["status"] == "resolved" for each in page.disputes)
    return (
        f"{_count(len(page.claims), 'claim')} from {_count(sources, 'source')}; "
        f"{_count(resolved, 'contradiction')} resolved."
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _line(id: str, page: _Page) -> str:
    claim = page.claims[id]
    statement = _escaped(claim.statement)
    if claim.status == "failed":
        return f"{statement} (no answer: {_escaped(claim.error or '')})"
    note = ""
    if claim.confidence is not None:
        note = f" (confidence {claim.confidence}%: {_explanation(id, page)})"
    answer = f": {_escaped(claim.text, 4000)}" if claim.text else ""
    return f"{statement}{answer}{_citations(id, page)}{note}"


def _explanation(id: str, page: _Page) -> str:
    """Return what the confidence in a claim rests on."""
    sources = sources_of(id, page.world)
    parts = [f"{_count(sources, 'source')}{' agree' if sources > 1 else ''}"]
    mine = {each.id for each in disputes_of(id, page.world)}
    for number, each in enumerate(page.disputes, 1):
        if each.id in mine:
            parts.append(f"{outcome_for(id, each, page.world)} in contradiction {number}")
    return ", ".join(parts)


def _dispute(found: WorldObject, page: _Page) -> str:
    first, second = (_quoted(found.data[end], page) for end in ("claim_a", "claim_b"))
    outcome = _OUTCOMES.get(found.data["holds"], "It is not decided which holds.")
    explanation = _escaped(found.data["resolution"], 4000)
    return f"{first} against {second}: {outcome} {explanation}".rstrip()


def _quoted(id: str, page: _Page) -> str:
    claim = page.world.get(Claim, id)
    return f"“{_escaped(claim.statement)}”{_citations(id, page)}" if claim is not None else "?"


def _losses(world: World) -> Iterator[str]:
    """Yield the sections about what was not read, not understood or left out."""
    readings = [claim for claim in world.all(Claim) if claim.kind == READING]
    skipped = [each.data for each in world.objects_of("SkippedDocument")]
    documents = [each.data for each in world.objects_of("Document")]
    sections: dict[str, list[tuple[str, str]]] = {
        "Not read": [
            *((each.source, each.error or "") for each in readings if each.status == "failed"),
            *((str(each.get("path")), str(each.get("reason"))) for each in skipped),
        ],
        "Read in part": [(each.source, each.unread) for each in readings if each.unread],
        "Read with losses or guesses": [
            (str(each.get("path")), "; ".join(map(str, notes)))
            for each in documents
            if isinstance(notes := each.get("notes"), list) and notes
        ],
        "Read without a statement": [
            (each.source, each.text)
            for number, each in zip(world.ids(Claim), world.all(Claim), strict=True)
            if each.kind == READING
            and each.status == "completed"
            and not _has_claims(number, world)
        ],
        "Source chosen by its words": [
            (each.source, text) for each in readings for text in each.chosen
        ],
        "Left out": [(each.source, text) for each in readings for text in each.left_out],
    }
    for heading, lines in sections.items():
        if lines:
            yield from ("", f"## {heading}", "")
            yield from (f"- {_escaped(path)}: {_escaped(why)}" for path, why in lines)


def _has_claims(reading: str, world: World) -> bool:
    """Whether a claim cites one of the passages of a reading."""
    return any(world.targets(each.id, SUPPORTS) for each in world.sources(reading, SOURCED_FROM))


def _sources(page: _Page) -> list[str]:
    lines = []
    for id, number in page.numbers.items():
        found = page.world.get(Evidence, id)
        if found is None:
            continue
        at = f"page {found.page}, " if found.page else ""
        at += f"line {found.line}" if found.line else f"characters {found.start}-{found.end}"
        excerpt = _escaped(found.excerpt.lstrip("# "), _QUOTED_CHARS)
        where = f"{_escaped(found.path)}, {at}, sha256 {found.sha256[:12]}"
        lines.append(f"{number}. {where}: “{excerpt}”")
    return ["", "## Sources", "", *lines] if lines else []


def _cited(id: str, world: World) -> list[str]:
    return [each.id for type in (SOURCED_FROM, SUPPORTS) for each in world.sources(id, type)]


def _citations(id: str, page: _Page) -> str:
    cited = sorted({page.numbers[each] for each in _cited(id, page.world) if each in page.numbers})
    return "".join(f" [{number}]" for number in cited)


def _escaped(text: str, limit: int = 500) -> str:
    # A number in brackets would look like a citation of the report.
    return plain(_CITATION.sub("", text[: 2 * limit]), limit)
