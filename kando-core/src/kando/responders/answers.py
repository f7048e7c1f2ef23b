"""What an answer of a model or a tool says, and whether it is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["failure_of", "text_of"]


def failure_of(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return why an answer is none: its error, or that the model refused; None if it is one.

    Args:
        answer: the data of an ``llm.response`` or a ``tool.returned``.

    Returns:
        ``{"type": ..., "message": ...}``; of a refusal, type ``Refused`` and the model's words.
    """
    error = answer.get("error")
    if isinstance(error, dict):
        return error
    if error is not None:
        return {"type": "Error", "message": str(error)}
    if answer.get("stop") == "refusal":
        said = f": {answer['text']}" if answer.get("text") else ""
        return {"type": "Refused", "message": f"the model refused{said}"}
    return None


def text_of(answer: Mapping[str, Any]) -> str | None:
    """Return what a model says; None if its answer is a failure, or has no text.

    Args:
        answer: the data of an ``llm.response``.
    """
    text = answer.get("text")
    return text if isinstance(text, str) and failure_of(answer) is None else None
