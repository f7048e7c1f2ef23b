"""A sample of a JSON Schema: the smallest useful value that matches it, with a text in its strings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["sample_of"]

_FORMATS = {"date": "2000-01-01", "date-time": "2000-01-01T00:00:00Z"}
_MAX_DEPTH = 20


def sample_of(schema: Mapping[str, Any], text: str) -> Any:
    """Return a value that matches a schema of the kind that Kando derives from classes.

    Args:
        schema: JSON Schema with ``type``, ``enum``, ``anyOf``, ``properties``, ``items`` and ``$ref``.
        text: the value of each string, as far as its ``maxLength`` allows.
    """
    return _sample(schema, text, schema.get("$defs") or {}, 0)


def _sample(
    schema: Mapping[str, Any], text: str, known: Mapping[str, Mapping[str, Any]], depth: int
) -> Any:
    if "$ref" in schema:
        schema = known.get(str(schema["$ref"]).rpartition("/")[2], {})
    if schema.get("enum"):
        return schema["enum"][0]
    if schema.get("anyOf"):
        return _sample(schema["anyOf"][0], text, known, depth + 1)
    kind = schema.get("type")
    match kind[0] if isinstance(kind, list) and kind else kind:
        case "object":
            named: Mapping[str, Any] = schema.get("properties") or {}
            wanted = schema.get("required") or ()
            return {n: _sample(named[n], text, known, depth + 1) for n in wanted if n in named}
        case "array":
            # A list of what contains such a list would not end.
            number = max(int(schema.get("minItems", 0)), 1 if depth < _MAX_DEPTH else 0)
            items = schema.get("items") or {}
            return [_sample(items, text, known, depth + 1) for _ in range(number)]
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return False
        case "null":
            return None
        case "string" if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
    return text[: schema.get("maxLength")]
