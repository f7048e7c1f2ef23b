"""Typed data: JSON as instances of declared classes, instances as JSON, and the defaults of classes.

A class is an attrs class, a dataclass or a pydantic model. pydantic is not imported here: its
models bring what is needed of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from datetime import date
from enum import Enum
from functools import cache, lru_cache, partial
from types import MappingProxyType, NoneType
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args, get_type_hints

import attrs

from kando.errors import ConfigurationError, InvalidData
from kando.schema.exact_json import exact, sorted_encode

if TYPE_CHECKING:
    import cattrs

__all__ = [
    "OMITTED",
    "check_defaults",
    "declared_fields",
    "field_types",
    "fits",
    "instance_of",
    "is_declarable",
    "is_frozen",
    "is_model",
    "optional_fields",
    "problems_in",
    "problems_in_value",
    "to_json",
    "with_defaults",
]

_Class = TypeVar("_Class")

#: Metadata of a field whose default is not recorded: objects lack the field until it is set.
OMITTED: Mapping[str, Any] = MappingProxyType({"kando.omitted": True})

_PLAIN = (str, int, float, bool, NoneType)

#: Methods that may change the fields of an instance after its class has set the defaults.
_AFTER_INIT = ("__attrs_post_init__", "__post_init__")


class _Unordered(list[Any]):
    """The items of a set, whose order in JSON says nothing."""


@attrs.frozen
class _Field:
    """A field of a class.

    Attributes:
        name: as JSON has it.
        has_default: whether it may be left out.
        default: ``default()`` returns the default as JSON; None if it depends on other fields.
        is_omitted: whether objects lack it until it is set.
    """

    name: str
    has_default: bool
    default: Callable[[], Any] | None
    is_omitted: bool = False


@attrs.frozen
class _Plan:
    """How the defaults of a class are filled in.

    Attributes:
        defaults: by name, see `_Field.default`.
        is_nested: whether data inside a field may lack defaults, too.
    """

    defaults: dict[str, Callable[[], Any] | None]
    is_nested: bool


def is_declarable(cls: object) -> bool:
    """Whether a class can be declared: an attrs class, a dataclass or a pydantic model."""
    return isinstance(cls, type) and (
        attrs.has(cls) or dataclasses.is_dataclass(cls) or is_model(cls)
    )


def is_model(cls: object) -> bool:
    """Whether a class is a pydantic model."""
    return isinstance(cls, type) and any(
        each.__name__ == "BaseModel" and each.__module__ == "pydantic.main" for each in cls.__mro__
    )


def is_frozen(instance: Any) -> bool:
    """Whether the fields of an instance of a declared class cannot be set."""
    cls: Any = type(instance)
    name = _first_attribute(cls)
    try:
        if name is not None:
            setattr(instance, name, getattr(instance, name))
    except (AttributeError, TypeError, ValueError):
        return True
    return name is None


@lru_cache(maxsize=4096)
def _first_attribute(cls: Any) -> str | None:
    if is_model(cls):
        return next(iter(cls.model_fields), None)
    fields = attrs.fields(cls) if attrs.has(cls) else dataclasses.fields(cls)
    return fields[0].name if fields else None


def field_types(cls: type) -> dict[str, Any]:
    """Return the types of the fields of a class, by name; as text if they cannot be resolved."""
    if is_model(cls):
        models: Any = cls
        annotations = (each.annotation for each in models.model_fields.values() if not each.exclude)
        return dict(zip((field.name for field in _fields(cls)), annotations, strict=True))
    hints = _hints_of(cls)
    return {field.name: hints.get(field.name, Any) for field in _fields(cls)}


def _hints_of(cls: Any) -> dict[str, Any]:
    try:
        if attrs.has(cls):
            attrs.resolve_types(cls)
        else:
            return get_type_hints(cls)
    except (NameError, TypeError, AttributeError):
        if not attrs.has(cls):
            return {field.name: field.type for field in dataclasses.fields(cls)}
    return {each.name: Any if each.type is None else each.type for each in attrs.fields(cls)}


def optional_fields(cls: type) -> frozenset[str]:
    """Return the names of the fields of a class that have a default."""
    return frozenset(field.name for field in _fields(cls) if field.has_default)


def to_json(value: Any) -> Any:
    """Return an instance of a class, and all that it holds, as JSON.

    A value that has no JSON form is returned unchanged: recording it is refused.
    """
    cls = type(value)
    if cls in _PLAIN:
        return value
    # The usual values first: finding out what a class is takes longer.
    if cls is list:
        return [to_json(each) for each in value]
    if cls is dict:
        return {to_json(name): to_json(each) for name, each in value.items()}
    if isinstance(value, Enum):
        return to_json(value.value)
    if is_model(cls):
        dumped = value.model_dump(mode="json", by_alias=True)
        return {name: each for name, each in dumped.items() if name not in _computed_fields(cls)}
    if attrs.has(cls) or dataclasses.is_dataclass(cls):
        data = {each: to_json(getattr(value, each.name)) for each in _fields(cls)}
        return {each.name: made for each, made in data.items() if not _is_left_out(each, made)}
    if isinstance(value, Mapping):
        return {to_json(name): to_json(each) for name, each in value.items()}
    if isinstance(value, set | frozenset):
        return _Unordered(sorted(map(to_json, value), key=sorted_encode))
    if isinstance(value, list | tuple):
        return [to_json(each) for each in value]
    return value.isoformat() if isinstance(value, date) else value


def _is_left_out(field: _Field, value: Any) -> bool:
    return field.is_omitted and field.default is not None and field.default() == value


def instance_of(cls: type[_Class], data: Mapping[str, Any]) -> _Class:
    """Return JSON as an instance of a class, without coercion and without unknown fields.

    Raises:
        InvalidData: the data does not fit; the message names each invalid field.
    """
    found = _structured(data, cls)
    if isinstance(found, str):
        msg = f"The data is not a valid {cls.__name__}: {found}."
        raise InvalidData(msg, hint=f"{cls.__name__} declares {declared_fields(cls)}.")
    return cast("_Class", found)


def problems_in(data: Mapping[str, Any], cls: type) -> str | None:
    """Return why data does not fit a class, as one line; None if it does."""
    found = _structured(data, cls)
    return found if isinstance(found, str) else None


def problems_in_value(value: Any, kind: Any) -> str | None:
    """Return why a value does not fit a type, as one line; None if it does."""
    # In a list, because a text as the result would not say whether it fits.
    found = _structured([value], list[kind])
    return found if isinstance(found, str) else None


def declared_fields(cls: type) -> str:
    """Return the fields of a class with their types, as one line."""
    from kando.schema.strict_json import type_name

    fields = [f"{name}: {type_name(kind)}" for name, kind in field_types(cls).items()]
    return ", ".join(fields) or "no fields"


def with_defaults(data: dict[str, Any], cls: type) -> dict[str, Any]:
    """Return data of a class with the defaults of the fields that it lacks.

    Args:
        data: JSON.
        cls: a class that `is_declarable`.

    Returns:
        The same dict if it lacks no default, or does not fit the class.
    """
    plan = _plan_of(cls)
    missing = {name: make for name, make in plan.defaults.items() if name not in data}
    if not missing and not plan.is_nested:
        return data
    makers = {name: make for name, make in missing.items() if make is not None}
    if not plan.is_nested and len(makers) == len(missing):
        return {**data, **{name: make() for name, make in makers.items()}}
    whole = _structured(data, cls)
    return data if isinstance(whole, str) else cast("dict[str, Any]", _merged(data, to_json(whole)))


def check_defaults(cls: type) -> None:
    """Check that the defaults of a class can be filled in.

    Raises:
        ConfigurationError: a default does not fit the type of its field, has no JSON form, or
            differs from call to call.
    """
    types = field_types(cls)
    for name, make in _plan_of(cls).defaults.items():
        if make is None:
            continue
        default, of = make(), f"The default of {cls.__name__}.{name}"
        try:
            is_stable = exact(default) == exact(make())
        except InvalidData as error:
            msg = f"{of} has no JSON form: {error.message}"
            raise ConfigurationError(msg, hint=error.hint) from error
        if not is_stable:
            msg = f"{of} differs from call to call, so that no replay can repeat it."
            raise ConfigurationError(msg, hint="Set the field where the object is created.")
        if not fits(default, types.get(name, Any)):
            from kando.schema.strict_json import type_name

            kind = type_name(types[name])
            msg = f"{of} is {default!r:.60}, which is not of type {kind}."
            cure = f"{kind} | None" if default is None else "the type of the default"
            raise ConfigurationError(msg, hint=f"Declare the field as {cure}.")


def fits(value: Any, kind: Any) -> bool:
    """Whether a default may be of a type; only plain values and plain types are judged."""
    if kind in (str, bool):
        return type(value) is kind
    if kind in (int, float):
        return type(value) is int or type(value) is kind
    return value is not None or not isinstance(kind, type) or kind in (object, NoneType)


def _structured(data: Any, cls: Any) -> Any:
    """Return an instance, or why the data does not fit as a text."""
    import cattrs

    from kando.schema.strict_json import WrongType, describe_errors

    try:
        return _converter().structure(data, cls)
    except (cattrs.BaseValidationError, WrongType) as error:
        return describe_errors(error, "data")
    except (ValueError, TypeError, NameError, cattrs.StructureHandlerNotFoundError) as error:
        return str(error) or type(error).__name__


@cache
def _converter() -> cattrs.Converter:
    # Slow to make, and most readers of a run never need it.
    from kando.schema.strict_json import strict_converter

    return strict_converter()


def _computed_fields(cls: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", cls.__pydantic_decorators__.computed_fields)


def _fields(cls: Any) -> list[_Field]:
    """Return the fields of a class that its data holds."""
    if is_model(cls):
        return [
            _Field(field.serialization_alias or field.alias or name, not field.is_required(), None)
            for name, field in cls.model_fields.items()
            if not field.exclude
        ]
    is_changed_later = any(hasattr(cls, name) for name in _AFTER_INIT)
    if attrs.has(cls):
        return [_attrs_field(each, is_changed_later) for each in attrs.fields(cls) if each.init]
    fields = [each for each in dataclasses.fields(cls) if each.init]
    return [_dataclass_field(each, is_changed_later) for each in fields]


def _attrs_field(field: attrs.Attribute[Any], is_changed_later: bool) -> _Field:
    default: Any = field.default
    if default is attrs.NOTHING:
        return _Field(field.name, False, None)
    is_omitted = OMITTED.keys() <= field.metadata.keys()
    is_factory = isinstance(default, attrs.Factory)  # type: ignore[arg-type] # a class at run time
    if is_changed_later or field.converter is not None or (is_factory and default.takes_self):
        return _Field(field.name, True, None, is_omitted)
    make = default.factory if is_factory else lambda: default
    return _Field(field.name, True, _maker(make), is_omitted)


def _dataclass_field(field: dataclasses.Field[Any], is_changed_later: bool) -> _Field:
    default: Any = field.default
    make: Any = field.default_factory
    if default is not dataclasses.MISSING:
        make = lambda: default  # noqa: E731 - a factory, as the other
    if make is dataclasses.MISSING:
        return _Field(field.name, False, None)
    is_omitted = OMITTED.keys() <= field.metadata.keys()
    return _Field(field.name, True, None if is_changed_later else _maker(make), is_omitted)


def _maker(make: Callable[[], Any]) -> Callable[[], Any]:
    if make in (list, tuple, set, frozenset):
        return list
    return dict if make is dict else partial(_made, make)


def _made(make: Callable[[], Any]) -> Any:
    made = to_json(make())
    return [*made] if isinstance(made, _Unordered) else made


@lru_cache(maxsize=4096)
def _plan_of(cls: type) -> _Plan:
    filled = (field for field in _fields(cls) if field.has_default and not field.is_omitted)
    defaults = {field.name: field.default for field in filled}
    return _Plan(defaults, is_model(cls) or _lacks_defaults_inside(cls, set()))


def _lacks_defaults_inside(kind: Any, seen: set[Any]) -> bool:
    """Whether a class that the fields of a class mention has defaults."""
    return any(
        inner not in seen
        and (
            is_model(inner)
            or any(field.has_default for field in _fields(inner))
            or _lacks_defaults_inside(inner, {*seen, inner})
        )
        for each in field_types(kind).values()
        for inner in _classes_in(each)
    )


def _classes_in(kind: Any) -> list[Any]:
    found = [kind] if is_declarable(kind) else []
    return found + [each for argument in get_args(kind) for each in _classes_in(argument)]


def _merged(given: Any, whole: Any) -> Any:
    """Return JSON with what an instance made of it has in addition; the same if it has no more."""
    if isinstance(given, dict) and isinstance(whole, dict):
        merged = {n: _merged(each, whole[n]) if n in whole else each for n, each in given.items()}
        merged |= {name: each for name, each in whole.items() if name not in given}
        is_same = len(merged) == len(given) and all(merged[name] is given[name] for name in given)
        return given if is_same else merged
    if type(given) is list and type(whole) is list and len(given) == len(whole):
        items = [_merged(old, new) for old, new in zip(given, whole, strict=True)]
        is_same = all(new is old for old, new in zip(given, items, strict=True))
        return given if is_same else items
    return given
