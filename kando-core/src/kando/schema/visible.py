"""Escape untrusted text so that a terminal obeys nothing in it."""

from __future__ import annotations

import json
import unicodedata

__all__ = ["clean", "truncate", "visible", "with_length"]

#: Unicode categories of characters that a terminal may obey or that are invisible.
_HIDDEN = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}

#: Joiners, without which several scripts cannot be written.
_JOINERS = "\u200c\u200d"


def visible(c: str) -> str:
    """Return a character, or its escape sequence if a terminal may obey it or it is invisible."""
    if c in _JOINERS or unicodedata.category(c) not in _HIDDEN:
        return c
    return f"\\u{ord(c):04x}" if ord(c) < 0x10000 else json.dumps(c)[1:-1]


def clean(text: str) -> str:
    """Return text from a ledger on one line, with control characters escaped.

    Text of a document or a model must not reach a terminal as an escape sequence.
    """
    return "".join(" " if c in "\n\r\t" else visible(c) for c in text)


def truncate(text: str, width: int) -> str:
    """Return a text as one line of at most `width` characters, with ``...`` where it was cut."""
    line = " ".join(clean(text[: 4 * width]).split())
    return line if len(line) <= width else line[: width - 3].rstrip() + "..."


def with_length(text: str, chars: int) -> str:
    """Return a text, truncated to at most `chars` characters with a note of its full length."""
    if len(text) <= chars:
        return text
    note = f"... ({len(text)} characters)"
    return text[: max(0, chars - len(note))] + note
