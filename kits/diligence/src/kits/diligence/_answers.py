"""Parsers for a model's answers: untrusted text in a small line-based format.

The format is lines, not JSON, so that a truncated answer keeps its complete lines and a model
without structured output can follow it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs

from kando.responders.answers import failure_of

__all__ = [
    "MAX_FETCHES",
    "MAX_QUESTIONS",
    "MAX_STATEMENTS",
    "Plan",
    "Statement",
    "Verdict",
    "parse_plan",
    "parse_resolution",
    "parse_statements",
    "parse_verdict",
    "reason_of",
    "urls_in",
]

#: Limits: questions per plan, pages per plan, statements per answer.
MAX_QUESTIONS, MAX_FETCHES, MAX_STATEMENTS = 6, 3, 12

_MAX_TEXT_CHARS = 16_000
_MAX_LINE_CHARS = 500

_QUESTION = re.compile(r"\s*QUESTION:\s*(\S.*)")
_FETCH = re.compile(r"\s*FETCH:\s*(https?://\S{1,2000})\s*")
_STATEMENT = re.compile(r"\s*CLAIM\s+(\d{1,3})\s*((?:\[\d{1,3}\]\s*)+):\s*(\S.*)")
_VERDICT = re.compile(r"\s*(CONTRADICTS|AGREES|UNRELATED)\b[\s:]*(.*)")
_HOLDS = re.compile(r"\s*HOLDS:\s*(FIRST|SECOND|BOTH|NEITHER)\b\W*(.*)")
_URL = re.compile(r"https?://[^\s<>\"'()\[\]{}]{1,2000}")


@attrs.frozen
class Plan:
    """The questions to answer, and the pages to read.

    Attributes:
        text: the rest of the answer.
        questions: the questions in plain text.
        urls: URLs of the pages.
    """

    text: str
    questions: list[str]
    urls: list[str]


@attrs.frozen
class Statement:
    """A statement of a source.

    Attributes:
        text: the statement in one sentence.
        question: number of the question that it answers, from 1; 0 if it answers none.
        passages: numbers of the passages that it cites, from 1; at least one.
    """

    text: str
    question: int
    passages: list[int]


@attrs.frozen
class Verdict:
    """The outcome of comparing two claims.

    Attributes:
        outcome: ``CONTRADICTS``, ``AGREES`` or ``UNRELATED``; empty if the answer has none of them.
        reason: the model's reason.
    """

    outcome: str
    reason: str


def parse_plan(text: str) -> Plan:
    """Parse a plan; lines in any other format become its text."""
    rest: list[str] = []
    questions: list[str] = []
    urls: list[str] = []
    for line in _lines(text):
        question, url = _QUESTION.match(line), _FETCH.fullmatch(line)
        if question is not None:
            questions.append(_short(question[1]))
        elif url is not None:
            urls.append(url[1])
        else:
            rest.append(line)
    return Plan(_joined(rest), _unique(questions, MAX_QUESTIONS), _unique(urls, MAX_FETCHES))


def parse_statements(text: str, questions: int, passages: int) -> tuple[str, list[Statement]]:
    """Return the text of an answer and its statements, without those that cite no known passage.

    Args:
        text: the answer.
        questions: number of questions that were asked.
        passages: number of passages that were shown.
    """
    rest: list[str] = []
    found: dict[str, Statement] = {}
    for line in _lines(text):
        match = _STATEMENT.match(line)
        if match is None:
            rest.append(line)
            continue
        cited = [int(number) for number in re.findall(r"\d+", match[2])]
        known = list(dict.fromkeys(number for number in cited if 1 <= number <= passages))
        question = int(match[1]) if int(match[1]) <= questions else 0
        if known and len(found) < MAX_STATEMENTS:
            statement = _short(match[3])
            found.setdefault(statement, Statement(statement, question, known))
    return _joined(rest), list(found.values())


def parse_verdict(text: str) -> Verdict:
    """Return the verdict of an answer about two claims: its first line that has one."""
    for line in _lines(text):
        match = _VERDICT.match(line)
        if match is not None:
            return Verdict(match[1], _short(match[2]))
    return Verdict("", "the answer gave no verdict")


def parse_resolution(text: str) -> tuple[str, str]:
    """Return which of two claims holds, or ``unclear`` without a verdict, and the explanation."""
    rest: list[str] = []
    holds = "unclear"
    for line in _lines(text):
        match = _HOLDS.match(line) if holds == "unclear" else None
        if match is None:
            rest.append(line)
        else:
            holds = match[1].lower()
            rest.append(match[2])
    return holds, _joined(rest)[:4000]


def urls_in(text: str) -> list[str]:
    """Return the URLs in a text, up to the limit for one plan."""
    found = [url.rstrip(".,;:!?") for url in _URL.findall(text)]
    return _unique(found, MAX_FETCHES)


def reason_of(answer: Mapping[str, Any], default: str = "no answer") -> str:
    """Return in one line why a call failed or was refused; `default` if the answer has no reason."""
    return _short(str((failure_of(answer) or {}).get("message") or default))


def _lines(text: str) -> list[str]:
    return text[:_MAX_TEXT_CHARS].splitlines()


def _joined(lines: list[str]) -> str:
    return "\n".join(lines).strip()


def _short(text: str) -> str:
    return " ".join(text.split())[:_MAX_LINE_CHARS]


def _unique(texts: list[str], limit: int) -> list[str]:
    return list(dict.fromkeys(texts))[:limit]
