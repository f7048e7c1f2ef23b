"""Objects and typed relations, indexed so that the cost of a query depends only on its result."""

# long: objects, relations and the world that indexes them; half of it is reference.

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Self, TypeVar, overload

import attrs
import msgspec

from kando.errors import InvalidData
from kando.schema.typed import field_types, instance_of, is_frozen, to_json

__all__ = ["Relation", "World", "WorldObject"]

_Thing = TypeVar("_Thing")
_Class = TypeVar("_Class")


class _Fields:
    """The fields of an object while they are mutable; see `kando.schema.events`."""

    __slots__ = ("__weakref__", "changed_by", "data", "event_id", "id", "type")


@attrs.frozen
class WorldObject(_Fields):
    """An object of the world.

    Attributes:
        id: unique among the objects.
        type: such as ``Company``.
        data: JSON object. Responders read it and must not mutate it.
        event_id: id of the event that created it; ignored in comparisons.
        changed_by: id of the event that last created or patched it; ignored in comparisons.
    """

    id: str
    type: str
    data: dict[str, Any]
    event_id: str = attrs.field(default="", eq=False)
    changed_by: str = attrs.field(default="", eq=False)


def make_object(
    id: str, type: str, data: dict[str, Any], event_id: str, changed_by: str
) -> WorldObject:
    """Make a `WorldObject` faster than its class does; the arguments are its attributes."""
    fields: Any = _Fields()
    fields.id = id
    fields.type = type
    fields.data = data
    fields.event_id = event_id
    fields.changed_by = changed_by
    fields.__class__ = WorldObject
    made: WorldObject = fields
    return made


_data_slot = _Fields.__dict__["data"]
_decode_data = msgspec.json.Decoder(dict[str, Any]).decode


class _Undecoded(WorldObject):
    """An object of a snapshot until its data is first read; from then on it is a `WorldObject`."""

    __slots__ = ()

    @property
    def data(self) -> dict[str, Any]:
        """The data, which is decoded now."""
        data = _decode_data(_data_slot.__get__(self))
        _data_slot.__set__(self, data)
        # Python allows the change of class because both classes have the same layout.
        object.__setattr__(self, "__class__", WorldObject)
        return data

    def _decoded(self) -> WorldObject:
        _ = self.data
        return self

    def __eq__(self, other: object) -> bool:
        return self._decoded() == other

    __hash__ = WorldObject.__hash__

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._decoded().__reduce_ex__(protocol)


def undecoded_objects(
    rows: Iterable[tuple[str, str, msgspec.Raw, str, str]],
) -> Iterator[WorldObject]:
    """Yield the objects of a snapshot; the data of each is decoded when it is first read.

    Args:
        rows: their fields; data is an encoded JSON object.
    """
    types: dict[str, str] = {}
    for id, type, data, event_id, changed_by in rows:
        fields: Any = _Fields()
        fields.id = id
        # Equal texts are shared: most objects are of few types, and were not changed.
        fields.type = types.setdefault(type, type)
        fields.data = data
        fields.event_id = event_id
        fields.changed_by = event_id if changed_by == event_id else changed_by
        fields.__class__ = _Undecoded
        yield fields


def stored_data(thing: WorldObject) -> Any:
    """Return the data of an object for a snapshot: encoded if it was not read since the last one."""
    return _data_slot.__get__(thing)


@attrs.frozen
class Relation:
    """A typed, directed connection between two objects.

    Attributes:
        id: unique among the relations.
        type: such as ``contradicts``.
        source_id: id of the object that it leads from.
        target_id: id of the object that it leads to.
        data: JSON object.
        event_id: id of the event that created it; ignored in comparisons.
    """

    id: str
    type: str
    source_id: str
    target_id: str
    data: dict[str, Any] = attrs.field(factory=dict)
    event_id: str = attrs.field(default="", eq=False)


@attrs.frozen
class SettingsChange:
    """The settings and the tool servers of a kit, which replace those before.

    Attributes:
        data: the settings by name, as JSON.
        tool_servers: what each server offers, by its name.
    """

    data: dict[str, Any]
    tool_servers: dict[str, Any] = attrs.field(factory=dict)


