"""A world with changes that are checked but not recorded yet."""

from __future__ import annotations

from kando.world.graph import Relation, World, WorldObject
from kando.world.projection import Change

__all__ = ["StagedWorld"]


class StagedWorld:
    """A world as it will be once a batch is recorded; the underlying world does not change."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._objects: dict[str, WorldObject] = {}
        self._relations: dict[str, Relation | None] = {}

    def get_object(self, id: str) -> WorldObject | None:
        """Return the object with this id, or None."""
        return self._objects.get(id) or self.world.objects.get(id)

    def get_relation(self, id: str) -> Relation | None:
        """Return the relation with this id, or None."""
        return self._relations[id] if id in self._relations else self.world.relations.get(id)

    def stage(self, change: Change) -> None:
        """Include a change in later look-ups."""
        if isinstance(change, WorldObject):
            self._objects[change.id] = change
        elif isinstance(change, Relation):
            self._relations[change.id] = change
        elif isinstance(change, str):
            self._relations[change] = None
