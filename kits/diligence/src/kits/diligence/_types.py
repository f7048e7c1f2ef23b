"""The kit object, its object types and its relation types."""

from __future__ import annotations

from typing import Literal

import attrs

from kando.kit import OMITTED, Demo, Kit, load_prompts

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

#: Kinds of claims: an overview of the company, the reading of one source, a single statement.
OVERVIEW, READING, STATEMENT = "overview", "reading", "statement"


@kit.object
@attrs.frozen
class Company:
    """The company under examination.

    Attributes:
        name: the goal in plain text.
        questions: the questions that the run tries to answer.
    """

    name: str
    questions: list[str] = attrs.field(factory=list, metadata=OMITTED)


@kit.object
@attrs.frozen
class Claim:
    """A statement about the company.

    Attributes:
        statement: the claim in one sentence.
        status: ``pending`` until it is answered; ``disputed`` while another claim contradicts it.
        text: the model's answer.
        error: why it failed.
        kind: ``overview``: what is known about the company; its answer is the plan.
            ``reading``: what one source says; its answer holds statements. Or ``statement``.
        source: path or URL of the source that a reading or a statement belongs to.
        question: number of the company's question that it answers, from 1; 0 if it answers none.
        confidence: confidence in a statement, in percent.
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
    """A passage of an input document or of a web page.

    Attributes:
        path: path of the document, or URL of the page.
        sha256: digest of the document or page, in hexadecimal.
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
class Contradiction:
    """Two claims that may not both be true.

    Attributes:
        claim_a: id of the first claim.
        claim_b: id of the second claim.
        reason: why they cannot both be true.
        status: ``suspected`` until they have been compared, then ``dismissed`` if both can be
            true; otherwise ``open`` until the relation exists, then ``resolving`` until the
            request for a resolution is answered.
        resolution: the model's explanation.
        holds: which of the two claims holds, according to the model.
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
    """The result of the run.

    Attributes:
        text: the report in Markdown.
        name: name of the artifact.
        media_type: media type of the text.
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
