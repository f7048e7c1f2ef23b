"""The views that a runtime stores in a snapshot in addition to the world."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from kando.schema.events import RecordedEvent
from kando.schema.firing import Firing
from kando.views.status import StatusFold
from kando.world.graph import World
from kando.world.projection import project
from kando.world.snapshot import WORLD_STATE, StoredSnapshot

# Not at the top: `kando status` and `kando runs` read the status of a snapshot and no other view.
if TYPE_CHECKING:
    from kando.views.answered import AnsweredRequests
    from kando.views.causes import LineageIndex
    from kando.views.metrics import MetricsFold
    from kando.views.object_ids import ObjectIds

__all__ = [
    "ANSWERED_REQUESTS",
    "LINEAGE_INDEX",
    "OBJECT_IDS",
    "RUN_METRICS",
    "RUN_STATUS",
    "Views",
    "answered_of",
    "lineage_of",
    "metrics_fold_of",
    "mismatched_views",
    "object_ids_of",
    "status_fold_of",
]

#: Names of the views in a snapshot. If the fields of one change, so must the format in
#: `kando.world._container`: the state of an earlier version would decode, and be wrong.
LINEAGE_INDEX, RUN_METRICS, RUN_STATUS = "lineage-index", "run-metrics", "run-status"
OBJECT_IDS, ANSWERED_REQUESTS = "object-ids", "answered-requests"

Fold = TypeVar("Fold", "AnsweredRequests", "LineageIndex", "MetricsFold", StatusFold)


def answered_of(stored: StoredSnapshot) -> AnsweredRequests | None:
    """Return the answered requests of a snapshot, or None; damaged ones are ignored with a warning."""
    from kando.views.answered import AnsweredRequests

    return stored.view(ANSWERED_REQUESTS, _whole(AnsweredRequests.from_state, stored))


def lineage_of(stored: StoredSnapshot) -> LineageIndex | None:
    """Return the lineage index of a snapshot, or None; a damaged one is ignored with a warning."""
    from kando.views.causes import LineageIndex

    return stored.view(LINEAGE_INDEX, _whole(LineageIndex.from_state, stored), of_data=False)


def metrics_fold_of(stored: StoredSnapshot) -> MetricsFold | None:
    """Return the metrics of a snapshot, or None; damaged ones are ignored with a warning."""
    from kando.views.metrics import MetricsFold

    return stored.view(RUN_METRICS, _whole(MetricsFold.from_state, stored))


def status_fold_of(stored: StoredSnapshot, *, of_data: bool = True) -> StatusFold | None:
    """Return the status of a snapshot, or None; a damaged one is ignored with a warning.

    Args:
        stored: the snapshot.
        of_data: see `StoredSnapshot.view`.
    """
    return stored.view(RUN_STATUS, _whole(StatusFold.from_state, stored), of_data=of_data)


def object_ids_of(stored: StoredSnapshot) -> ObjectIds | None:
    """Return the object ids of a snapshot, or None; damaged ones are ignored with a warning."""
    from kando.views.object_ids import ObjectIds

    return stored.view(OBJECT_IDS, ObjectIds.from_state)


def _whole(decode: Callable[[bytes], Fold], stored: StoredSnapshot) -> Callable[[bytes], Fold]:
    """Return a decoder that refuses a fold of another length than the snapshot."""

    def decode_whole(state: bytes) -> Fold:
        fold = decode(state)
        if fold.length != stored.position:
            msg = "it has another position"
            raise ValueError(msg)
        return fold

    return decode_whole


def mismatched_views(stored: StoredSnapshot) -> list[str]:
    """Return the names of the views of a snapshot that do not match its ledger."""
    events = list(islice(stored.ledger.read(0), stored.position))
    world, places = project(events), {event.id: event.position for event in events}
    views = Views(places.get)
    views.observe(events)
    states = views.states(world)
    found = [name for name in states if stored.view(name, bytes) not in (None, states[name])]
    stored_world = stored.world()
    return found if stored_world is None or stored_world == world else [WORLD_STATE, *found]


class Views:
    """The views of one ledger, without its world.

    Args:
        position_of: returns the position of an event by its id, or None if it is unknown.

    Attributes:
        answered: the answered requests.
    """

    def __init__(self, position_of: Callable[[str], int | None]) -> None:
        from kando.views.answered import AnsweredRequests
        from kando.views.causes import LineageIndex
        from kando.views.metrics import MetricsFold

        self._position_of = position_of
        self.answered = AnsweredRequests()
        self._lineage, self._metrics, self._status = LineageIndex(), MetricsFold(), StatusFold()

    def restore(self, stored: StoredSnapshot) -> bool:
        """Restore the views of a snapshot; return False if it does not have all of them."""
        lineage, metrics = lineage_of(stored), metrics_fold_of(stored)
        status, answered = status_fold_of(stored), answered_of(stored)
        if lineage is None or metrics is None or status is None or answered is None:
            return False
        if object_ids_of(stored) is None:
            return False
        self._lineage, self._metrics, self._status = lineage, metrics, status
        self.answered = answered
        return True

    @property
    def status(self) -> StatusFold:
        """The fold of the run's status."""
        return self._status

    def observe(self, items: Sequence[RecordedEvent | Firing]) -> None:
        """Update the views with the next events and firings."""
        self._lineage.extend(items, self._position_of)
        for item in items:
            if isinstance(item, Firing):
                self._metrics.observe_firing(item)
                self._status.observe_firing(item)
                self.answered.observe_firing(item)
            else:
                self._metrics.observe(item)
                self._status.observe(item)
                self.answered.observe(item)

    def states(self, world: World) -> dict[str, bytes]:
        """Return the encoded views, by name.

        Args:
            world: after the events observed so far.
        """
        from kando.views.object_ids import ObjectIds

        self._status.count(world)
        return {
            LINEAGE_INDEX: self._lineage.state(),
            RUN_METRICS: self._metrics.state(),
            RUN_STATUS: self._status.state(),
            OBJECT_IDS: ObjectIds.of(world).state(),
            ANSWERED_REQUESTS: self.answered.state(),
        }
