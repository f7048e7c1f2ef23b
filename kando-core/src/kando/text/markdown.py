"""Put foreign text into Markdown: it is read, and does nothing."""

from __future__ import annotations

import re

__all__ = ["one_line", "plain"]

# The two joiners are not printable to Python, but many scripts cannot be written without them.
_JOINERS = "\u200c\u200d"

# A citation stays as it is, unless what follows would make it a link or the target of one.
_MARKUP = re.compile(r"(\[\d{1,4}\](?![(\[:]))|[\\`*_~|$#\[\]]")
_LINK = re.compile(r"(?i)(?<=[a-z]):(?=//)|(?<=www)\.|@|(?<=mailto):")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_LINE_START = re.compile(r"^(\d{0,9})([.)+=-])")


def one_line(text: str, limit: int) -> str:
    """Return a text as one line of printable characters, at most `limit` of them.

    Control characters and those that change the direction of text become spaces.
    """
    # Cut first: no more than needed of a huge text is looked at.
    shown = "".join(c if c.isprintable() or c in _JOINERS else " " for c in text[: limit * 4])
    line = " ".join(shown.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def plain(text: str, limit: int = 500) -> str:
    """Return a text as one line that Markdown and HTML show as it is.

    Nothing in it is markup, a tag, an entity or a link, whoever wrote it; a number in brackets,
    such as a citation, stays readable.

    Args:
        text: of a document, a model or a user.
        limit: of its length, in characters before anything is escaped.
    """
    line = _MARKUP.sub(lambda found: found[1] or f"\\{found[0]}", one_line(text, limit))
    line = _LINK.sub(r"\\\g<0>", line.translate(_ENTITIES))
    return _LINE_START.sub(r"\1\\\2", line)
