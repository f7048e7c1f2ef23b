"""The kit itself, and what its runs are made of: object types and relation types."""

from __future__ import annotations

from typing import Literal

import attrs

from kando.kit import Demo, Kit, load_prompts

__all__ = [
    "CLAIM",
    "COMPANY",
    "CONTRADICTION",
    "CONTRADICTS",
    "DEPENDS_ON",
    "EVIDENCE",
    "OVERVIEW",
    "READING",
    "REPORT",
    "SOURCED_FROM",
    "STATEMENT",
    "SUPPORTS",
    "Claim",
    "Company",
    "Contradiction",
    "Evidence",
    "Report",
    "kit",
]

kit = Kit(
    "diligence",
    version="0.1.0",
    distribution="kando-kit-diligence",
    prompts=load_prompts(__package__),
    demo=Demo(__package__, "Evaluate Acme Corp"),
)

#: Kinds of claims: what is known at all, what one source says, and a single statement.
OVERVIEW, READING, STATEMENT = "overview", "reading", "statement"


@kit.object
@attrs.frozen
class Company:
    """What is examined.

    Attributes:
        name: the goal, in words.
        questions: what is to be found out about it.
    """

    name: str
    questions: list[str] = attrs.field(factory=list)


@kit.object
@attrs.frozen
class Claim:
    """A statement about the company.

    Attributes:
        statement: in words.
        status: ``pending`` until it is answered; ``disputed`` while it contradicts another.
        text: what was answered about it.
        error: why it failed.
        kind: ``overview``: what is known about the company, whose answer plans the rest;
            ``reading``: what one source says, whose answer holds statements; or ``statement``.
        source: path or URL of the source, of a reading and its statements.
        question: number of the company's question it answers, from 1; 0 for none of them.
        confidence: in a statement, in percent.
    """

    statement: str
    status: Literal["pending", "completed", "disputed", "failed"]
    text: str = ""
    error: str | None = None
    kind: Literal["overview", "reading", "statement"] = "statement"
    source: str = ""
    question: int = 0
    confidence: int | None = None


@kit.object
@attrs.frozen
class Evidence:
    """A passage of an input document or of a page.

    Attributes:
        path: of the document, or the page's URL.
        sha256: of the document.
        start: where the passage begins in the text of the document's part, in characters.
        end: where it ends, exclusive.
        excerpt: the passage.
        part: which part of a long document, from 1; 0 if it has only one.
    """

    path: str
    sha256: str
    start: int
    end: int
    excerpt: str
    part: int = 0


@kit.object
@attrs.frozen
class Contradiction:
    """Two claims that may not both be true.

    Attributes:
        claim_a: id of the first.
        claim_b: id of the second.
        reason: why they cannot.
        status: ``suspected`` until they have been compared, and ``dismissed`` if both can be true;
            else ``open`` until its relation exists, then ``resolving`` until that is answered.
        resolution: the answer.
        holds: which of the two holds, according to it.
    """

    claim_a: str
    claim_b: str
    reason: str = ""
    status: Literal["suspected", "dismissed", "open", "resolving", "resolved", "failed"] = "open"
    resolution: str = ""
    holds: Literal["", "first", "second", "both", "neither", "unclear"] = ""


@kit.object
@attrs.frozen
class Report:
    """What came of it.

    Attributes:
        text: in Markdown.
        name: of the artifact.
        media_type: of the text.
    """

    status: Literal["completed"]
    text: str
    name: str = "report.md"
    media_type: str = "text/markdown"


COMPANY, CLAIM, EVIDENCE = "Company", "Claim", "Evidence"
CONTRADICTION, REPORT = "Contradiction", "Report"
SUPPORTS = kit.relation("supports", Evidence, Claim)
CONTRADICTS = kit.relation("contradicts", Claim, Claim)
DEPENDS_ON = kit.relation("depends_on", Report, Company)
SOURCED_FROM = kit.relation("sourced_from", Evidence, Claim)
