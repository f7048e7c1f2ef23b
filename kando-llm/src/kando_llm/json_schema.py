"""Which JSON Schemas a server can enforce, and how they are written for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["is_strict", "typed"]

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
_SHAPES = ("type", "anyOf", "$ref")
_TYPE_NAMES = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
    list: "array",
    dict: "object",
}
# Keywords whose value is a schema, a list of schemas, or schemas by name.
_ONE = ("items", "additionalProperties", "not")
_SEVERAL = ("anyOf", "oneOf", "allOf", "prefixItems")
_NAMED = ("properties", "$defs", "definitions")


def typed(schema: Any) -> Any:
    """Return a schema in which each ``enum`` and ``const`` has its ``type``.

    JSON Schema does not ask for it, and it changes no meaning; but many servers do not enforce a
    choice without it, or refuse the schema.
    """
    if not isinstance(schema, dict):
        return schema
    found = dict(schema)
    for name in _ONE:
        if isinstance(found.get(name), dict):
            found[name] = typed(found[name])
    for name in _SEVERAL:
        if isinstance(found.get(name), list):
            found[name] = [typed(each) for each in found[name]]
    for name in _NAMED:
        if isinstance(found.get(name), Mapping):
            found[name] = {key: typed(each) for key, each in found[name].items()}
    if "type" in found or not ("enum" in found or "const" in found):
        return found
    values = found["enum"] if isinstance(found.get("enum"), list) else [found.get("const")]
    names = list(dict.fromkeys(_TYPE_NAMES[type(value)] for value in values))
    return {"type": names[0] if len(names) == 1 else names, **found} if names else found


def is_strict(schema: Any) -> bool:
    """Whether OpenAI can enforce a schema, called ``strict``.

    It is an object. In it, every property is required and no others are allowed, every value has a
    type, and no other keywords are used. A schema that is not known to be strict is not.

    Args:
        schema: as `typed` returns it.
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
