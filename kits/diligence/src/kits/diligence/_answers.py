"""What a model's answer says: untrusted text, read line by line by a small fixed format.

Lines, and not JSON: an answer that was cut off keeps what it said before, and a model that knows
no structured output can give one as well.
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

#: Questions that a plan may have, pages it may ask for, and statements of one answer.
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
    """What is to be found out, and where to look.

    Attributes:
        text: what else the answer says.
        questions: in words.
        urls: of pages to read.
    """

    text: str
    questions: list[str]
    urls: list[str]


@attrs.frozen
class Statement:
    """Something that a source states.

    Attributes:
        text: in words.
        question: number of the question it answers, from 1; 0 for none.
        passages: numbers of the passages that it rests on, from 1; at least one.
    """

    text: str
    question: int
    passages: list[int]


@attrs.frozen
class Verdict:
    """What became of comparing two claims.

    Attributes:
        says: ``CONTRADICTS``, ``AGREES`` or ``UNRELATED``; empty if the answer says none of them.
        reason: in words.
    """

    says: str
    reason: str


def parse_plan(text: str) -> Plan:
    """Take a plan apart; whatever does not fit the format is text."""
    kept: list[str] = []
    questions: list[str] = []
    urls: list[str] = []
    for line in _lines(text):
        question, url = _QUESTION.match(line), _FETCH.fullmatch(line)
        if question is not None:
            questions.append(_short(question[1]))
        elif url is not None:
            urls.append(url[1])
        else:
            kept.append(line)
    return Plan(_joined(kept), _different(questions, MAX_QUESTIONS), _different(urls, MAX_FETCHES))


def parse_statements(text: str, questions: int, passages: int) -> tuple[str, list[Statement]]:
    """Return the text of an answer and its statements; one without a passage is none.

    Args:
        text: the answer.
        questions: how many questions there are.
        passages: how many passages there are.
    """
    kept: list[str] = []
    found: dict[str, Statement] = {}
    for line in _lines(text):
        match = _STATEMENT.match(line)
        if match is None:
            kept.append(line)
            continue
        cited = [int(number) for number in re.findall(r"\d+", match[2])]
        known = list(dict.fromkeys(number for number in cited if 1 <= number <= passages))
        question = int(match[1]) if int(match[1]) <= questions else 0
        if known and len(found) < MAX_STATEMENTS:
            said = _short(match[3])
            found.setdefault(said, Statement(said, question, known))
    return _joined(kept), list(found.values())


def parse_verdict(text: str) -> Verdict:
    """Return what an answer says about two claims: the first line that says something."""
    for line in _lines(text):
        match = _VERDICT.match(line)
        if match is not None:
            return Verdict(match[1], _short(match[2]))
    return Verdict("", "the answer gave no verdict")


def parse_resolution(text: str) -> tuple[str, str]:
    """Return which of two claims holds, and why; ``unclear`` if the answer does not say."""
    kept: list[str] = []
    holds = "unclear"
    for line in _lines(text):
        match = _HOLDS.match(line) if holds == "unclear" else None
        if match is None:
            kept.append(line)
        else:
            holds = match[1].lower()
            kept.append(match[2])
    return holds, _joined(kept)[:4000]


def urls_in(text: str) -> list[str]:
    """Return the addresses of pages that a goal names."""
    found = [url.rstrip(".,;:!?") for url in _URL.findall(text)]
    return _different(found, MAX_FETCHES)


def reason_of(answer: Mapping[str, Any], otherwise: str = "no answer") -> str:
    """Return why an answer is none, in one line; `otherwise` if it does not say."""
    return _short(str((failure_of(answer) or {}).get("message") or otherwise))


def _lines(text: str) -> list[str]:
    return text[:_MAX_TEXT_CHARS].splitlines()


def _joined(lines: list[str]) -> str:
    return "\n".join(lines).strip()


def _short(text: str) -> str:
    return " ".join(text.split())[:_MAX_LINE_CHARS]


def _different(texts: list[str], limit: int) -> list[str]:
    return list(dict.fromkeys(texts))[:limit]
