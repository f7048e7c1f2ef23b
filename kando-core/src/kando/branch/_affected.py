"""The parts of two worlds that the tails of their ledgers affect; the rest is not read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain

from kando.ledger.interface import OBJECT_TYPES, WORLD_TYPES, LedgerStore
from kando.schema.events import OBJECT_CREATED, RELATION_CREATED, KandoEvent, RecordedEvent
from kando.schema.firing import Firing, outputs_of
from kando.schema.identity import is_derived_id
from kando.world.graph import Relation, World, WorldObject
from kando.world.projection import Change, change_of, commit, project

__all__ = ["affected_worlds"]


def affected_worlds(
    ledger: LedgerStore,
    shared: int,
    tail_a: Iterable[RecordedEvent | Firing],
    tail_b: Iterable[RecordedEvent | Firing],
    may_hold: Callable[[str], bool] = lambda id: True,
) -> tuple[World, World]:
    """Return the parts of two worlds in which they may differ.

    Args:
        ledger: either of the two ledgers.
        shared: number of events that they share.
        tail_a: the events and firings of the first ledger after the shared ones.
        tail_b: the same of the second ledger.
        may_hold: whether the shared events may contain an object with an id.
    """
    changes_a, changes_b = _changes_in(tail_a), _changes_in(tail_b)
    if not shared:
        return project(changes_a), project(changes_b)
    objects, relations = _older(chain(changes_a, changes_b))
    before = list(ledger.events_about(set(filter(may_hold, objects)), relations, shared))
    return _projected(chain(before, changes_a)), _projected(chain(before, changes_b))


def _changes_in(tail: Iterable[RecordedEvent | Firing]) -> list[RecordedEvent]:
    # A lifecycle event changes no world.
    return [event for event in outputs_of(tail) if event.type in WORLD_TYPES]


def _older(changes: Iterable[RecordedEvent]) -> tuple[set[str], set[str]]:
    """Return the ids of the objects and of the relations that may be older than the changes."""
    objects: set[str] = set()
    relations: set[str] = set()
    new: set[str] = set()
    for event in changes:
        kind, data = event.type, event.data
        id, type = data.get("id"), data.get("type")
        if not isinstance(id, str):
            continue
        # An id derived from the lineage key of its event is new, so it is not searched for.
        if (
            kind in (OBJECT_CREATED, RELATION_CREATED)
            and isinstance(type, str)
            and is_derived_id(id, type, event.lineage_key)
        ):
            new.add(id)
        elif kind in OBJECT_TYPES:
            objects.add(id)
        else:
            relations.add(id)
    return objects - new, relations - new


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
