"""The kit object, its settings, its object types and its relation types."""

from __future__ import annotations

from functools import partial
from typing import Final, Literal

import attrs

from kando.kit import OMITTED, RECALL, Demo, Kit, load_prompts, model_setting, setting
from kando.text.relevance import BM25

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
    "Settings",
    "kit",
    "max_tokens",
    "model_of",
]

kit = Kit(
    "diligence",
    version="0.1.0",
    distribution="kando-kit-diligence",
    prompts=load_prompts(__package__),
    demo=Demo(__package__, "Evaluate Acme Corp"),
)

#: Kinds of claims: an overview of the company, the reading of a source, a single statement.
OVERVIEW: Final = "overview"
READING: Final = "reading"
STATEMENT: Final = "statement"


@kit.settings
@attrs.frozen
class Settings:
    """The settings of a run.

    Attributes:
        depth: maximum number of questions about the company.
        model: that answers all requests; ``default`` for the one the run was started with.
        models: of single steps, by name: ``plan``, ``reading``, ``comparison``, ``resolution``,
            ``claim``.
        max_tokens: maximum length of an answer; None for the default of the provider.
        languages: of the documents, such as ``german``; recognized if empty.
        document_chars: how much of one document is read, in characters.
        part_chars: how much of a document one request shows, in characters.
        fetch_limit: number of web pages that are fetched without asking a person.
        recall: by which passages of long sources are chosen: ``bm25``, their words, or a plugin's
            name, whose order alternates with that of the words.
    """

    depth: int = 6
    model: str = "default"
    models: dict[str, str] = attrs.field(factory=dict)
    max_tokens: int | None = None
    languages: list[str] = attrs.field(factory=list)
    document_chars: int = 48_000
    part_chars: int = 12_000
    fetch_limit: int = 3
    recall: str = attrs.field(default=BM25, metadata=RECALL)


#: Options of the requests.
model_of = partial(model_setting, Settings)
max_tokens = setting(Settings, "max_tokens")


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
        status: ``pending`` until it is answered; ``disputed`` while another claim contradicts it;
            ``merged`` if another claim says the same.
        text: the model's answer.
        error: why it failed.
        kind: ``overview``: what is known about the company; its answer is the plan.
            ``reading``: what a source, or a part of one, says; its answer holds statements. Or
            ``statement``.
        source: path or URL of the source that a reading or a statement belongs to.
        question: number of the company's question that it answers, from 1; 0 if it answers none.
        confidence: confidence in a statement, in percent.
        subject: of a statement: whom or what it is about.
        attribute: of a statement: which property it states, in a few English words.
        merged_into: id of the claim that says the same.
        part: of a reading: number of the part of its source, from 2; 0 for the first.
        unread: of a reading: what of its source is not read, and why.
        problem: of a reading: why its first answer was unusable, so that it is asked again.
        left_out: of a reading: statements that none of the passages support.
        chosen: of a reading: statements for which a passage was chosen by its words, since those that
            the model cited do not have them.
    """

    statement: str
    status: Literal["pending", "completed", "disputed", "failed", "merged"]
    text: str = ""
    error: str | None = None
    kind: Literal["overview", "reading", "statement"] = "statement"
    source: str = ""
    question: int = 0
    confidence: int | None = None
    subject: str = attrs.field(default="", metadata=OMITTED)
    attribute: str = attrs.field(default="", metadata=OMITTED)
    merged_into: str = attrs.field(default="", metadata=OMITTED)
    part: int = attrs.field(default=0, metadata=OMITTED)
    unread: str = attrs.field(default="", metadata=OMITTED)
    problem: str = attrs.field(default="", metadata=OMITTED)
    left_out: list[str] = attrs.field(factory=list, metadata=OMITTED)
    chosen: list[str] = attrs.field(factory=list, metadata=OMITTED)


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
        line: number of its first line in the text of the document, from 1.
        page: number of its page, from 1; 0 if the document has no pages.
    """

    path: str
    sha256: str
    start: int
    end: int
    excerpt: str
    part: int = 0
    line: int = attrs.field(default=0, metadata=OMITTED)
    page: int = attrs.field(default=0, metadata=OMITTED)


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
        problem: what the run did not achieve; empty if it found claims.
    """

    status: Literal["completed"]
    text: str
    name: str = "report.md"
    media_type: str = "text/markdown"
    problem: str = attrs.field(default="", metadata=OMITTED)


COMPANY, CLAIM, EVIDENCE = "Company", "Claim", "Evidence"
CONTRADICTION, REPORT = "Contradiction", "Report"
SUPPORTS = kit.relation("supports", Evidence, Claim)
CONTRADICTS = kit.relation("contradicts", Claim, Claim)
DEPENDS_ON = kit.relation("depends_on", Report, Company)
SOURCED_FROM = kit.relation("sourced_from", Evidence, Claim)
