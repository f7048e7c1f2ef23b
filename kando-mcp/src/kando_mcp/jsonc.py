"""Set a member of a JSON text with comments and trailing commas, and change nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import attrs

__all__ = ["parse", "with_member"]

_STRING = r'"(?:\\.|[^"\\])*"'
_COMMENTS = re.compile(rf"{_STRING}|//[^\n]*|/\*.*?\*/", re.DOTALL)
_COMMAS = re.compile(rf"{_STRING}|,(?=\s*[}}\]])")
_SPACE = re.compile(r"\s*")


@attrs.frozen
class _Member:
    key: str
    start: int
    value_start: int
    end: int


def parse(text: str) -> Any:
    """Parse JSON with comments.

    Raises:
        ValueError: the text is malformed.
    """
    return json.loads(_without_comments(text))


def with_member(text: str, path: Sequence[str], value: object) -> str:
    """Return the text with one member set, and everything else unchanged.

    Args:
        text: a JSON object with comments.
        path: keys from the outermost object inwards; missing objects are created.
        value: JSON-serializable.
    """
    plain = _without_comments(text)
    start = _skip_space(plain, 0)
    for depth, name in enumerate(path):
        members = _members(plain, start)
        found = [member for member in members if member.key == name]
        if not found:
            for missing in reversed(path[depth + 1 :]):
                value = {missing: value}
            return _insert(text, start, members, name, value)
        start = found[-1].value_start
    indent = _indent(text, found[-1].start)
    return text[:start] + _render(value, indent, text) + text[found[-1].end :]


def _without_comments(text: str) -> str:
    """Return JSON of the same length, with blanks for comments and trailing commas."""

    def blank(match: re.Match[str]) -> str:
        found = match[0]
        return found if found.startswith('"') else re.sub(r"[^\r\n]", " ", found)

    # Some editors write a byte order mark.
    text = " " + text[1:] if text.startswith("\ufeff") else text
    return _COMMAS.sub(blank, _COMMENTS.sub(blank, text))


def _members(plain: str, start: int) -> list[_Member]:
    """Return the members of the object that starts at `start`."""
    decoder = json.JSONDecoder()
    found = []
    at = _skip_space(plain, start + 1)
    while plain[at] != "}":
        key, end = decoder.raw_decode(plain, at)
        value_start = _skip_space(plain, _skip_space(plain, end) + 1)
        _, end = decoder.raw_decode(plain, value_start)
        found.append(_Member(key, at, value_start, end))
        at = _skip_space(plain, end)
        if plain[at] == ",":
            at = _skip_space(plain, at + 1)
    return found


def _skip_space(plain: str, at: int) -> int:
    match = _SPACE.match(plain, at)
    return match.end() if match is not None else at


def _insert(text: str, start: int, members: list[_Member], name: str, value: object) -> str:
    if members:
        at, comma, after = members[-1].end, ",", ""
        indent = _indent(text, members[-1].start)
    else:
        outer = _indent(text, start)
        at, comma, after = start + 1, "", _newline(text) + outer
        indent = outer + ("\t" if "\t" in outer else "  ")
        # An empty object may contain blanks and comments.
        after = after if text[at:].lstrip(" \t").startswith("}") else ""
    member = f"{json.dumps(name)}: {_render(value, indent, text)}"
    return f"{text[:at]}{comma}{_newline(text)}{indent}{member}{after}{text[at:]}"


def _indent(text: str, at: int) -> str:
    """Return the indentation of the line that contains `at`."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _render(value: object, indent: str, text: str) -> str:
    step = "\t" if "\t" in indent else 2
    lines = json.dumps(value, indent=step, ensure_ascii=False).split("\n")
    return (_newline(text) + indent).join(lines)
