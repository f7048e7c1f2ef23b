"""The texts of the kit: questions, lists of sources and syntheses, with foreign text quoted."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from kando.text.markdown import one_line, plain

__all__ = [
    "clipped",
    "planned_questions",
    "questions_about",
    "reason_of",
    "sources_text",
    "synthesis_text",
]

#: Maximum characters of a goal or path inside another text, and of a line of an answer.
_LINE_CHARS = 300
_ANSWER_LINE_CHARS = 4_000

_MAX_PLAN_CHARS = 16_000
_CITATION = re.compile(r"\[(\d{1,4})\]")
_QUESTION = re.compile(r"\s*QUESTION:\s*(\S.*)")

_ASKED = ("what is claimed?", "what evidence supports or contradicts it?", "what remains open?")


def questions_about(goal: str) -> list[str]:
    """Return the three questions that a goal decomposes into."""
    return [f"{one_line(goal, _LINE_CHARS)}: {asked}" for asked in _ASKED]


def planned_questions(text: str) -> list[str]:
    """Return the questions of a plan, one per line of the form ``QUESTION: ...``: at most three."""
    found = (_QUESTION.match(line) for line in text[:_MAX_PLAN_CHARS].splitlines())
    questions = (one_line(each[1], _LINE_CHARS) for each in found if each is not None)
    return list(dict.fromkeys(filter(None, questions)))[: len(_ASKED)]


def clipped(text: str, limit: int) -> str:
    """Return a text, truncated to `limit` characters with a note if it is longer."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}\n[{len(text) - limit:,} more characters]"


def reason_of(failure: Mapping[str, Any]) -> str:
    """Return in one line why a call failed or was refused."""
    message = failure.get("message") or failure.get("type") or ""
    return one_line(str(message), _LINE_CHARS) or "no reason given"


def sources_text(sources: Sequence[Mapping[str, Any]]) -> str:
    """Return sources as a prompt shows them: numbered, each with its location and quoted excerpt.

    Args:
        sources: the data of `Source` objects.
    """
    if not sources:
        return "No source was given."
    parts = [
        f"{_place(number, source, one_line(source['path'], _LINE_CHARS))}\n"
        + _quoted(source["excerpt"].splitlines())
        for number, source in enumerate(sources, start=1)
    ]
    return "\n\n".join(["Sources:", *parts])


def synthesis_text(
    goal: str,
    answered: Sequence[tuple[str, Mapping[str, Any], Sequence[Mapping[str, Any]]]],
) -> str:
    """Return the synthesis of a goal's findings, in Markdown.

    Answers are quoted, so that none of them can imitate another finding or its sources.

    Args:
        goal: text of the goal.
        answered: ``(question, finding data, data of its sources)`` for each finding, in order.
    """
    total = len(answered)
    complete = sum(finding["status"] == "completed" for _, finding, _ in answered)
    parts = [f"# {plain(goal, _LINE_CHARS)}", f"{complete} of {total} questions answered."]
    for question, finding, sources in answered:
        parts.append(f"## {plain(question, 2 * _LINE_CHARS)}")
        if finding["status"] == "completed":
            lines = finding.get("text", "").splitlines()
            parts.append(_quoted([plain(line, _ANSWER_LINE_CHARS) for line in lines]))
        else:
            reason = plain(finding.get("error") or "no reason given", _LINE_CHARS)
            parts.append(f"No answer: {reason}")
        if sources:
            cited = _cited_in(finding.get("text", ""), len(sources))
            listed = [
                f"- {_place(number, source, plain(source['path'], _LINE_CHARS))}"
                for number, source in enumerate(sources, start=1)
                if number in cited
            ]
            parts.append("\n".join(["Sources:", "", *listed]))
    return "\n\n".join(parts) + "\n"


def _cited_in(text: str, number: int) -> set[int]:
    """Return the numbers of the sources that an answer cites, or of all sources if it cites none."""
    cited = {int(each) for each in _CITATION.findall(text)} & set(range(1, number + 1))
    return cited or set(range(1, number + 1))


def _place(number: int, source: Mapping[str, Any], path: str) -> str:
    part = f"part {source['part']}, " if source.get("part") else ""
    return f"[{number}] {path}, {part}characters {source['start']}-{source['end']}"


def _quoted(lines: Sequence[str]) -> str:
    return "\n".join(f"> {line}".rstrip() for line in lines) or ">"
