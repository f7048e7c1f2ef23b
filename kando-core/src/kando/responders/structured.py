"""Structured output: a JSON Schema derived from a class, and an instance built from an answer."""

from __future__ import annotations

import collections.abc
from datetime import date, datetime
from enum import Enum
from functools import lru_cache
from inspect import isclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin

from kando.errors import ConfigurationError, InvalidData
from kando.schema._keywords import schema_keywords
from kando.schema.strict_json import WrongType, describe_errors, strict_converter, type_name
from kando.schema.typed import field_types, is_declarable, optional_fields

if TYPE_CHECKING:
    # Slow to import, and needed only where an answer is converted.
    import cattrs

__all__ = ["schema_of", "structure"]

_Class = TypeVar("_Class")

_PRIMITIVES: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    NoneType: {"type": "null"},
    None: {"type": "null"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
    Any: {},
    object: {},
}
_TYPE_NAMES: dict[Any, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    NoneType: "null",
}
_LISTS = (list, tuple, set, frozenset, collections.abc.Sequence, collections.abc.Iterable)
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


def schema_of(cls: Any) -> dict[str, Any]:
    """Return the JSON Schema of the data that `structure` accepts for `cls`.

    Objects allow no unknown properties. A field without a default is required. The first line of a
    class's docstring is its description.

    Args:
        cls: an attrs class, a dataclass, a pydantic model, or any type whose values are JSON: ``list[Claim]``, ``str | None``.

    Raises:
        ConfigurationError: a type in it cannot be represented in JSON.
    """
    found: dict[type, dict[str, Any] | None] = {}
    recursive: set[type] = set()
    schema = _schema(cls, found, recursive)
    definitions = {
        each.__name__: found[each] for each in sorted(recursive, key=lambda c: c.__name__)
    }
    return {**schema, "$defs": definitions} if definitions else schema


def structure(cls: type[_Class], data: Any) -> _Class:
    """Return JSON as an instance of `cls`, without coercion and without unknown fields.

    Args:
        cls: any type that `schema_of` accepts.
        data: JSON, such as the ``data`` of an ``llm.response``.

    Raises:
        InvalidData: the data does not match; the message names each invalid field and the reason.
    """
    try:
        return _converter_of(cls).structure(data, cls)
    except (ExceptionGroup, WrongType, ValueError) as error:
        msg = f"The data is not a valid {type_name(cls)}: {describe_errors(error, 'data')}."
    raise InvalidData(msg, hint="schema_of() returns the schema that it must match.")


def _converter_of(kind: Any) -> cattrs.Converter:
    """Return a converter; that of one of the last classes is not made again.

    To make one takes longer than to convert an answer, as it compiles code for the class.
    """
    # Only classes are equal by identity: `A | B` equals `B | A`, but prefers another of them.
    is_class = isclass(kind)
    return _converter_of_class(kind) if is_class else strict_converter()


@lru_cache(maxsize=256)
def _converter_of_class(cls: type) -> cattrs.Converter:
    return strict_converter()


def _schema(
    kind: Any, found: dict[type, dict[str, Any] | None], recursive: set[type]
) -> dict[str, Any]:
    try:
        if kind in _PRIMITIVES:
            return dict(_PRIMITIVES[kind])
    except TypeError:
        pass
    origin, arguments = get_origin(kind), get_args(kind)
    if is_declarable(kind):
        return _class_schema(kind, found, recursive)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _enum_schema([member.value for member in kind])
    if origin is Literal:
        return _enum_schema([e.value if isinstance(e, Enum) else e for e in arguments])
    if origin in (Union, UnionType):
        return {"anyOf": [_schema(each, found, recursive) for each in arguments]}
    if (origin or kind) in _MAPPINGS:
        if not arguments:
            return {"type": "object"}
        if arguments[0] is str:
            return {
                "type": "object",
                "additionalProperties": _schema(arguments[1], found, recursive),
            }
    elif (origin or kind) in _LISTS:
        return _list_schema(origin, arguments, found, recursive)
    msg = f"{type_name(kind)} has no JSON Schema."
    raise ConfigurationError(msg, hint="Use attrs classes, str, int, float, bool, list and dict.")


def _enum_schema(values: list[Any]) -> dict[str, Any]:
    """Return the schema of a choice; with its type, which some servers need to enforce it."""
    names = list(dict.fromkeys(_TYPE_NAMES.get(type(value)) for value in values))
    if None in names or not names:
        return {"enum": values}
    return {"type": names[0] if len(names) == 1 else names, "enum": values}


def _list_schema(
    origin: Any,
    arguments: tuple[Any, ...],
    found: dict[type, dict[str, Any] | None],
    recursive: set[type],
) -> dict[str, Any]:
    if not arguments:
        return {"type": "array"}
    if origin is tuple and not (len(arguments) == 2 and arguments[1] is Ellipsis):
        msg = "A tuple of fixed length has no JSON Schema that all providers support."
        raise ConfigurationError(msg, hint="Use tuple[T, ...], list[T] or an attrs class.")
    return {"type": "array", "items": _schema(arguments[0], found, recursive)}


def _class_schema(
    cls: type, found: dict[type, dict[str, Any] | None], recursive: set[type]
) -> dict[str, Any]:
    if cls in found:
        if found[cls] is None or cls in recursive:
            recursive.add(cls)
            return {"$ref": f"#/$defs/{cls.__name__}"}
        return dict(found[cls] or {})
    found[cls] = None
    types, optional, more = field_types(cls), optional_fields(cls), schema_keywords(cls)
    described = (cls.__doc__ or "").strip().partition("\n")[0]
    # attrs generates a docstring for a class that has none.
    generated = ("Method generated by attrs", f"{cls.__name__}(")
    is_written = described and not described.startswith(generated)
    schema: dict[str, Any] = {
        "type": "object",
        **({"description": described} if is_written else {}),
        "properties": {
            name: {**_schema(each, found, recursive), **more.get(name, {})}
            for name, each in types.items()
        },
        "required": [name for name in types if name not in optional],
        "additionalProperties": False,
    }
    found[cls] = schema
    return {"$ref": f"#/$defs/{cls.__name__}"} if cls in recursive else schema
