"""The workload: the data of every object in every benchmark, in each store."""

from __future__ import annotations

from typing import Any

__all__ = ["data_of"]

# With its id, type and hash an event takes about 400 bytes: a short statement and its source.
_TEXT = "The company reports recurring revenue, but its filings name two customers only. " * 2


def data_of(number: int) -> dict[str, Any]:
    """Return the data of the object with this number."""
    return {"number": number, "text": _TEXT}
