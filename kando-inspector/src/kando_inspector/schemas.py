"""JSON Schemas of the bodies of requests and responses, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["SCHEMAS", "schema_of"]


def _object(required: Mapping[str, Any], **optional: Any) -> dict[str, Any]:
    """Return the schema of an object; results may get further fields."""
    properties = {**required, **optional}
    return {"type": "object", "required": [*required], "properties": properties}


_TEXT = {"type": "string"}

SCHEMAS: dict[str, dict[str, Any]] = {
    "Token": _object({"token": {"type": "string", "maxLength": 1000}}),
    "Session": _object(
        {
            "role": {"type": "string", "enum": ["look", "act"]},
            "version": _TEXT,
            "limits": {"type": "object"},
        }
    ),
}


def schema_of(named: str | Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return a schema, or the one of a name."""
    if isinstance(named, str):
        return SCHEMAS[named]
    return named if named is not None else {}
