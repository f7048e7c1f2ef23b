"""What the kit writes, with foreign text quoted in it: questions, lists of sources, syntheses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "clipped",
    "one_line",
    "questions_about",
    "reason_of",
    "sources_text",
    "synthesis_text",
]

#: Characters of a goal or path within another text.
_LINE_CHARS = 300

_ASKED = ("what is claimed?", "what evidence supports or contradicts it?", "what remains open?")


def questions_about(goal: str) -> list[str]:
    """Return the three questions that a goal decomposes into."""
    return [f"{one_line(goal)}: {asked}" for asked in _ASKED]


def one_line(text: str, limit: int = _LINE_CHARS) -> str:
    """Return a text as one printable line of at most `limit` characters."""
    # Cut first: no more than needed of a huge text is looked at.
    line = " ".join(text[: limit * 4].split())
    return _printable(line if len(line) <= limit else f"{line[: limit - 1]}…")


def clipped(text: str, limit: int) -> str:
    """Return a text, cut to `limit` characters with a note if it is longer."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}\n[{len(text) - limit:,} more characters]"


def reason_of(error: object) -> str:
    """Return why an answer failed, from the ``error`` of an ``llm.response``."""
    message = error.get("message") or error.get("type") if isinstance(error, dict) else error
    return one_line(str(message)) or "no reason given"


def sources_text(sources: Sequence[Mapping[str, Any]]) -> str:
    """Return sources as a prompt shows them: numbered, with place and quoted excerpt.

    Args:
        sources: data of Source objects.
    """
    if not sources:
        return "No source was given."
    parts = [
        f"{_place(number, source)}\n{_quoted(source['excerpt'])}"
        for number, source in enumerate(sources, start=1)
    ]
    return "\n\n".join(["Sources:", *parts])


def synthesis_text(
    goal: str,
    answered: Sequence[tuple[str, Mapping[str, Any], Sequence[Mapping[str, Any]]]],
) -> str:
    """Return the synthesis of a goal's findings, in Markdown.

    Answers are quoted, so that nothing in one of them can pass for another finding or its sources.

    Args:
        goal: text of the goal.
        answered: ``(question, finding data, data of its sources)`` of each finding, in order.
    """
    total = len(answered)
    complete = sum(finding["status"] == "completed" for _, finding, _ in answered)
    parts = [f"# {one_line(goal)}", f"{complete} of {total} questions answered."]
    for question, finding, sources in answered:
        parts.append(f"## {one_line(question, 2 * _LINE_CHARS)}")
        if finding["status"] == "completed":
            parts.append(_quoted(finding.get("text", "")))
        else:
            parts.append(f"No answer: {one_line(finding.get('error') or 'no reason given')}")
        if sources:
            listed = [_place(number, source) for number, source in enumerate(sources, start=1)]
            parts.append("\n".join(["Sources:", "", *(f"- {line}" for line in listed)]))
    return "\n\n".join(parts) + "\n"


def _place(number: int, source: Mapping[str, Any]) -> str:
    part = f"part {source['part']}, " if source.get("part") else ""
    place = f"{part}characters {source['start']}-{source['end']}"
    return f"[{number}] {one_line(source['path'])}, {place}"


def _quoted(text: str) -> str:
    lines = (_printable(line.expandtabs(4)) for line in text.splitlines())
    return "\n".join(f"> {line}".rstrip() for line in lines) or ">"


def _printable(line: str) -> str:
    # The two joiners are not printable to Python, but many scripts cannot be written without them.
    return "".join(
        c if c.isprintable() or c in "\u200c\u200d" else " " if c.isspace() else "\ufffd"
        for c in line
    )
