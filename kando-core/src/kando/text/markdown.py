"""Embed untrusted text in Markdown so that none of it acts as markup."""

from __future__ import annotations

import re

__all__ = ["one_line", "plain"]

# The two joiners do not count as printable in Python, but several scripts need them.
_JOINERS = "\u200c\u200d"

# A citation is not escaped, unless the text after it would make it a link or a link target.
_MARKUP = re.compile(r"(\[\d{1,4}\](?![(\[:]))|[\\`*_~|$#\[\]]")
_LINK = re.compile(r"(?i)(?<=[a-z]):(?=//)|(?<=www)\.|@|(?<=mailto):")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_LINE_START = re.compile(r"^(\d{0,9})([.)+=-])")


def one_line(text: str, limit: int) -> str:
    """Return a text as one line of printable characters, at most `limit` of them.

    Control characters and those that change the direction of text become spaces.
    """
    # Truncate first, so that only the beginning of a huge text is processed.
    shown = "".join(c if c.isprintable() or c in _JOINERS else " " for c in text[: limit * 4])
    line = " ".join(shown.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def plain(text: str, limit: int = 500) -> str:
    """Return a text as one line that Markdown and HTML show verbatim.

    No part of it acts as markup, a tag, an entity or a link; a number in brackets, such as a
    citation, stays readable.

    Args:
        text: of a document, a model or a user; untrusted.
        limit: maximum length, in characters before escaping.
    """
    line = _MARKUP.sub(lambda found: found[1] or f"\\{found[0]}", one_line(text, limit))
    line = _LINK.sub(r"\\\g<0>", line.translate(_ENTITIES))
    return _LINE_START.sub(r"\1\\\2", line)
