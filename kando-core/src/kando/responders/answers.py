"""The text, or the failure, in an answer of a model or a tool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["failure_of", "text_of"]


_CUT = "[The answer was cut off at its limit of tokens.]"


def failure_of(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the error of a failed or refused answer, else None.

    Args:
        answer: the data of an ``llm.response`` or a ``tool.returned``.

    Returns:
        ``{"type": ..., "message": ...}``; a refusal has type ``Refused`` and quotes the model. An
        answer that a filter of the server ended is ``Filtered``, one that reached its limit of
        tokens before it had any text is ``Truncated``, one whose calls are all malformed is
        ``MalformedCalls``.
    """
    error = answer.get("error")
    if isinstance(error, dict):
        return error
    if error is not None:
        return {"type": "Error", "message": str(error)}
    stop, text = answer.get("stop"), answer.get("text")
    quoted = f": {text}" if text else ""
    if stop == "refusal":
        return {"type": "Refused", "message": f"the model refused{quoted}"}
    if stop == "filtered":
        return {"type": "Filtered", "message": f"a filter of the server ended the answer{quoted}"}
    if stop == "length" and not str(text or "").strip() and "data" not in answer:
        message = "The answer reached its limit of tokens before it had any text: raise max_tokens."
        return {"type": "Truncated", "message": message}
    malformed = answer.get("malformed_calls")
    if malformed and not answer.get("tool_calls"):
        return {"type": "MalformedCalls", "message": str(malformed[0].get("error"))}
    return None


def text_of(answer: Mapping[str, Any]) -> str | None:
    """Return the text of a model's answer; None if it failed or has no text.

    A text that was cut off ends with a note that says so.

    Args:
        answer: the data of an ``llm.response``.
    """
    text = answer.get("text")
    if not isinstance(text, str) or failure_of(answer) is not None:
        return None
    is_cut = answer.get("stop") == "length" and "data" not in answer
    return f"{text.rstrip()}\n\n{_CUT}" if is_cut else text
