"""The parts of two worlds that the tails of their ledgers affect; the rest is not read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from kando.ledger.interface import OBJECT_TYPES, WORLD_TYPES, LedgerStore
from kando.schema.events import OBJECT_CREATED, RELATION_CREATED, KandoEvent, RecordedEvent
from kando.schema.identity import is_derived_id
from kando.world.graph import Relation, World, WorldObject
from kando.world.projection import Change, change_of, commit, project

__all__ = ["affected_worlds"]


def affected_worlds(
    ledger: LedgerStore,
    shared: int,
    tail_a: Sequence[RecordedEvent],
    tail_b: Sequence[RecordedEvent],
    may_hold: Callable[[str], bool] = lambda id: True,
) -> tuple[World, World]:
    """Return the parts of two worlds in which they may differ.

    Args:
        ledger: either of the two ledgers.
        shared: number of events that they share.
        tail_a: the events of the first ledger after the shared ones.
        tail_b: the same of the second ledger.
        may_hold: whether the shared events may contain an object with an id.
    """
    if not shared:
        return project(tail_a), project(tail_b)
    changes = [event for tail in (tail_a, tail_b) for event in tail if event.type in WORLD_TYPES]
    objects = {id for e in changes if e.type in OBJECT_TYPES for id in _named(e)}
    relations = {id for e in changes if e.type not in OBJECT_TYPES for id in _named(e)}
    # An id derived from the lineage key of its event is new, so there is nothing to search for.
    new = {id for event in changes for id in _named(event) if _is_named_by(event, id)}
    known = set(filter(may_hold, objects - new))
    before = list(ledger.events_about(known, relations - new, shared))
    return _projected([*before, *tail_a]), _projected([*before, *tail_b])


def _named(event: RecordedEvent) -> tuple[str, ...]:
    id = event.data.get("id")
    return (id,) if isinstance(id, str) else ()


def _is_named_by(event: RecordedEvent, id: str) -> bool:
    type = event.data.get("type")
    return (
        event.type in (OBJECT_CREATED, RELATION_CREATED)
        and isinstance(type, str)
        and is_derived_id(id, type, event.lineage_key)
    )


def _projected(events: Iterable[KandoEvent]) -> World:
    partial = _PartialWorld()
    for event in events:
        partial.apply(change_of(event, partial))
    return partial.world


class _PartialWorld:
    """A world of which only some objects and relations are loaded.

    The events were checked when they were recorded, so an object that an event refers to and that
    is not loaded exists. That includes objects which are created once more after the event: only
    their last creation is loaded.
    """

    def __init__(self) -> None:
        self.world = World()

    def apply(self, change: Change) -> None:
        commit(self.world, change)

    def get_object(self, id: str) -> WorldObject:
        """Return the object with this id; an empty one if it is not loaded."""
        return self.world.objects.get(id) or WorldObject(id, "", {})

    def get_relation(self, id: str) -> Relation | None:
        """Return the relation with this id, or None."""
        return self.world.relations.get(id)
