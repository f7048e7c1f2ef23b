"""Which firings of an event are still to come, when a kit may have changed since the others.

The completed firings are a set, not a place in today's list of responders: the ledger names the responders
that have handled an event, and those that handled it silently. ``kando-core`` runs also know in which
order the responders fired then: a ``kit.loaded`` lists them. So a responder may be added, removed,
moved, or renamed (`Responder.was`) between a crash and the resume, and none fires twice or is skipped:

- In the order of the kit that fired it, everything before a responder that is known to be done is done too:
  those fired silently, or did not handle the event.
- A responder that the kit did not have then is new. It handles events after the ``kit.loaded`` that
  brought it.
- Without such a list, only the named responders are done.
- A firing that a person parked is stepped over, wherever the run is: it alone, no other responder.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from typing import Any, Protocol, TypeVar

import attrs

from kando.schema.events import PARKED, RESPONDER_FAILED, KandoEvent

__all__ = [
    "FIRING_ORDER",
    "FiringOrders",
    "is_failed_attempt",
    "parked_by_person",
    "remaining",
]

#: Field of a ``kit.loaded``: names of the kit's responders, in firing order.
FIRING_ORDER = "responders"


class _Named(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def was(self) -> tuple[str, ...]: ...

    @property
    def kit(self) -> Any: ...


Handler = TypeVar("Handler", bound=_Named)


@attrs.frozen
class _Order:
    since: int
    kit: str
    places: dict[str, int]


@attrs.define
class FiringOrders:
    """The firing orders of the kits that worked on a run, in turn."""

    _orders: list[_Order | None] = attrs.field(factory=list)
    _since: list[int] = attrs.field(factory=list)

    def observe(self, position: int, loaded: Mapping[str, Any]) -> None:
        """Process a ``kit.loaded``.

        Args:
            position: of the event.
            loaded: its data.
        """
        names = loaded.get(FIRING_ORDER)
        order = None
        if isinstance(names, list):
            places = {str(name): place for place, name in enumerate(names)}
            order = _Order(position, str(loaded.get("name")), places)
        self._orders.append(order)
        self._since.append(position)

    @property
    def positions(self) -> list[int]:
        """The position of each ``kit.loaded`` so far."""
        return [*self._since]

    def is_latest(self, position: int) -> bool:
        """Whether the kit that works on the run now is the one that recorded an event."""
        return len(self._since) < 2 or position >= self._since[-1]

    def at(self, position: int) -> _Order | None:
        """Return the order in which responders handled an event at first; None if unknown."""
        for since, order in zip(reversed(self._since), reversed(self._orders), strict=True):
            if since <= position:
                return order
        return None

    def passed(self, done: Mapping[str, int]) -> set[str]:
        """Return the responders that come before a done one, in the order in which that one fired.

        Args:
            done: by name of a responder, the position at which the ledger shows that it is done.
        """
        last: dict[int, tuple[_Order, int]] = {}
        for name, position in done.items():
            order = self.at(position)
            if order is not None and name in order.places:
                _, place = last.get(order.since, (order, -1))
                last[order.since] = order, max(place, order.places[name])
        return {
            name
            for order, latest in last.values()
            for name, place in order.places.items()
            if place <= latest
        }

    def is_new(self, handler: _Named, position: int) -> bool:
        """Whether a kit did not have this responder when it first handled the event at a position.

        Args:
            handler: a responder of today's kit.
            position: of the event.
        """
        order = self.at(position)
        if order is None or handler.kit is None or handler.kit.name != order.kit:
            return False
        return not any(name in order.places for name in (handler.name, *handler.was))


def remaining(
    handlers: Sequence[Handler],
    position: int,
    done: Mapping[str, int],
    failed: Collection[str],
    orders: FiringOrders,
    parked: Set[str] = frozenset(),
) -> Sequence[Handler]:
    """Return the handlers of an event that have not handled it, in firing order.

    Args:
        handlers: of the event's type, in today's firing order.
        position: of the event.
        done: the responders that are known to have handled it: by name, the position at which the
            ledger shows it, which says in which order they fired.
        failed: names of those that failed and are to be repeated.
        orders: of the kits that worked on the run.
        parked: names of those that a person had the run step over.
    """
    if parked:
        handlers = [each for each in handlers if not parked & {each.name, *each.was}]
    if not done and orders.is_latest(position):
        return handlers
    passed = orders.passed(done)
    found = []
    for handler in handlers:
        names = (handler.name, *handler.was)
        is_new = orders.is_new(handler, position)
        is_done = any(name in done or name in passed for name in names)
        if any(name in failed for name in names) or not (is_new or is_done):
            found.append(handler)
    return found


def parked_by_person(failed: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the trigger and the responder of a firing that a person parked, else None.

    Args:
        failed: data of a ``responder.failed``.
    """
    if failed.get("outcome") == PARKED and failed.get("in_turn") is False:
        trigger, responder = failed.get("trigger"), failed.get("responder")
        if isinstance(trigger, str) and isinstance(responder, str):
            return trigger, responder
    return None


def is_failed_attempt(event: KandoEvent) -> bool:
    """Whether an event reports a failed attempt of a firing, and does not park it for a person."""
    return event.type == RESPONDER_FAILED and parked_by_person(event.data) is None
