"""The kit object, its settings, its object types and its relation types."""

from __future__ import annotations

from functools import partial
from typing import Literal

import attrs

from kando.kit import (
    OMITTED,
    RECALL,
    Demo,
    Kit,
    json_schema,
    load_prompts,
    model_setting,
    setting,
)
from kando.recall import rank_passages
from kando.text.relevance import BM25

__all__ = [
    "ANSWERS",
    "CITES",
    "DECOMPOSES_INTO",
    "FINDING",
    "GOAL",
    "QUESTION",
    "SOURCE",
    "SYNTHESIS",
    "SYNTHESIZES",
    "Answer",
    "Finding",
    "Goal",
    "Plan",
    "Question",
    "Settings",
    "Source",
    "Statement",
    "Synthesis",
    "kit",
    "max_tokens",
    "model_of",
]

Status = Literal["pending", "completed", "failed"]

kit = Kit(
    "research",
    version="0.1.0",
    distribution="kando-kit-research",
    prompts=load_prompts(__package__),
    demo=Demo(__package__, "How should Eastbridge protect itself from floods?"),
)


@kit.settings
@attrs.frozen
class Settings:
    """The settings of a run.

    Attributes:
        questions: how many questions the goal decomposes into, from 1 to 6.
        depth: maximum number of passages that a question is answered from.
        model: that answers all requests; ``default`` for the one the run was started with.
        models: of single steps, by name: ``plan``, ``finding``.
        max_tokens: maximum length of an answer; None for the default of the provider.
        languages: of the documents, such as ``german``; recognized if empty.
        document_chars: how much of one document is read, in characters.
        part_chars: how much of the documents one request shows, in characters.
        recall: by which the passages for a question are chosen: ``bm25``, their words, or a plugin's
            name, whose order alternates with that of the words.
    """

    questions: int = 3
    depth: int = 5
    model: str = "default"
    models: dict[str, str] = attrs.field(factory=dict)
    max_tokens: int | None = None
    languages: list[str] = attrs.field(factory=list)
    document_chars: int = 200_000
    part_chars: int = 12_000
    recall: str = attrs.field(default=BM25, metadata=RECALL)


#: Options of the requests.
model_of = partial(model_setting, Settings)
max_tokens = setting(Settings, "max_tokens")


kit.tool("rank_passages", timeout=600.0, effect="read")(rank_passages)


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
        line: number of its first line in the whole document, from 1.
        page: number of its page, from 1; 0 if the document has no pages.
    """

    path: str
    sha256: str
    start: int
    end: int
    excerpt: str
    part: int = 0
    line: int = 0
    page: int = 0


@kit.object
@attrs.frozen
class Finding:
    """The answer to a question, from the sources it cites.

    Attributes:
        status: ``pending`` until there is an answer.
        text: the answer, empty until then. A number in brackets cites a source.
        error: why it failed.
        missing: what the sources do not answer.
        said: statements from the parts of the sources that are read so far.
        part: number of the part that is read now, from 1; of sources that fit into one request, 1.
        problem: why an answer was unusable, so that the model is asked again.
        left_out: statements that the sources they cite do not support, and why.
        unchecked: why the citations in the text are not checked.
        is_ranking: whether it waits, or waited in vain, for the order of its sources by a recall.
    """

    status: Status
    text: str = ""
    error: str | None = attrs.field(default=None, metadata=OMITTED)
    missing: str = attrs.field(default="", metadata=OMITTED)
    said: list[str] = attrs.field(factory=list, metadata=OMITTED)
    part: int = attrs.field(default=1, metadata=OMITTED)
    problem: str = attrs.field(default="", metadata=OMITTED)
    left_out: list[str] = attrs.field(factory=list, metadata=OMITTED)
    unchecked: str = attrs.field(default="", metadata=OMITTED)
    is_ranking: bool = attrs.field(default=False, metadata=OMITTED)


@kit.object
@attrs.frozen
class Synthesis:
    """The combined findings of a goal.

    Attributes:
        text: the synthesis in Markdown.
        name: name of the artifact.
        media_type: media type of the text.
        problem: why the run has no sourced answer; empty if it has one.
    """

    status: Status
    text: str
    name: str = "synthesis.md"
    media_type: str = "text/markdown"
    problem: str = attrs.field(default="", metadata=OMITTED)


GOAL, QUESTION, SOURCE, FINDING, SYNTHESIS = "Goal", "Question", "Source", "Finding", "Synthesis"
DECOMPOSES_INTO = kit.relation("decomposes_into", Goal, Question)
ANSWERS = kit.relation("answers", Finding, Question)
SYNTHESIZES = kit.relation("synthesizes", Synthesis, Goal)
CITES = kit.relation("cites", Finding, Source)


@attrs.frozen
class Plan:
    """The questions that serve a goal best.

    Attributes:
        questions: each can be understood alone.
    """

    questions: list[str] = attrs.field(
        metadata=json_schema(maxItems=6, items={"type": "string", "maxLength": 200})
    )


@attrs.frozen
class Statement:
    """One statement of an answer.

    Attributes:
        text: in one sentence, without numbers of sources.
        sources: numbers of the sources that state it.
    """

    text: str = attrs.field(metadata=json_schema(maxLength=400))
    sources: list[int] = attrs.field(
        metadata=json_schema(minItems=1, maxItems=5, items={"type": "integer", "minimum": 1})
    )


@attrs.frozen
class Answer:
    """The answer to a question.

    Attributes:
        statements: what the sources state about the question.
        missing: what they do not answer; empty if they answer it.
    """

    statements: list[Statement] = attrs.field(metadata=json_schema(maxItems=8))
    missing: str = attrs.field(default="", metadata=json_schema(maxLength=300))
