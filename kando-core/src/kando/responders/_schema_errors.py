"""Validate JSON against a JSON Schema, for the keywords that providers use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["schema_errors"]

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
_MAX_DEPTH = 50


def schema_errors(schema: Mapping[str, Any], value: Any, path: str = "data") -> list[str]:
    """Return the errors that `value` has under `schema`; empty if it is valid.

    Supports ``type``, ``enum``, ``const``, ``anyOf``, ``oneOf``, ``allOf``, ``$ref`` into the
    schema itself, ``properties``, ``required``, ``additionalProperties``, ``items``, and the limits
    of numbers, strings and arrays. Other keywords (JSON Schema 2020-12) are ignored.

    Args:
        schema: a JSON Schema.
        value: JSON.
        path: name of the whole value in the messages.
    """
    return list(_errors(schema, value, path, schema, 0))


def _errors(
    schema: Any, value: Any, path: str, root: Mapping[str, Any], depth: int
) -> Iterator[str]:
    if depth > _MAX_DEPTH:
        yield f"{path} is nested too deeply"
        return
    if not isinstance(schema, Mapping):
        if schema is False:
            yield f"{path} is not allowed"
        return
    if "$ref" in schema:
        yield from _errors(_resolved(schema["$ref"], root), value, path, root, depth + 1)
    expected = schema.get("type")
    if expected is not None:
        names = [expected] if isinstance(expected, str) else list(expected)
        if not any(_is_of(value, name) for name in names):
            yield f"{path} must be {' or '.join(names)}, not {value!r:.60}"
            return
    if "enum" in schema and not any(_same(value, each) for each in schema["enum"]):
        yield f"{path} must be one of {schema['enum']!r:.200}, not {value!r:.60}"
    if "const" in schema and not _same(value, schema["const"]):
        yield f"{path} must be {schema['const']!r:.60}, not {value!r:.60}"
    for choice in ("anyOf", "oneOf"):
        found = [list(_errors(e, value, path, root, depth + 1)) for e in schema.get(choice, ())]
        if found and all(found):
            yield min(found, key=len)[0]
    for each in schema.get("allOf", ()):
        yield from _errors(each, value, path, root, depth + 1)
    if isinstance(value, dict):
        yield from _object_errors(schema, value, path, root, depth)
    elif isinstance(value, list):
        yield from _limits(schema, len(value), "Items", f"{path} has {len(value)} items")
        for index, item in enumerate(value):
            yield from _errors(schema.get("items", True), item, f"{path}[{index}]", root, depth + 1)
    elif isinstance(value, str):
        yield from _limits(schema, len(value), "Length", f"{path} has {len(value)} characters")
    elif _is_of(value, "number"):
        yield from _limits(schema, value, "imum", f"{path} is {value}")


def _object_errors(
    schema: Mapping[str, Any], value: dict[str, Any], path: str, root: Mapping[str, Any], depth: int
) -> Iterator[str]:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path}.{name} is missing"
    for name, item in value.items():
        if name in properties:
            yield from _errors(properties[name], item, f"{path}.{name}", root, depth + 1)
            continue
        others = schema.get("additionalProperties", True)
        if others is False:
            yield f"{path}.{name} is not a property of the schema"
        else:
            yield from _errors(others, item, f"{path}.{name}", root, depth + 1)


def _limits(schema: Mapping[str, Any], size: Any, suffix: str, what: str) -> Iterator[str]:
    least, most = schema.get(f"min{suffix}"), schema.get(f"max{suffix}")
    if least is not None and size < least:
        yield f"{what}, must be at least {least}"
    if most is not None and size > most:
        yield f"{what}, must be at most {most}"


def _is_of(value: Any, name: str) -> bool:
    # A bool is an int to Python, but not to JSON; 1.0 is an integer to JSON Schema.
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(name, object))


def _same(one: Any, other: Any) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _resolved(reference: Any, root: Mapping[str, Any]) -> Any:
    if not isinstance(reference, str) or not reference.startswith("#"):
        return True
    found: Any = root
    for part in reference.removeprefix("#").split("/")[1:]:
        if not isinstance(found, Mapping) or part not in found:
            return True
        found = found[part]
    return found
