"""The report: the claims and contradictions in Markdown, with numbered citations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate

from kando.emit import create, patch, relate
from kando.schema.events import OBJECT_PATCHED, KandoEvent, RecordedEvent
from kando.text.markdown import plain
from kando.world.graph import World, WorldObject
from kits.diligence._sources import Emitted, company_of
from kits.diligence._types import (
    CLAIM,
    CONTRADICTION,
    DEPENDS_ON,
    READING,
    REPORT,
    SOURCED_FROM,
    STATEMENT,
    SUPPORTS,
    Claim,
    Contradiction,
    kit,
)

__all__ = ["report_text"]

_QUOTED_CHARS = 240

# A report is one event, and an event holds at most 1 MiB.
_MAX_BYTES = 700 * 1024
_CITATION = re.compile(r"\s*\[[\d,\s]*\]")


@kit.responder(OBJECT_PATCHED, type=Claim)
def on_claim_patched(event: RecordedEvent, world: World) -> Emitted:
    """Write the report when no claim is pending or disputed, and again when a claim changes."""
    yield from _report(event, world)


@kit.responder(OBJECT_PATCHED, type=Contradiction)
def on_contradiction_patched(event: RecordedEvent, world: World) -> Emitted:
    """Write the report when the last contradiction is dismissed or resolved."""
    yield from _report(event, world)


def _report(event: RecordedEvent, world: World) -> Emitted:
    company, claims = company_of(world), world.objects_of(CLAIM)
    disputes = world.objects_of(CONTRADICTION)
    if company is None or any(c.data["status"] in ("pending", "disputed") for c in claims):
        return
    if any(d.data.get("status", "open") in ("suspected", "open", "resolving") for d in disputes):
        return
    text = report_text(world)
    basis = dict.fromkeys([company.changed_by, *(each.changed_by for each in (*claims, *disputes))])
    cause: list[KandoEvent | str] = [event, *(id for id in basis if id != event.id)]
    id = f"report-of-{company.id}"
    written = world.get_object(id)
    if written is None:
        data = {"status": "completed", "text": text, "name": "report.md"}
        data |= {"media_type": "text/markdown"}
        report = yield create(REPORT, data, id=id, cause=cause)
        yield relate(DEPENDS_ON, report, company, cause=[report])
    elif written.data["text"] != text:
        yield patch(written, {"text": text}, cause=cause)


def report_text(world: World) -> str:
    """Return the report on the claims and contradictions of a world.

    Text from documents and models is escaped, so that it adds neither markup nor citations. A
    report that is too long for one event is truncated and says how many lines were left out.
    """
    company = company_of(world)
    name = company.data["name"] if company else "The company"
    questions = company.data.get("questions", []) if company else []
    statements = [c for c in world.objects_of(CLAIM) if c.data.get("kind", STATEMENT) == STATEMENT]
    numbers = _numbers(statements, world)
    disputes = [d for d in world.objects_of(CONTRADICTION) if d.data.get("status") != "dismissed"]
    lines = [f"# {plain(name)}", "", *_overview(world)]
    lines += [_summary(statements, disputes, numbers, world)]
    for number, heading in [*enumerate(questions, 1), (0, "Further statements")]:
        found = [c for c in statements if c.data.get("question", 0) == number]
        if found:
            lines += ["", f"## {_escaped(heading)}", ""]
            lines += [f"- {_line(claim, disputes, numbers, world)}" for claim in found]
    if disputes:
        lines += ["", "## Contradictions", ""]
        lines += [_dispute(n, each, numbers, world) for n, each in enumerate(disputes, 1)]
    lines += [*_failures(world), *_sources(numbers, world)]
    return "\n".join(_truncated(lines)) + "\n"


def _truncated(lines: Sequence[str]) -> list[str]:
    sizes = accumulate(len(line.encode()) + 1 for line in lines)
    count = sum(size <= _MAX_BYTES for size in sizes)
    more = [f"... and {len(lines) - count} more lines."] if count < len(lines) else []
    return [*lines[:count], *more]


def _overview(world: World) -> Iterator[str]:
    for claim in world.objects_of(CLAIM):
        if claim.data.get("kind", STATEMENT) not in (STATEMENT, READING):
            text = claim.data.get("error") or claim.data.get("text") or ""
            yield from [_escaped(text, 4000), ""] if text else []


def _summary(
    statements: Sequence[WorldObject],
    disputes: Sequence[WorldObject],
    numbers: dict[str, int],
    world: World,
) -> str:
    sources = len({world.objects[id].data["path"] for id in numbers})
    resolved = sum(each.data.get("status") == "resolved" for each in disputes)
    return (
        f"{_count(len(statements), 'claim')} from {_count(sources, 'source')}; "
        f"{_count(resolved, 'contradiction')} resolved."
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _line(
    claim: WorldObject, disputes: Sequence[WorldObject], numbers: dict[str, int], world: World
) -> str:
    statement = _escaped(claim.data["statement"])
    if claim.data["status"] == "failed":
        return f"{statement} (no answer: {_escaped(claim.data.get('error') or '')})"
    text = claim.data.get("text") or ""
    confidence = claim.data.get("confidence")
    notes = [f"confidence {confidence}%"] if confidence is not None else []
    notes += [
        f"see contradiction {number}"
        for number, each in enumerate(disputes, 1)
        if claim.id in (each.data["claim_a"], each.data["claim_b"])
    ]
    note = f" ({', '.join(notes)})" if notes else ""
    answer = f": {_escaped(text, 4000)}" if text else ""
    return f"{statement}{answer}{_citations(claim, numbers, world)}{note}"


def _dispute(number: int, found: WorldObject, numbers: dict[str, int], world: World) -> str:
    ends = [world.get_object(found.data[end]) for end in ("claim_a", "claim_b")]
    first, second = (
        f"“{_escaped(each.data['statement'])}”{_citations(each, numbers, world)}" if each else "?"
        for each in ends
    )
    outcome = {
        "first": "The first holds.",
        "second": "The second holds.",
        "both": "Both hold.",
        "neither": "Neither holds.",
    }.get(found.data.get("holds", ""), "It is not decided which holds.")
    explanation = _escaped(found.data.get("resolution", ""), 4000)
    return f"{number}. {first} against {second}: {outcome} {explanation}".rstrip()


def _failures(world: World) -> list[str]:
    failed = [
        f"- {_escaped(each.data['source'])}: {_escaped(each.data.get('error') or '')}"
        for each in world.objects_of(CLAIM)
        if each.data.get("kind") == READING and each.data["status"] == "failed"
    ]
    failed += [
        f"- {_escaped(str(each.data.get('path')))}: {_escaped(str(each.data.get('reason')))}"
        for each in world.objects_of("SkippedDocument")
    ]
    noted = [
        f"- {_escaped(str(each.data.get('path')))}: {_escaped('; '.join(map(str, notes)))}"
        for each in world.objects_of("Document")
        if isinstance(notes := each.data.get("notes"), list) and notes
    ]
    return [
        *(["", "## Not read", "", *failed] if failed else []),
        *(["", "## Read with losses or guesses", "", *noted] if noted else []),
    ]


def _sources(numbers: dict[str, int], world: World) -> list[str]:
    lines = []
    for id, number in numbers.items():
        data = world.objects[id].data
        part = f"part {data['part']}, " if data.get("part") else ""
        place = f"{part}characters {data['start']}-{data['end']}, sha256 {data['sha256'][:12]}"
        excerpt = _escaped(data["excerpt"].lstrip("# "), _QUOTED_CHARS)
        lines.append(f"{number}. {_escaped(data['path'])}, {place}: “{excerpt}”")
    return ["", "## Sources", "", *lines] if lines else []


def _numbers(statements: Sequence[WorldObject], world: World) -> dict[str, int]:
    """Return the citation number of each cited piece of evidence, by its id."""
    ids = (id for claim in statements for id in _cited(claim, world))
    return {id: number for number, id in enumerate(dict.fromkeys(ids), 1)}


def _cited(claim: WorldObject, world: World) -> list[str]:
    own = [each.source_id for each in world.get_relations(claim.id, SOURCED_FROM)]
    return own + [each.source_id for each in world.get_relations(claim.id, SUPPORTS)]


def _citations(claim: WorldObject, numbers: dict[str, int], world: World) -> str:
    cited = sorted({numbers[id] for id in _cited(claim, world) if id in numbers})
    return "".join(f" [{number}]" for number in cited)


def _escaped(text: str, limit: int = 500) -> str:
    # A number in brackets would look like a citation of the report.
    return plain(_CITATION.sub("", text[: 2 * limit]), limit)
