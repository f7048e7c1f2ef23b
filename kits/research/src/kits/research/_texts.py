"""The texts of the kit: questions, lists of sources and syntheses, with foreign text quoted."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from kando.text.markdown import one_line, plain
from kando.text.relevance import holder_of, words_in
from kits.research._types import Answer

__all__ = [
    "checked",
    "clipped",
    "planned_questions",
    "problem_of",
    "questions_about",
    "reason_of",
    "sources_text",
    "synthesis_text",
]

#: Maximum characters of a goal or path inside another text, and of a line of an answer.
_LINE_CHARS = 300
_ANSWER_LINE_CHARS = 4_000

#: Maximum number of inputs and statements that a section of the synthesis lists.
_MAX_LISTED = 50

_CITATION = re.compile(r"\[(\d{1,4})\]")
_FIGURE = re.compile(r"\d+(?:[.,]\d+)*")

_ASKED = (
    "what is claimed?",
    "what evidence supports or contradicts it?",
    "what remains open?",
    "what has changed over time?",
    "who is affected, and how?",
    "what are the alternatives?",
)


def questions_about(goal: str, number: int = 3) -> list[str]:
    """Return the questions that a goal decomposes into: from 1 to 6."""
    asked = _ASKED[: max(number, 1)]
    return [f"{one_line(goal, _LINE_CHARS)}: {each}" for each in asked]


def planned_questions(questions: Sequence[str]) -> list[str]:
    """Return the questions of a plan, each once, as printable lines."""
    found = (one_line(each, _LINE_CHARS) for each in questions)
    return list(dict.fromkeys(filter(None, found)))


def clipped(text: str, limit: int) -> str:
    """Return a text, truncated to `limit` characters with a note if it is longer."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}\n[{len(text) - limit:,} more characters]"


def reason_of(failure: Mapping[str, Any]) -> str:
    """Return in one line why a call failed or was refused."""
    message = failure.get("message") or failure.get("type") or ""
    return one_line(str(message), _LINE_CHARS) or "no reason given"


