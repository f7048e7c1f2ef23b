"""Compare two worlds: what is in one and not in the other, and what changed."""

from __future__ import annotations

from typing import Any

import attrs

from kando.world.graph import Relation, World, WorldObject

__all__ = ["ObjectChange", "WorldDiff", "diff"]


@attrs.frozen
class ObjectChange:
    """An object that both worlds have, with different content.

    Attributes:
        id: its id in both.
        before: as it is in the first world.
        after: as it is in the second.
    """

    id: str
    before: WorldObject
    after: WorldObject

    @property
    def fields(self) -> dict[str, tuple[Any, Any]]:
        """The fields that differ: value before and after, by name; None where it is missing."""
        old, new = self.before.data, self.after.data
        return {
            name: (old.get(name), new.get(name))
            for name in [*old, *(name for name in new if name not in old)]
            if (name in old) != (name in new) or old.get(name) != new.get(name)
        }


@attrs.frozen
class WorldDiff:
    """How a second world differs from a first. False when it does not.

    Attributes:
        added_objects: only in the second.
        removed_objects: only in the first.
        patched_objects: in both, with different content.
        added_relations: only in the second.
        removed_relations: only in the first; a relation that changed is in both lists.
    """

    added_objects: list[WorldObject] = attrs.field(factory=list)
    removed_objects: list[WorldObject] = attrs.field(factory=list)
    patched_objects: list[ObjectChange] = attrs.field(factory=list)
    added_relations: list[Relation] = attrs.field(factory=list)
    removed_relations: list[Relation] = attrs.field(factory=list)

    def __bool__(self) -> bool:
        return any(attrs.astuple(self, recurse=False))

    def summary(self) -> str:
        """Say it in one line: ``+2 objects, ~1 objects patched``, or ``no changes``."""
        counts = [
            (len(self.added_objects), "+{} objects"),
            (len(self.removed_objects), "-{} objects"),
            (len(self.patched_objects), "~{} objects patched"),
            (len(self.added_relations), "+{} relations"),
            (len(self.removed_relations), "-{} relations"),
        ]
        return ", ".join(text.format(n) for n, text in counts if n) or "no changes"


def diff(a: World, b: World) -> WorldDiff:
    """Compare two worlds by the ids of their objects and relations.

    Args:
        a: the first world, usually the parent's.
        b: the second, usually the branch's.
    """
    return WorldDiff(
        added_objects=[new for id, new in b.objects.items() if id not in a.objects],
        removed_objects=[old for id, old in a.objects.items() if id not in b.objects],
        patched_objects=[
            ObjectChange(id, old, new)
            for id, old in a.objects.items()
            if (new := b.objects.get(id)) is not None and new is not old and new != old
        ],
        added_relations=[r for id, r in b.relations.items() if a.relations.get(id) != r],
        removed_relations=[r for id, r in a.relations.items() if b.relations.get(id) != r],
    )
