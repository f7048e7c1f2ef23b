"""The values that a kit's declarations of types and demos are, and checks of what is declared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import attrs

from kando.errors import ConfigurationError
from kando.schema.typed import OMITTED, is_declarable

__all__ = [
    "OMITTED",
    "RECALL",
    "Demo",
    "RelationType",
    "check_object_type",
    "claim",
    "is_function",
    "recall_settings",
    "type_name",
]


_NAMES_RECALL = "kando.recall"

#: Metadata of a setting that names the recall of a run, ``bm25`` by default: another name is refused
#: unless a plugin offers it. The default is not recorded.
RECALL: Mapping[str, Any] = MappingProxyType({**OMITTED, _NAMES_RECALL: True})


@attrs.frozen
class RelationType:
    """A declared relation type.

    Attributes:
        name: such as ``supports``.
        source: type of its source objects; None for any.
        target: type of its target objects; None for any.
    """

    name: str
    source: str | None = None
    target: str | None = None


@attrs.frozen
class Demo:
    """Documents and recorded answers to try a kit with, without an API key or a network.

    Attributes:
        package: import name of the package that ships them, usually ``__package__``.
        goal: default goal of a run.
        folder: inside the package. All files of its ``documents/`` are input, and its
            ``answers.json`` holds the answers of the model (see `kando.app.kits.demos`).
    """

    package: str
    goal: str
    folder: str = "demo"


def check_object_type(kit: str, cls: type) -> None:
    """Refuse a class whose objects cannot be recorded.

    Args:
        kit: name of the kit that declares it.
        cls: the class.

    Raises:
        ConfigurationError: it is not an attrs class, a dataclass or a pydantic model.
    """
    if not is_declarable(cls):
        named = getattr(cls, "__name__", repr(cls))
        msg = f"Kit {kit!r}: object type {named} is not an attrs class, a dataclass or a pydantic model."
        raise ConfigurationError(msg, hint="Put @attrs.frozen under @kit.object.")


def claim(kit: str, declared: Iterable[str], name: str, kind: str) -> None:
    """Refuse a name that a kit has declared already.

    Args:
        kit: name of the kit.
        declared: names that it has declared.
        name: the further one.
        kind: of the names, such as ``object type``.

    Raises:
        ConfigurationError: the name is one of them.
    """
    if name in declared:
        msg = f"Kit {kit!r} declares {kind} {name!r} twice."
        raise ConfigurationError(msg, hint="Rename one of them.")


def is_function(given: object) -> bool:
    """Whether a decorator without parentheses was given the function that it decorates."""
    return callable(given) and not isinstance(given, type)


def type_name(type: Any) -> str | None:
    """Return the name of a type that is given as a class, by name, or not at all."""
    return type if type is None or isinstance(type, str) else type.__name__


def recall_settings(cls: type) -> list[str]:
    """Return the names of the settings that are declared with `RECALL`."""
    fields = attrs.fields(cls) if attrs.has(cls) else ()
    return [each.name for each in fields if _NAMES_RECALL in each.metadata]