def checked(found: Answer, sources: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """Return the statements of an answer with citations, and those left out with the reasons.

    If a statement cites only sources that do not hold its words, and another one does, that one is
    cited instead, and the statement says so.

    Args:
        found: the answer; untrusted.
        sources: the data of the sources that it may cite.
    """
    good, left_out = [], []
    excerpts = [source["excerpt"] for source in sources]
    for each in found.statements:
        text = _CITATION.sub("", one_line(each.text, _ANSWER_LINE_CHARS)).strip()
        numbers = [n for n in dict.fromkeys(each.sources) if 1 <= n <= len(sources)]
        holder = holder_of(text, excerpts)
        if (
            numbers
            and holder is not None
            and holder_of(text, [excerpts[n - 1] for n in numbers]) is None
        ):
            good.append(f"{text} [{holder + 1}] (source chosen by its words)")
            continue
        why = _unsupported(text, [excerpts[n - 1] for n in numbers])
        if why:
            left_out.append(f"{one_line(text, _LINE_CHARS)} ({why})")
        else:
            good.append(f"{text} {' '.join(f'[{n}]' for n in numbers)}")
    return good, left_out


def problem_of(found: Answer, good: Sequence[str], left_out: Sequence[str]) -> str:
    """Return why an answer is unusable; empty if it states something or says what is missing."""
    if good or (found.missing.strip() and not left_out):
        return ""
    return f"no statement is supported: {left_out[0]}" if left_out else "it states nothing"


def _unsupported(text: str, excerpts: Sequence[str]) -> str:
    """Return why a statement does not follow from the sources that it cites; empty if it may.

    A model that is asked whether it does may be wrong in the same way as the one that stated it. So
    this compares words and figures.
    """
    if not excerpts:
        return "it cites no source that was shown"
    cited = "\n".join(excerpts)
    known = _figures(cited).values()
    figures = _figures(text)
    missing = [shown for shown, value in figures.items() if value not in known]
    if missing:
        return f"the sources that it cites do not have the figure {missing[0]}"
    if not text or not (figures or words_in(text) & words_in(cited)):
        return "it shares no word with the sources that it cites"
    return ""


def _figures(text: str) -> dict[str, str]:
    """Return the figures of a text, each with a form that does not depend on its language."""
    return {each: re.sub(r"[.,]", "", each).lstrip("0") for each in _FIGURE.findall(text)}


def sources_text(sources: Sequence[Mapping[str, Any]], first: int = 1) -> str:
    """Return sources as a prompt shows them: numbered, each with its location and quoted excerpt.

    Args:
        sources: the data of `Source` objects.
        first: number of the first of them.
    """
    if not sources:
        return "No source was given."
    parts = [
        f"{_place(number, source, one_line(source['path'], _LINE_CHARS))}\n"
        + _quoted(source["excerpt"].splitlines())
        for number, source in enumerate(sources, start=first)
    ]
    return "\n\n".join(["Sources:", *parts])


def synthesis_text(
    goal: str,
    answered: Sequence[tuple[str, Mapping[str, Any], Sequence[Mapping[str, Any]]]],
    unread: Sequence[tuple[str, str]] = (),
    problem: str = "",
) -> str:
    """Return the synthesis of a goal's findings, in Markdown.

    Answers are quoted, so that none of them can imitate another finding or its sources.

    Args:
        goal: text of the goal.
        answered: ``(question, finding data, data of its sources)`` for each finding, in order.
        unread: the path of each input that was not read as a whole, and why.
        problem: why the run has no answer, or an empty text.
    """
    total = len(answered)
    complete = sum(finding["status"] == "completed" for _, finding, _ in answered)
    parts = [f"# {plain(goal, _LINE_CHARS)}", f"{complete} of {total} questions answered."]
    if problem:
        parts.append(f"Problem: {plain(problem, 2 * _LINE_CHARS)}.")
    for question, finding, sources in answered:
        parts += _answer_texts(question, finding, sources)
    if unread:
        parts += ["## Not read", _listed([f"{path}: {reason}" for path, reason in unread])]
    return "\n\n".join(parts) + "\n"


def _answer_texts(
    question: str, finding: Mapping[str, Any], sources: Sequence[Mapping[str, Any]]
) -> list[str]:
    text = finding.get("text", "")
    parts = [f"## {plain(question, 2 * _LINE_CHARS)}"]
    if finding["status"] == "completed":
        parts.append(_quoted([plain(line, _ANSWER_LINE_CHARS) for line in text.splitlines()]))
    else:
        reason = plain(finding.get("error") or "no reason given", _LINE_CHARS)
        parts.append(f"No answer: {reason}")
    if finding.get("unchecked") and sources:
        parts.append(f"The citations are not checked: {plain(finding['unchecked'], _LINE_CHARS)}.")
    missing = finding.get("missing") or ""
    if missing and missing != text:
        parts.append(f"Missing: {plain(missing, 2 * _LINE_CHARS)}")
    if sources:
        cited = _cited_in(text, len(sources))
        listed = [
            f"- {_place(number, source, plain(source['path'], _LINE_CHARS))}{_line_of(source)}"
            for number, source in enumerate(sources, start=1)
            if number in cited
        ]
        parts.append("\n".join(["Sources:", "", *listed]))
    if finding.get("left_out"):
        parts += ["Left out, since the sources do not support it:", _listed(finding["left_out"])]
    return parts


def _listed(lines: Sequence[str]) -> str:
    shown = [f"* {plain(each, 2 * _LINE_CHARS)}" for each in lines[:_MAX_LISTED]]
    more = len(lines) - len(shown)
    return "\n".join([*shown, *([f"* and {more} more"] if more else [])])


def _cited_in(text: str, number: int) -> set[int]:
    """Return the numbers of the sources that an answer cites, or of all sources if it cites none."""
    cited = {int(each) for each in _CITATION.findall(text)} & set(range(1, number + 1))
    return cited or set(range(1, number + 1))


def _place(number: int, source: Mapping[str, Any], path: str) -> str:
    part = f"part {source['part']}, " if source.get("part") else ""
    return f"[{number}] {path}, {part}characters {source['start']}-{source['end']}"


def _line_of(source: Mapping[str, Any]) -> str:
    page = f", page {source['page']}" if source.get("page") else ""
    return f"{page}, line {source['line']}" if source.get("line") else page


def _quoted(lines: Sequence[str]) -> str:
    return "\n".join(f"> {line}".rstrip() for line in lines) or ">"
