"""Two worlds as far as two tails touch them: what neither touches is not looked at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kando.ledger.interface import WORLD_TYPES, LedgerStore
from kando.schema.events import KandoEvent, RecordedEvent
from kando.world.graph import Relation, World, WorldObject
from kando.world.projection import Change, change_of, commit, project

__all__ = ["touched_worlds"]


def touched_worlds(
    ledger: LedgerStore,
    shared: int,
    tail_a: Sequence[RecordedEvent],
    tail_b: Sequence[RecordedEvent],
) -> tuple[World, World]:
    """Return the part of two worlds that their ledgers' tails may have made different.

    Args:
        ledger: either of the two.
        shared: how many events they share.
        tail_a: the events of the first after these.
        tail_b: the events of the second.
    """
    if not shared:
        return project(tail_a), project(tail_b)
    named = (e.data.get("id") for tail in (tail_a, tail_b) for e in tail if e.type in WORLD_TYPES)
    ids = {id for id in named if isinstance(id, str)}
    before = list(ledger.touching(ids, shared)) if ids else []
    return _projected([*before, *tail_a], ids), _projected([*before, *tail_b], ids)


def _projected(events: Iterable[KandoEvent], ids: set[str]) -> World:
    partial = _PartialWorld(ids)
    for event in events:
        partial.take(change_of(event, partial))
    return partial.world


class _PartialWorld:
    """A world of which only some objects and relations are known.

    The ledger was checked when it was recorded, so an object that is referred to and not known
    was there.
    """

    def __init__(self, ids: set[str]) -> None:
        self.world = World()
        self._ids = ids

    def take(self, change: Change) -> None:
        commit(self.world, change)

    def get_object(self, id: str) -> WorldObject | None:
        """Return the object with this id, a stand-in if it is not known, or None."""
        known = self.world.objects.get(id)
        return known if known is not None or id in self._ids else WorldObject(id, "", {})

    def get_relation(self, id: str) -> Relation | None:
        """Return the relation with this id, or None."""
        return self.world.relations.get(id)
