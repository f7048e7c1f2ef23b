"""The answers of a model, as structured output: untrusted, checked here before they are used.

They have few fields, short enumerations and limits of length, so that a small model can follow them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import attrs

from kando.kit import json_schema
from kando.text.markdown import one_line
from kando.text.relevance import holder_of, words_in

__all__ = [
    "MAX_PAGES",
    "Comparison",
    "Plan",
    "Reading",
    "Resolution",
    "Statement",
    "cited_in",
    "urls_in",
    "why_unsupported",
    "with_holder",
]

#: Maximum number of web pages that one plan names.
MAX_PAGES = 10

_URL = re.compile(r"https?://[^\s<>\"'()\[\]{}]{1,2000}")
_FIGURE = re.compile(r"\d+(?:[.,]\d+|[ '\u00a0\u202f]\d{3}(?!\d))*")


@attrs.frozen
class Plan:
    """A plan: questions about the company, and web pages to read.

    Attributes:
        summary: what the documents can say, in a sentence or two.
        questions: the questions to answer.
        pages: URLs of web pages to read.
    """

    summary: str = attrs.field(metadata=json_schema(maxLength=600))
    questions: list[str] = attrs.field(factory=list, metadata=json_schema(maxItems=12))
    pages: list[str] = attrs.field(factory=list, metadata=json_schema(maxItems=MAX_PAGES))


@attrs.frozen
class Statement:
    """One statement of a source.

    Attributes:
        statement: in one sentence that can be understood alone.
        passages: numbers of the passages that it rests on, from 1.
        subject: whom or what it is about.
        attribute: the property that it states, in one to three English words.
        question: number of the question that it answers, from 1; 0 for none.
    """

    statement: str = attrs.field(metadata=json_schema(maxLength=600))
    passages: list[int] = attrs.field(metadata=json_schema(maxItems=4))
    subject: str = attrs.field(default="", metadata=json_schema(maxLength=80))
    attribute: str = attrs.field(default="", metadata=json_schema(maxLength=80))
    question: int = 0


@attrs.frozen
class Reading:
    """The statements of a source about the company.

    Attributes:
        statements: what it states about the company.
        note: what kind of source it is, or why it states nothing, in one sentence.
    """

    statements: list[Statement] = attrs.field(factory=list, metadata=json_schema(maxItems=12))
    note: str = attrs.field(default="", metadata=json_schema(maxLength=600))


@attrs.frozen
class Comparison:
    """Whether two statements can both be true.

    Attributes:
        verdict: ``agree`` if they say the same.
        reason: in one sentence.
    """

    verdict: Literal["contradict", "agree", "unrelated"]
    reason: str = attrs.field(metadata=json_schema(maxLength=600))


@attrs.frozen
class Resolution:
    """Which of two claims that contradict each other holds.

    Attributes:
        holds: the claim that holds.
        reason: in a few sentences.
    """

    holds: Literal["first", "second", "both", "neither", "unclear"]
    reason: str = attrs.field(metadata=json_schema(maxLength=1500))


def urls_in(text: str) -> list[str]:
    """Return the URLs in a text, without punctuation at their ends."""
    found = [url.rstrip(".,;:!?") for url in _URL.findall(text[:20_000])]
    return list(dict.fromkeys(found))[:MAX_PAGES]


def cited_in(found: Statement, passages: int) -> list[int]:
    """Return the passages that a statement cites, from 1; the only one if just one is shown."""
    known = dict.fromkeys(n for n in found.passages if 1 <= n <= passages)
    return [*known] or ([1] if passages == 1 else [])


def with_holder(found: Statement, passages: Sequence[str]) -> Statement:
    """Return a statement that cites the passage which holds its words, if those it cites do not.

    Unchanged if no passage does, or if it cites none that exists.
    """
    cited = [passages[n - 1] for n in cited_in(found, len(passages))]
    holder = holder_of(found.statement, passages)
    if holder is None or not cited or holder_of(found.statement, cited) is not None:
        return found
    return attrs.evolve(found, passages=[holder + 1])


def why_unsupported(found: Statement, passages: Sequence[str]) -> str:
    """Return why a statement does not follow from the passages that it cites; empty if it may.

    A model that is asked whether it does may be wrong in the same way as the one that stated it. So
    this compares words: a statement must share some with its passages, and a figure if it has any.
    """
    if not one_line(found.statement, 500):
        return "it is empty"
    cited = "\n".join(passages[n - 1] for n in cited_in(found, len(passages)))
    if not cited:
        return "it cites no passage that exists"
    if not words_in(found.statement) & words_in(cited):
        return "it shares no word with the passages that it cites"
    figures, known = _figures(found.statement), _figures(cited)
    if figures and not figures & known:
        return "the passages that it cites have none of its figures"
    return ""


def _figures(text: str) -> set[str]:
    """Return the numbers of at least two digits in a text, without separators."""
    found = {re.sub(r"\D", "", each) for each in _FIGURE.findall(text)}
    return {each for each in found if len(each) > 1}
