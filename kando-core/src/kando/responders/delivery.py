"""The delivery bus: hands recorded events to subscribers in this process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs

from kando.responders.base import Responder
from kando.schema.events import KandoEvent
from kando.world.graph import World

__all__ = ["DeliveryBus", "DeliveryFailure", "create_delivery_responder"]

_log = logging.getLogger(__name__)


@attrs.frozen
class DeliveryFailure:
    """A subscriber that raised.

    Attributes:
        subscriber: its name.
        event_id: the event that it was called with.
        error: what it raised.
    """

    subscriber: str
    event_id: str
    error: Exception


@attrs.frozen(eq=False)
class _Subscriber:
    name: str
    pattern: frozenset[str]
    callback: Callable[[KandoEvent], Any]


class DeliveryBus:
    """Subscribers, and the failures they had; its length is the number of subscribers.

    A subscriber that raises stops neither the run nor the other subscribers: it is reported in
    `failures` and as a warning of this module's logger. After a crash, events that were delivered
    but not followed by a recorded firing are delivered again.
    """

    def __init__(self) -> None:
        self.failures: list[DeliveryFailure] = []
        self._subscribers: list[_Subscriber] = []

    def subscribe(
        self,
        callback: Callable[[KandoEvent], Any],
        pattern: Iterable[str] = (),
        *,
        name: str | None = None,
    ) -> Callable[[], None]:
        """Have `callback` called with each event, and return a function that removes it.

        Args:
            callback: called in the thread of the run.
            pattern: the event types it wants; empty means every type.
            name: of the subscriber, for `deliver`, `unsubscribe` and reports; the callback's own
                name if omitted. Subscribers may share a name.
        """
        types = frozenset({pattern} if isinstance(pattern, str) else pattern)
        called = name or str(getattr(callback, "__qualname__", callback))
        subscriber = _Subscriber(called, types, callback)
        self._subscribers.append(subscriber)

        def unsubscribe() -> None:
            self._subscribers = [each for each in self._subscribers if each is not subscriber]

        return unsubscribe

    def unsubscribe(self, name: str) -> bool:
        """Remove every subscriber with this name, and return whether there was one."""
        kept = [each for each in self._subscribers if each.name != name]
        is_found = len(kept) < len(self._subscribers)
        self._subscribers = kept
        return is_found

    def deliver(self, event: KandoEvent) -> list[str]:
        """Call every subscriber that wants events of this type.

        Returns:
            The names of those that returned, in the order in which they subscribed; one that
            raises is in `failures` instead.
        """
        reached: list[str] = []
        for each in tuple(self._subscribers):
            if each.pattern and event.type not in each.pattern:
                continue
            try:
                each.callback(event)
            except Exception as error:
                self.failures.append(DeliveryFailure(each.name, event.id, error))
                _log.warning("Subscriber %s failed on %s: %s", each.name, event.id, error)
            else:
                reached.append(each.name)
        return reached

    def __len__(self) -> int:
        return len(self._subscribers)

    def __bool__(self) -> bool:
        # `bus or DeliveryBus()` must not replace a bus that has no subscribers yet.
        return True


def create_delivery_responder(bus: DeliveryBus) -> Responder:
    """Return a responder that delivers every event to `bus` and emits nothing."""

    def deliver(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        bus.deliver(event)
        return iter(())

    return Responder("delivery", frozenset(), deliver)
