"""Declared types: the data of objects, and the ends of relations, must match what kits declare."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import attrs
import cattrs

from kando.errors import ConfigurationError, InvalidData
from kando.responders.base import KitTypes
from kando.schema.events import KandoEvent, event_label
from kando.schema.strict_json import WrongType, describe_errors, strict_converter, type_name
from kando.world.graph import Relation, WorldObject
from kando.world.projection import Change, Lookup

__all__ = ["DeclaredTypes"]


class DeclaredTypes:
    """The object and relation types that kits declare.

    Args:
        kits: duplicates are ignored.

    Raises:
        ConfigurationError: two kits declare the same type differently.
    """

    def __init__(self, kits: Iterable[KitTypes]) -> None:
        self._classes: dict[str, type] = {}
        self._relations: dict[str, Any] = {}
        for kit in {id(kit): kit for kit in kits}.values():
            for name, cls in kit.object_types.items():
                _claim(self._classes, name, cls)
            for name, relation_type in kit.relation_types.items():
                _claim(self._relations, name, relation_type)

    @cached_property
    def _converter(self) -> cattrs.Converter:
        # Slow to make, and most readers of a run never need it.
        return strict_converter()

    def check(self, event: KandoEvent, change: Change, world: Lookup) -> None:
        """Check a change against its declared type.

        Raises:
            InvalidData: it does not match; the message names object, field and expected type.
        """
        if isinstance(change, WorldObject):
            cls = self._classes.get(change.type)
            if cls is not None:
                self._check_object(event, change, cls)
        elif isinstance(change, Relation) and change.type in self._relations:
            self._check_ends(event, change, world)

    def _check_object(self, event: KandoEvent, object: WorldObject, cls: type) -> None:
        try:
            self._converter.structure(object.data, cls)
        except (cattrs.BaseValidationError, WrongType) as error:
            problems = describe_errors(error, "data")
        else:
            return
        msg = f"{event_label(event)}: {object.type} {object.id!r}: {problems}."
        declared = ", ".join(
            f"{field.name}: {type_name(field.type)}" for field in attrs.fields(cls)
        )
        raise InvalidData(msg, hint=f"{object.type} declares {declared or 'no fields'}.")

    def _check_ends(self, event: KandoEvent, relation: Relation, world: Lookup) -> None:
        declared = self._relations[relation.type]
        for end, id, expected in (
            ("source", relation.source_id, declared.source),
            ("target", relation.target_id, declared.target),
        ):
            found = world.get_object(id)
            if expected is not None and found is not None and found.type != expected:
                msg = (
                    f"{event_label(event)}: relation {relation.type!r} has {found.type} "
                    f"{id!r} as its {end}, not {expected}."
                )
                raise InvalidData(
                    msg,
                    hint=f"{relation.type!r} relates {declared.source or 'any object'} to "
                    f"{declared.target or 'any object'}.",
                )


def _claim(declared: dict[str, Any], name: str, what: Any) -> None:
    if declared.setdefault(name, what) != what:
        msg = f"Two kits of one runtime declare the type {name!r} differently."
        raise ConfigurationError(msg, hint="Use them in separate runs, or rename one type.")
