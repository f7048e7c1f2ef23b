"""Objects and typed relations, indexed so that the cost of a query depends only on its result."""

from __future__ import annotations

from typing import Any

import attrs

__all__ = ["Relation", "World", "WorldObject"]


@attrs.frozen
class WorldObject:
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


class World:
    """The projection of a ledger's events up to some position.

    Two worlds are equal if their objects and relations are.

    Attributes:
        objects: by id, in creation order.
        relations: by id, in creation order.
        context: what the runtime provides to responders in addition to the world, such as
            ``cache``; not part of the projection.
    """

    def __init__(self) -> None:
        self.objects: dict[str, WorldObject] = {}
        self.relations: dict[str, Relation] = {}
        self.context: dict[str, Any] = {}
        # Dicts are used as ordered sets.
        self._by_type: dict[str, dict[str, None]] = {}
        self._by_end: dict[str, dict[str, None]] = {}

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
        found = (self.relations[id] for id in self._by_end.get(object_id, ()))
        return [r for r in found if relation_type is None or r.type == relation_type]

    def objects_of(self, type: str) -> list[WorldObject]:
        """Return the objects of a type, in creation order."""
        return [self.objects[id] for id in self._by_type.get(type, ())]

    def count_of(self, type: str) -> int:
        """Return the number of objects of a type."""
        return len(self._by_type.get(type, ()))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, World):
            return NotImplemented
        return self.objects == other.objects and self.relations == other.relations

    __hash__ = None  # type: ignore[assignment] # a world changes as its ledger grows

    def __repr__(self) -> str:
        return f"<World of {len(self.objects)} objects and {len(self.relations)} relations>"

    # The three changes that a projection makes; only the projection changes a world.

    def _put_object(self, new: WorldObject) -> None:
        old = self.objects.get(new.id)
        if old is None or old.type != new.type:
            if old is not None:
                del self._by_type[old.type][old.id]
            self._by_type.setdefault(new.type, {})[new.id] = None
        self.objects[new.id] = new

    def _put_relation(self, new: Relation) -> None:
        self.relations[new.id] = new
        self._by_end.setdefault(new.source_id, {})[new.id] = None
        self._by_end.setdefault(new.target_id, {})[new.id] = None

    def _drop_relation(self, id: str) -> None:
        old = self.relations.pop(id)
        del self._by_end[old.source_id][id]
        # A relation of an object to itself has only one entry.
        self._by_end[old.target_id].pop(id, None)
