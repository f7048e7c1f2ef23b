"""Answers that were cut off at their limit of tokens: the part of their JSON that is whole."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

__all__ = ["was_cut", "whole_parts"]

#: How many places are tried at which the JSON may end.
_MAX_ENDS = 50

# A text, which may contain brackets, or a bracket. A text that has no end is the end of the answer.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\Z)|[{}\[\]]', re.DOTALL)
_CLOSING = {"{": "}", "[": "]"}


def was_cut(answer: Mapping[str, Any]) -> bool:
    """Whether an answer is a text that was cut off, so that it does not match its schema.

    Args:
        answer: the data of an ``llm.response``.
    """
    error = answer.get("error")
    is_misfit = isinstance(error, Mapping) and error.get("type") == "Misfit"
    return is_misfit and answer.get("stop") == "length" and isinstance(answer.get("text"), str)


def whole_parts(text: str) -> Iterator[Any]:
    """Yield the values of a JSON text that is cut off, without the item that has no end.

    The first one has as many items as are whole, and each further one has fewer.

    Args:
        text: that begins with JSON.
    """
    start = re.search(r"[{\[]", text)
    ends: list[tuple[int, str]] = []
    opened: list[str] = []
    for token in _TOKEN.finditer(text, start.start() if start else len(text)):
        if token[0] in _CLOSING:
            opened.append(_CLOSING[token[0]])
        elif token[0] in ("}", "]") and opened and token[0] == opened[-1]:
            opened.pop()
        elif token[0] in ("}", "]"):
            break
        else:
            continue
        ends.append((token.end(), "".join(reversed(opened))))
    for end, closing in reversed(ends[-_MAX_ENDS:]):
        try:
            yield msgspec.json.decode(text[start.start() if start else 0 : end] + closing)
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            continue
