"""Declared types: the data of objects, and the ends of relations, must match what kits declare."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kando.errors import ConfigurationError, InvalidData
from kando.responders.base import KitTypes
from kando.schema.events import OBJECT_CREATED, RELATION_CREATED, KandoEvent, event_label
from kando.schema.names import nearest
from kando.schema.typed import declared_fields, problems_in, with_defaults
from kando.world.graph import Relation, WorldObject
from kando.world.projection import Change, Lookup

__all__ = ["DeclaredTypes"]

#: How many undeclared names are remembered.
_MAX_ACCEPTED = 1000


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
        # Event types, each with an undeclared name that resembles no declared one: comparing takes time.
        self._accepted: set[tuple[str, str]] = set()
        for kit in {id(kit): kit for kit in kits}.values():
            for name, cls in kit.object_types.items():
                _claim(self._classes, name, cls)
            for name, relation_type in kit.relation_types.items():
                _claim(self._relations, name, relation_type)

    def completed(self, type: str, data: dict[str, Any]) -> dict[str, Any]:
        """Return the data of a new event with the defaults that a declared object lacks.

        Args:
            type: of the event.
            data: of the event, as JSON.

        Returns:
            The same dict if it lacks none.

        Raises:
            InvalidData: no kit declares its object or relation type, but one that differs from it
                by a letter or two.
        """
        name = data.get("type")
        if not isinstance(name, str) or (type, name) in self._accepted:
            return data
        if type == RELATION_CREATED:
            self._require_declared(type, "relation type", name, self._relations)
        if type != OBJECT_CREATED:
            return data
        cls, fields = self._classes.get(name), data.get("data")
        if cls is None:
            self._require_declared(type, "object type", name, self._classes)
            return data
        if fields is None:
            fields = {}
        if not isinstance(fields, dict):
            return data
        filled = with_defaults(fields, cls)
        return data if filled is fields else {**data, "data": filled}

    def _require_declared(self, type: str, what: str, name: str, declared: dict[str, Any]) -> None:
        if name in declared:
            return
        meant = nearest(name, declared)
        if meant is not None:
            msg = f"The kit declares no {what} {name!r}."
            raise InvalidData(msg, hint=f"Write {meant!r}, or declare {name!r}, too.")
        if len(self._accepted) < _MAX_ACCEPTED:
            self._accepted.add((type, name))

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
        problems = problems_in(object.data, cls)
        if problems is not None:
            msg = f"{event_label(event)}: {object.type} {object.id!r}: {problems}."
            raise InvalidData(msg, hint=f"{object.type} declares {declared_fields(cls)}.")

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
