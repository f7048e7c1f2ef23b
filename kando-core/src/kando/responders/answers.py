"""The text, or the failure, in an answer of a model or a tool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["failure_of", "text_of"]


def failure_of(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the error of a failed or refused answer, else None.

    Args:
        answer: the data of an ``llm.response`` or a ``tool.returned``.

    Returns:
        ``{"type": ..., "message": ...}``; a refusal has type ``Refused`` and quotes the model.
    """
    error = answer.get("error")
    if isinstance(error, dict):
        return error
    if error is not None:
        return {"type": "Error", "message": str(error)}
    if answer.get("stop") == "refusal":
        text = f": {answer['text']}" if answer.get("text") else ""
        return {"type": "Refused", "message": f"the model refused{text}"}
    return None


def text_of(answer: Mapping[str, Any]) -> str | None:
    """Return the text of a model's answer; None if it failed or has no text.

    Args:
        answer: the data of an ``llm.response``.
    """
    text = answer.get("text")
    return text if isinstance(text, str) and failure_of(answer) is None else None
