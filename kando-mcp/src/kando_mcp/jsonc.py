"""Set a member in JSON as people write it, with comments and commas to spare, and touch nothing else."""

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
    """Return what JSON with comments says.

    Raises:
        ValueError: it is none.
    """
    return json.loads(_plain(text))


def with_member(text: str, path: Sequence[str], value: object) -> str:
    """Return JSON with comments in which one member is set, and everything else is as it was.

    Args:
        text: an object.
        path: names of the member, from the outermost object in; those that are missing are made.
        value: JSON-able.
    """
    plain = _plain(text)
    start = _skipped(plain, 0)
    for depth, name in enumerate(path):
        members = _members(plain, start)
        found = [member for member in members if member.key == name]
        if not found:
            for missing in reversed(path[depth + 1 :]):
                value = {missing: value}
            return _inserted(text, start, members, name, value)
        start = found[-1].value_start
    indent = _indent(text, found[-1].start)
    return text[:start] + _rendered(value, indent, text) + text[found[-1].end :]


def _plain(text: str) -> str:
    """Return JSON of the same length, its comments and commas to spare replaced by blanks."""

    def blank(match: re.Match[str]) -> str:
        found = match[0]
        return found if found.startswith('"') else re.sub(r"[^\r\n]", " ", found)

    # An editor may have put a byte order mark before it.
    text = " " + text[1:] if text.startswith("\ufeff") else text
    return _COMMAS.sub(blank, _COMMENTS.sub(blank, text))


def _members(plain: str, start: int) -> list[_Member]:
    """Return the members of the object that begins at `start`."""
    decoder = json.JSONDecoder()
    found = []
    at = _skipped(plain, start + 1)
    while plain[at] != "}":
        key, end = decoder.raw_decode(plain, at)
        value_start = _skipped(plain, _skipped(plain, end) + 1)
        _, end = decoder.raw_decode(plain, value_start)
        found.append(_Member(key, at, value_start, end))
        at = _skipped(plain, end)
        if plain[at] == ",":
            at = _skipped(plain, at + 1)
    return found


def _skipped(plain: str, at: int) -> int:
    match = _SPACE.match(plain, at)
    return match.end() if match is not None else at


def _inserted(text: str, start: int, members: list[_Member], name: str, value: object) -> str:
    if members:
        at, comma, after = members[-1].end, ",", ""
        indent = _indent(text, members[-1].start)
    else:
        outer = _indent(text, start)
        at, comma, after = start + 1, "", _newline(text) + outer
        indent = outer + ("\t" if "\t" in outer else "  ")
        # What else there is in an empty object is blanks and comments.
        after = after if text[at:].lstrip(" \t").startswith("}") else ""
    member = f"{json.dumps(name)}: {_rendered(value, indent, text)}"
    return f"{text[:at]}{comma}{_newline(text)}{indent}{member}{after}{text[at:]}"


def _indent(text: str, at: int) -> str:
    """Return the blanks that the line begins with in which `at` lies."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _rendered(value: object, indent: str, text: str) -> str:
    step = "\t" if "\t" in indent else 2
    lines = json.dumps(value, indent=step, ensure_ascii=False).split("\n")
    return (_newline(text) + indent).join(lines)