class _Indexed(dict[str, _Thing]):
    """A dict with an index. Every change goes through `__setitem__` and `__delitem__`."""

    __slots__ = ("index",)

    def __init__(self) -> None:
        # Ids by what they are found under; the inner dicts are ordered sets.
        self.index: dict[str, dict[str, None]] = {}

    def pop(self, id: str, /, *default: Any) -> Any:
        if default and id not in self:
            return default[0]
        found = self[id]
        del self[id]
        return found

    def popitem(self) -> tuple[str, _Thing]:
        id = next(reversed(self), "")
        return id, self.pop(id)

    def clear(self) -> None:
        for id in [*self]:
            del self[id]

    def setdefault(self, id: str, default: Any = None, /) -> Any:
        if id not in self:
            self[id] = default
        return self[id]

    def update(self, *others: Any, **named: Any) -> None:
        for id, each in dict(*others, **named).items():
            self[id] = each

    def __ior__(self, other: Any) -> Self:  # type: ignore[override,misc]
        self.update(other)
        return self

    def __reduce__(self) -> tuple[type[Self], tuple[()], None, None, Iterator[Any]]:
        # A copy builds its own index.
        return type(self), (), None, None, iter(self.items())


class _Objects(_Indexed[WorldObject]):
    """Objects by id, and their ids by type."""

    __slots__ = ("former_types",)

    def __init__(self) -> None:
        super().__init__()
        #: By id of an object that another type replaced: the event of each replacement, and the type
        #: before it.
        self.former_types: dict[str, list[tuple[str, str]]] = {}

    def put(self, id: str, new: WorldObject) -> None:
        """Do what `__setitem__` does, in less time: every event of a ledger passes here."""
        old = self.get(id)
        if old is None or old.type != new.type:
            if old is not None:
                del self.index[old.type][id]
                self.former_types.setdefault(id, []).append((new.event_id, old.type))
            self.index.setdefault(new.type, {})[id] = None
        _set(self, id, new)

    __setitem__ = put

    def load(self, objects: Iterable[WorldObject]) -> None:
        """Put objects with different ids into an empty world, in less time."""
        index = self.index
        for each in objects:
            id = each.id
            of_type = index.get(each.type)
            if of_type is None:
                of_type = index[each.type] = {}
            of_type[id] = None
            _set(self, id, each)

    def __delitem__(self, id: str) -> None:
        del self.index[self[id].type][id]
        super().__delitem__(id)


class _Relations(_Indexed[Relation]):
    """Relations by id, and their ids by the objects at their ends."""

    __slots__ = ()

    def put(self, id: str, new: Relation) -> None:
        """Do what `__setitem__` does, in less time."""
        if id in self:
            self._forget(id)
        _set(self, id, new)
        self.index.setdefault(new.source_id, {})[id] = None
        self.index.setdefault(new.target_id, {})[id] = None

    __setitem__ = put

    def __delitem__(self, id: str) -> None:
        self._forget(id)
        super().__delitem__(id)

    def _forget(self, id: str) -> None:
        old = self[id]
        del self.index[old.source_id][id]
        # A relation of an object to itself has only one entry.
        self.index[old.target_id].pop(id, None)


# Faster than super().__setitem__.
_set = dict.__setitem__


