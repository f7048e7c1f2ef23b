"""The text in the messages of a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kando_llm.request import read_turns

__all__ = ["excerpt", "last_user_text", "texts_of", "word_count"]

#: Characters of a line in an excerpt.
_MAX_LINE = 100


def texts_of(request: Mapping[str, Any]) -> list[str]:
    """Return the text of each message of a request, in order.

    Args:
        request: the data of an ``llm.request``.

    Raises:
        RequestRejected: the request has no messages, or a malformed one.
    """
    return [text for _, text in _messages(request)]


def last_user_text(request: Mapping[str, Any]) -> str:
    """Return the text of the last message whose role is ``user``; empty if there is none.

    Raises:
        RequestRejected: the request has no messages, or a malformed one.
    """
    return next((text for role, text in reversed(_messages(request)) if role == "user"), "")


def excerpt(request: Mapping[str, Any]) -> str:
    """Return the first and the last non-blank line of a request, of its user messages if it has any.

    Prompts that begin alike mostly end with what tells them apart.

    Raises:
        RequestRejected: the request has no messages, or a malformed one.
    """
    messages = _messages(request)
    # A system message is the same in many requests, so it does not tell them apart.
    asked = [text for role, text in messages if role == "user"] or [text for _, text in messages]
    lines = [line.strip() for text in asked for line in text.splitlines() if line.strip()]
    ends = dict.fromkeys([*lines[:1], *lines[-1:]])
    return " ... ".join(line[:_MAX_LINE] for line in ends)


def word_count(text: str) -> int:
    """Return the number of words in a text; offline providers count them as tokens."""
    return len(text.split())


def _messages(request: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(turn.role, turn.text) for turn in read_turns(request)]
