"""Compare two worlds: what is in one and not in the other, and what changed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import attrs

from kando.schema.exact_json import sorted_encode
from kando.world.graph import Relation, World, WorldObject

__all__ = ["Change", "Changes", "WorldDiff", "diff"]

_Thing = TypeVar("_Thing", WorldObject, Relation)


@attrs.frozen
class Change(Generic[_Thing]):
    """An object or relation that differs between two worlds.

    Attributes:
        id: its id.
        before: as it is in the first world; None if that lacks it.
        after: as it is in the second; None if that lacks it.
    """

    id: str
    before: _Thing | None
    after: _Thing | None

    @property
    def fields(self) -> dict[str, tuple[Any, Any]]:
        """The fields that differ: value before and after, by name; None where it is missing."""
        old: dict[str, Any] = self.before.data if self.before is not None else {}
        new: dict[str, Any] = self.after.data if self.after is not None else {}
        return {
            name: (old.get(name), new.get(name))
            for name in [*old, *(name for name in new if name not in old)]
            if (name in old) != (name in new)
            or sorted_encode(old.get(name)) != sorted_encode(new.get(name))
        }


class Changes(dict[str, Change[_Thing]]):
    """Changes of objects, or of relations, by id."""

    def before(self, ids: Iterable[str]) -> list[_Thing]:
        """Return the objects or relations with these ids, as in the first world, if it has them."""
        return [thing for id in ids if (thing := self[id].before) is not None]

    def after(self, ids: Iterable[str]) -> list[_Thing]:
        """Return the objects or relations with these ids, as in the second, if it has them."""
        return [thing for id in ids if (thing := self[id].after) is not None]

    def pairs(self, ids: Iterable[tuple[str, str]]) -> list[tuple[_Thing, _Thing]]:
        """Return objects or relations in pairs: as in the first world, and as in the second.

        Args:
            ids: pairs of the id in the first world and the id in the second.
        """
        return [
            (old, new)
            for old_id, new_id in ids
            if (old := self[old_id].before) is not None and (new := self[new_id].after) is not None
        ]


@attrs.frozen
class WorldDiff:
    """How a second world differs from a first. False when it does not.

    The lists hold ids; `objects` and `relations` hold the details.

    Attributes:
        added_objects: only in the second.
        removed_objects: only in the first.
        patched_objects: in both, with different content.
        added_relations: only in the second.
        removed_relations: only in the first; a relation that changed is in both lists.
        moved_objects: of one type and content, under another id: the ids in the first and the
            second.
        moved_relations: the same of relations; their ends may have moved as well.
        objects: every object that is in a list, by id.
        relations: every relation that is in a list, by id.
    """

    added_objects: list[str] = attrs.field(factory=list)
    removed_objects: list[str] = attrs.field(factory=list)
    patched_objects: list[str] = attrs.field(factory=list)
    added_relations: list[str] = attrs.field(factory=list)
    removed_relations: list[str] = attrs.field(factory=list)
    moved_objects: list[tuple[str, str]] = attrs.field(factory=list)
    moved_relations: list[tuple[str, str]] = attrs.field(factory=list)
    objects: Changes[WorldObject] = attrs.field(factory=Changes, repr=False)
    relations: Changes[Relation] = attrs.field(factory=Changes, repr=False)

    def __bool__(self) -> bool:
        return bool(self.objects or self.relations)

    def summary(self) -> str:
        """Return one line: ``+2 objects, ~1 objects patched``, or ``no changes``."""
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
    added = [id for id in b.objects if id not in a.objects]
    removed = [id for id in a.objects if id not in b.objects]
    patched = [
        id
        for id, old in a.objects.items()
        if (new := b.objects.get(id)) is not None and new is not old and not _equal(new, old)
    ]
    formed = [id for id, r in b.relations.items() if not _equal(a.relations.get(id), r)]
    broken = [id for id, r in a.relations.items() if not _equal(b.relations.get(id), r)]
    found = WorldDiff(
        added,
        removed,
        patched,
        formed,
        broken,
        objects=_changes(a.objects, b.objects, [*removed, *patched, *added]),
        relations=_changes(a.relations, b.relations, [*broken, *formed]),
    )
    return _matched_by_content(found) if by_content else found


def _changes(
    before: Mapping[str, _Thing], after: Mapping[str, _Thing], ids: Iterable[str]
) -> Changes[_Thing]:
    return Changes({id: Change(id, before.get(id), after.get(id)) for id in ids})


def _equal(a: WorldObject | Relation | None, b: WorldObject | Relation) -> bool:
    # 1 and 1.0 and true are equal to Python, and are not the same JSON.
    return a == b and (a is b or sorted_encode(a.data) == sorted_encode(b.data))


def _matched_by_content(found: WorldDiff) -> WorldDiff:
    def content(each: WorldObject) -> Hashable:
        return each.type, sorted_encode(each.data)

    # An object without content has nothing to be recognised by.
    old_objects = [each for each in found.objects.before(found.removed_objects) if each.data]
    objects = _pairs(old_objects, found.objects.after(found.added_objects), content, content)
    ids = dict(objects)

    def old_ends(each: Relation) -> Hashable:
        ends = ids.get(each.source_id, each.source_id), ids.get(each.target_id, each.target_id)
        return each.type, ends, sorted_encode(each.data)

    def new_ends(each: Relation) -> Hashable:
        return each.type, (each.source_id, each.target_id), sorted_encode(each.data)

    relations = _pairs(
        found.relations.before(found.removed_relations),
        found.relations.after(found.added_relations),
        old_ends,
        new_ends,
    )
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
) -> list[tuple[str, str]]:
    """Return the ids of things that have equal keys in pairs, first with first."""
    waiting: dict[Hashable, deque[_Thing]] = {}
    for each in new if old else ():
        waiting.setdefault(key_of_new(each), deque()).append(each)
    return [
        (each.id, partners.popleft().id)
        for each in (old if new else ())
        if (partners := waiting.get(key_of_old(each)))
    ]


def _without(ids: list[str], matched: Sequence[str]) -> list[str]:
    left_out = set(matched)
    return [id for id in ids if id not in left_out]
