"""A JSON Schema as a model is shown it: an outline of the answer on one line, if that says enough.

llama.cpp enforces the schema itself, so a model needs only the names and an example of the form. A small
model copies the words of a schema into its answer, and its prompt gets several times as long.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["outline_of"]

_EXAMPLES = {"string": '"..."', "integer": "1", "number": "1.5", "boolean": "true", "null": "null"}
#: Examples of a text and of a list of texts, and what stands for them where they may be omitted.
_EMPTY = {'"..."': '""', '["..."]': "[]"}
_MAX_DEPTH = 8
# llama.cpp enforces these in every form of a grammar; it may drop a grammar with others without a word.
_KEYWORDS = frozenset(
    [
        "type",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "enum",
        "description",
        "title",
        "minItems",
        "maxItems",
        "minLength",
        "maxLength",
        "minimum",
        "maximum",
    ]
)


def outline_of(schema: Mapping[str, Any]) -> str | None:
    """Return an example of JSON that matches a schema, with ``|`` between the words of a choice.

    Args:
        schema: of an answer.

    Returns:
        The outline; None if it would leave out what the schema says: a description of a value, a
        choice between forms, names that are not fixed, or a rule other than limits of size.
    """
    return _outline(schema, _MAX_DEPTH)


def _outline(schema: Any, depth: int) -> str | None:
    if not isinstance(schema, Mapping) or not depth or not schema.keys() <= _KEYWORDS:
        return None
    kind, values = schema.get("type"), schema.get("enum")
    if isinstance(values, list) and values:
        return "|".join(json.dumps(each, ensure_ascii=False) for each in values)
    if kind == "object":
        return _object(schema, depth)
    if kind == "array":
        item = _outline(schema.get("items"), depth - 1)
        return None if item is None else f"[{item}]"
    if "description" in schema:
        return None
    return _EXAMPLES.get(kind) if isinstance(kind, str) else None


def _object(schema: Mapping[str, Any], depth: int) -> str | None:
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or not properties:
        return None
    if isinstance(schema.get("additionalProperties"), Mapping):
        return None
    parts = []
    for name, each in properties.items():
        part = _outline(each, depth - 1)
        if part is None:
            return None
        # A small model copies an example: what may be omitted is better empty.
        if name not in (schema.get("required") or ()):
            part = _EMPTY.get(part, part)
        parts.append(f"{json.dumps(name, ensure_ascii=False)}: {part}")
    return "{" + ", ".join(parts) + "}"
