"""Structure JSON into attrs classes without coercion and without unknown fields."""

from __future__ import annotations

import dataclasses
from datetime import date, datetime
from types import GenericAlias, NoneType, UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

import attrs

if TYPE_CHECKING:
    # Slow to import, and a command that only reads converts no data.
    import cattrs

from kando.schema.exact_json import encode
from kando.schema.typed import is_model

__all__ = ["WrongType", "describe_errors", "strict_converter"]


class WrongType(TypeError):
    """A value has the wrong type; the message says which was expected and which was found."""


def strict_converter() -> cattrs.Converter:
    """Return a converter that coerces no value and refuses unknown fields.

    It raises a `WrongType`, or an ExceptionGroup of problems, for `describe_errors`.
    """
    import cattrs
    from cattrs.cols import (
        is_mapping,
        is_sequence,
        list_structure_factory,
        mapping_structure_factory,
    )
    from cattrs.gen import make_dict_structure_fn

    converter = cattrs.Converter()

    def primitive(allowed: type | tuple[type, ...]) -> Any:
        def structure(value: Any, kind: type) -> Any:
            # A bool is an int to Python, but not to JSON.
            if isinstance(value, allowed) and (kind is bool or not isinstance(value, bool)):
                return value
            raise _wrong(value, kind)

        return structure

    for kind, allowed in ((str, str), (int, int), (bool, bool), (float, (int, float))):
        converter.register_structure_hook(kind, primitive(allowed))

    def only(allowed: type, factory: Any) -> Any:
        # By default cattrs structures a string as a list of its letters.
        def make(cls: Any, converter: cattrs.Converter) -> Any:
            inner = factory(cls, converter)

            def structure(value: Any, kind: Any) -> Any:
                if isinstance(value, allowed):
                    return inner(value, kind)
                raise _wrong(value, kind)

            return structure

        return make

    def of_class(cls: Any, converter: cattrs.Converter) -> Any:
        return make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True)

    converter.register_structure_hook_func(_is_choice, _first_that_fits(converter))
    converter.register_structure_hook_factory(is_sequence, only(list, list_structure_factory))
    converter.register_structure_hook_func(_is_collected, _collected(converter))
    converter.register_structure_hook_factory(is_mapping, only(dict, mapping_structure_factory))
    converter.register_structure_hook_factory(attrs.has, only(dict, of_class))
    converter.register_structure_hook_factory(_is_dataclass, only(dict, of_class))
    converter.register_structure_hook_func(is_model, _model)
    for moment in (datetime, date):
        converter.register_structure_hook(moment, _moment)
    return converter


def describe_errors(error: BaseException, path: str) -> str:
    """Return the problems that a `strict_converter` found, as one line.

    Args:
        error: that it raised: a `cattrs.BaseValidationError`, which is an ExceptionGroup, or a
            `WrongType`.
        path: name of the converted value.
    """
    if isinstance(error, ExceptionGroup):
        import cattrs

        return "; ".join(cattrs.transform_error(error, path, _describe))
    return str(error)


def type_name(kind: Any) -> str:
    """Return the name of a type as it is written in source code."""
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")


def _is_collected(kind: Any) -> bool:
    """Whether a type is a set or a tuple of any length, which are lists in JSON."""
    origin, arguments = get_origin(kind), get_args(kind)
    return origin in (set, frozenset) or (origin is tuple and arguments[1:] == (Ellipsis,))


def _collected(converter: cattrs.Converter) -> Any:
    def structure(value: Any, kind: Any) -> Any:
        if not isinstance(value, list):
            raise _wrong(value, kind)
        items: Any = GenericAlias(list, get_args(kind)[:1])
        origin: Any = get_origin(kind)
        return origin(converter.structure(value, items))

    return structure


def _is_choice(kind: Any) -> bool:
    """Whether a type is a union of at least two types other than None."""
    if get_origin(kind) not in (Union, UnionType):
        return False
    return len([each for each in get_args(kind) if each is not NoneType]) > 1


def _first_that_fits(converter: cattrs.Converter) -> Any:
    def structure(value: Any, kind: Any) -> Any:
        for each in get_args(kind):
            if each is NoneType:
                if value is None:
                    return None
                continue
            try:
                return converter.structure(value, each)
            except (ExceptionGroup, WrongType, ValueError):
                continue
        raise _wrong(value, kind)

    return structure


def _is_dataclass(kind: Any) -> bool:
    return isinstance(kind, type) and dataclasses.is_dataclass(kind)


def _model(value: Any, kind: Any) -> Any:
    """Structure a pydantic model, strictly: as JSON, in which an enum or a date is a text."""
    if not isinstance(value, dict):
        raise _wrong(value, kind)
    known = set(kind.model_fields)
    for field in kind.model_fields.values():
        known |= {each for each in (field.alias, field.validation_alias) if isinstance(each, str)}
    unknown = sorted(repr(name) for name in value if name not in known)
    if unknown and kind.model_config.get("extra") != "allow":
        msg = f"unknown field {', '.join(unknown)}"
        raise WrongType(msg)
    try:
        return kind.model_validate_json(encode(value), strict=True)
    except ValueError as error:
        errors: Any = getattr(error, "errors", None)
        if errors is None:
            raise
        problems = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in errors())
        raise WrongType("; ".join(problems)) from error


def _moment(value: Any, kind: Any) -> Any:
    try:
        return kind.fromisoformat(value)
    except (TypeError, ValueError):
        msg = f"expected {kind.__name__} in ISO 8601, not {value!r:.60}"
        raise WrongType(msg) from None


def _wrong(value: object, kind: Any) -> WrongType:
    return WrongType(f"expected {type_name(kind)}, not {type(value).__name__} {value!r:.60}")


def _describe(error: BaseException, kind: type | None) -> str:
    import cattrs

    if isinstance(error, WrongType):
        return str(error)
    if isinstance(error, KeyError):
        return f"required field {error.args[0]!r} is missing"
    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        return f"unknown field {', '.join(map(repr, sorted(error.extra_fields)))}"
    if kind is not None:
        return f"expected {type_name(kind)}"
    # The validators of attrs put the attribute and the value after their message.
    return error.args[0] if error.args and isinstance(error.args[0], str) else str(error)
