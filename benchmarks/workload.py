"""The workload: the data of every object in every benchmark, in each store."""

from __future__ import annotations

from hashlib import shake_128
from typing import Any

__all__ = ["answer_of", "data_of", "result_of", "short_data_of"]

# With its id, type and hash an event takes about 400 bytes: a short statement and its source.
_TEXT = "The company reports recurring revenue, but its filings name two customers only. " * 2

#: Bytes of the text in each step of the benchmark `steps`.
TEXT_BYTES = 100


def data_of(number: int) -> dict[str, Any]:
    """Return the data of the object with this number."""
    return {"number": number, "text": _TEXT}


def short_data_of(number: int) -> dict[str, Any]:
    """Return the data of the step with this number, with a text of 100 bytes."""
    return {"number": number, "text": _TEXT[:TEXT_BYTES]}


def result_of(turn: int, size: int) -> str:
    """Return what the tool of a conversation returns in a turn: no two texts have a part in common.

    Args:
        turn: from 1.
        size: bytes of the text.
    """
    return shake_128(str(turn).encode()).hexdigest((size + 1) // 2)[:size]


def answer_of(turn: int) -> dict[str, Any]:
    """Return the model's answer in a turn of a conversation: it calls the tool."""
    call = {"id": f"call-{turn}", "name": "look", "arguments": {"turn": turn}}
    return {"text": "", "tool_calls": [call]}