class World:
    """The projection of a ledger's events up to some position.

    Two worlds are equal if their objects and relations are. Code may also add objects and
    relations to a world of its own; a run's world is changed only by its events.

    Attributes:
        objects: a dict by id, in creation order.
        relations: a dict by id, in creation order.
        kit_settings: the settings of the kit, as the last ``kit.loaded`` has them.
        tool_servers: the tools of servers, as the last ``kit.loaded`` has them.
        context: what the runtime provides to responders in addition to the world, such as
            ``cache``; not part of the projection.
    """

    def __init__(self) -> None:
        self.objects = _Objects()
        self.relations = _Relations()
        self.kit_settings: dict[str, Any] = {}
        self.tool_servers: dict[str, Any] = {}
        self.context: dict[str, Any] = {}
        # By id: the object that an instance was made of, and the instance.
        self._instances: dict[str, tuple[WorldObject, Any]] = {}
        self._settings: tuple[dict[str, Any] | None, Any] = (None, None)

    def get_object(self, id: str) -> WorldObject | None:
        """Return the object with this id, or None."""
        return self.objects.get(id)

    def get_relation(self, id: str) -> Relation | None:
        """Return the relation with this id, or None."""
        return self.relations.get(id)

    def get_relations(self, object_id: str, relation_type: str | None = None) -> list[Relation]:
        """Return the relations into or out of an object, in creation order.

        Args:
            object_id: source or target of the relations.
            relation_type: only relations of this type.
        """
        found = (self.relations[id] for id in self.relations.index.get(object_id, ()))
        return [r for r in found if relation_type is None or r.type == relation_type]

    def objects_of(self, type: str) -> list[WorldObject]:
        """Return the objects of a type, in creation order."""
        return [self.objects[id] for id in self.objects.index.get(type, ())]

    def settings(self, cls: type[_Class]) -> _Class:
        """Return the settings of the run.

        Args:
            cls: the class that the kit declares with ``@kit.settings``.

        Raises:
            InvalidData: a setting without a default has no value, or a value does not fit the class.
        """
        made_of, instance = self._settings
        if made_of is self.kit_settings and isinstance(instance, cls):
            return instance
        known = {
            name: self.kit_settings[name] for name in field_types(cls) if name in self.kit_settings
        }
        try:
            instance = instance_of(cls, known)
        except InvalidData as error:
            msg = f"The settings of the run do not fit: {error.message}"
            hint = f"{error.hint} Set them when the run is started or forked."
            raise InvalidData(msg, hint=hint) from error
        if is_frozen(instance):
            self._settings = self.kit_settings, instance
        return instance

    def get(self, cls: type[_Class], id: str) -> _Class | None:
        """Return an object as an instance of its class.

        Args:
            cls: the declared class; its name is the type of the object.
            id: of the object.

        Returns:
            None if no object has this id, or if it has another type.

        Raises:
            InvalidData: the data does not fit the class, for example because an older version of the
                kit recorded it.
        """
        found = self.objects.get(id)
        if found is None or found.type != cls.__name__:
            return None
        return self._as_instance(cls, found)

    def all(self, cls: type[_Class]) -> list[_Class]:
        """Return the objects of a class as instances of it, in creation order (see `ids`).

        Raises:
            InvalidData: as for `get`.
        """
        return [self._as_instance(cls, each) for each in self.objects_of(cls.__name__)]

    def ids(self, type: str | type) -> list[str]:
        """Return the ids of the objects of a type or class, in creation order."""
        name = type if isinstance(type, str) else type.__name__
        return [*self.objects.index.get(name, ())]

    @overload
    def targets(self, id: str, relation_type: str | None = None) -> list[WorldObject]: ...

    @overload
    def targets(self, id: str, relation_type: str | None, cls: type[_Class]) -> list[_Class]: ...

    def targets(self, id: str, relation_type: str | None = None, cls: Any = None) -> list[Any]:
        """Return the objects that the relations of an object lead to, in order of the relations.

        Args:
            id: of the source.
            relation_type: only along relations of this type.
            cls: only the objects of this class, as its instances.

        Raises:
            InvalidData: as for `get`.
        """
        relations = self.get_relations(id, relation_type)
        return self._ends(cls, (each.target_id for each in relations if each.source_id == id))

    @overload
    def sources(self, id: str, relation_type: str | None = None) -> list[WorldObject]: ...

    @overload
    def sources(self, id: str, relation_type: str | None, cls: type[_Class]) -> list[_Class]: ...

    def sources(self, id: str, relation_type: str | None = None, cls: Any = None) -> list[Any]:
        """Return the objects whose relations lead to an object, in order of the relations.

        Args:
            id: of the target.
            relation_type: only along relations of this type.
            cls: only the objects of this class, as its instances.

        Raises:
            InvalidData: as for `get`.
        """
        relations = self.get_relations(id, relation_type)
        return self._ends(cls, (each.source_id for each in relations if each.target_id == id))

    def _ends(self, cls: Any, ids: Iterator[str]) -> list[Any]:
        found = [self.objects[id] for id in dict.fromkeys(ids)]
        if cls is None:
            return found
        return [self._as_instance(cls, each) for each in found if each.type == cls.__name__]

    def _as_instance(self, cls: type[_Class], object: WorldObject) -> _Class:
        made_of, instance = self._instances.get(object.id, (None, None))
        if made_of is object and isinstance(instance, cls):
            return instance
        try:
            instance = instance_of(cls, object.data)
        except InvalidData as error:
            msg = f"{object.type} {object.id!r}: {error.message}"
            cure = (
                "Add an upcaster to the kit, or a default to the class, if an older version of it"
            )
            raise InvalidData(msg, hint=f"{error.hint} {cure} recorded the object.") from error
        # Otherwise a responder that sets a field would change what the others see.
        if is_frozen(instance):
            self._instances[object.id] = object, instance
        return instance

    def changed_instances(self) -> list[str]:
        """Return the ids of objects whose instances a responder has changed, which it must not do."""
        return [
            id
            for id, (made_of, instance) in self._instances.items()
            if to_json(instance) != to_json(instance_of(type(instance), made_of.data))
        ]

    def count_of(self, type: str) -> int:
        """Return the number of objects of a type."""
        return len(self.objects.index.get(type, ()))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, World):
            return NotImplemented
        return self.objects == other.objects and self.relations == other.relations

    __hash__ = None  # type: ignore[assignment] # a world changes as its ledger grows

    def __repr__(self) -> str:
        return f"<World of {len(self.objects)} objects and {len(self.relations)} relations>"
