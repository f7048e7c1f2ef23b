"""Which JSON Schemas a server can enforce."""

from __future__ import annotations

from typing import Any

__all__ = ["is_strict"]

# https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
_KEYWORDS = frozenset(
    [
        "type",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "enum",
        "const",
        "anyOf",
        "$ref",
        "$defs",
        "title",
        "description",
        "pattern",
        "format",
        "multipleOf",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "minItems",
        "maxItems",
    ]
)
_SHAPES = ("type", "enum", "const", "anyOf", "$ref")


def is_strict(schema: Any) -> bool:
    """Whether OpenAI can enforce a schema, called ``strict``.

    It is an object. In it, every property is required and no others are allowed, every value has a
    type, and no other keywords are used. A schema that is not known to be strict is not.
    """
    is_object = isinstance(schema, dict) and schema.get("type") == "object"
    return is_object and _is_strict(schema)


def _is_strict(schema: Any) -> bool:
    if not isinstance(schema, dict) or not _KEYWORDS.issuperset(schema):
        return False
    if not any(name in schema for name in _SHAPES):
        return False
    properties = schema.get("properties")
    if schema.get("type") == "object" or properties is not None:
        if schema.get("additionalProperties") is not False or not isinstance(properties, dict):
            return False
        if set(schema.get("required", ())) != set(properties):
            return False
    parts = [*(properties or {}).values(), *schema.get("$defs", {}).values()]
    parts += schema.get("anyOf", [])
    if schema.get("type") == "array" or "items" in schema:
        parts.append(schema.get("items"))
    return all(map(_is_strict, parts))
