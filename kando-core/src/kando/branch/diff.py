"""Compare two worlds: what is in one and not in the other, and what changed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

import attrs

from kando.schema.exact_json import sorted_encode
from kando.world.graph import Relation, World, WorldObject

__all__ = ["ObjectChange", "WorldDiff", "diff"]

_Thing = TypeVar("_Thing", WorldObject, Relation)


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
            if (name in old) != (name in new)
            or sorted_encode(old.get(name)) != sorted_encode(new.get(name))
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
        moved_objects: of one type and content, under another id: as in the first and the second.
        moved_relations: the same of relations; their ends may have moved as well.
    """

    added_objects: list[WorldObject] = attrs.field(factory=list)
    removed_objects: list[WorldObject] = attrs.field(factory=list)
    patched_objects: list[ObjectChange] = attrs.field(factory=list)
    added_relations: list[Relation] = attrs.field(factory=list)
    removed_relations: list[Relation] = attrs.field(factory=list)
    moved_objects: list[tuple[WorldObject, WorldObject]] = attrs.field(factory=list)
    moved_relations: list[tuple[Relation, Relation]] = attrs.field(factory=list)

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
            (len(self.moved_objects), "{} objects under other ids"),
            (len(self.moved_relations), "{} relations under other ids"),
        ]
        return ", ".join(text.format(n) for n, text in counts if n) or "no changes"


def diff(a: World, b: World, *, by_content: bool = False) -> WorldDiff:
    """Compare two worlds by the ids of their objects and relations.

    Args:
        a: the first world, usually the parent's.
        b: the second, usually the branch's.
        by_content: match what is left over by type and content, as where ids moved.
    """
    found = WorldDiff(
        added_objects=[new for id, new in b.objects.items() if id not in a.objects],
        removed_objects=[old for id, old in a.objects.items() if id not in b.objects],
        patched_objects=[
            ObjectChange(id, old, new)
            for id, old in a.objects.items()
            if (new := b.objects.get(id)) is not None and new is not old and not _equal(new, old)
        ],
        added_relations=[r for id, r in b.relations.items() if not _equal(a.relations.get(id), r)],
        removed_relations=[
            r for id, r in a.relations.items() if not _equal(b.relations.get(id), r)
        ],
    )
    return _matched_by_content(found) if by_content else found


def _equal(a: WorldObject | Relation | None, b: WorldObject | Relation) -> bool:
    # 1 and 1.0 and true are equal to Python, and are not the same JSON.
    return a == b and (a is b or sorted_encode(a.data) == sorted_encode(b.data))


def _matched_by_content(found: WorldDiff) -> WorldDiff:
    def content(each: WorldObject) -> Hashable:
        return each.type, sorted_encode(each.data)

    # An object without content has nothing to be recognised by.
    old_objects = [each for each in found.removed_objects if each.data]
    objects = _pairs(old_objects, found.added_objects, content, content)
    ids = {old.id: new.id for old, new in objects}

    def old_ends(each: Relation) -> Hashable:
        ends = ids.get(each.source_id, each.source_id), ids.get(each.target_id, each.target_id)
        return each.type, ends, sorted_encode(each.data)

    def new_ends(each: Relation) -> Hashable:
        return each.type, (each.source_id, each.target_id), sorted_encode(each.data)

    relations = _pairs(found.removed_relations, found.added_relations, old_ends, new_ends)
    return attrs.evolve(
        found,
        removed_objects=_without(found.removed_objects, [old for old, _ in objects]),
        added_objects=_without(found.added_objects, [new for _, new in objects]),
        removed_relations=_without(found.removed_relations, [old for old, _ in relations]),
        added_relations=_without(found.added_relations, [new for _, new in relations]),
        moved_objects=objects,
        moved_relations=relations,
    )


def _pairs(
    old: Sequence[_Thing],
    new: Sequence[_Thing],
    key_of_old: Callable[[_Thing], Hashable],
    key_of_new: Callable[[_Thing], Hashable],
) -> list[tuple[_Thing, _Thing]]:
    """Return things that have equal keys in pairs, first with first."""
    waiting: dict[Hashable, deque[_Thing]] = {}
    for each in new if old else ():
        waiting.setdefault(key_of_new(each), deque()).append(each)
    return [
        (each, partners.popleft())
        for each in (old if new else ())
        if (partners := waiting.get(key_of_old(each)))
    ]


def _without(things: list[_Thing], matched: Sequence[_Thing]) -> list[_Thing]:
    ids = {each.id for each in matched}
    return [each for each in things if each.id not in ids]
