"""The delivery bus: tells subscribers in this process what was recorded."""

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
        event_id: the event it was told of.
        error: what it raised.
    """

    subscriber: str
    event_id: str
    error: Exception


class DeliveryBus:
    """Subscribers, and the failures they had.

    A subscriber that raises stops neither the run nor the other subscribers: it is reported in
    `failures` and as a warning of this module's logger. After a crash, events that were delivered
    but not followed by a recorded firing are delivered again.
    """

    def __init__(self) -> None:
        self.failures: list[DeliveryFailure] = []
        self._subscribers: list[tuple[frozenset[str], Callable[[KandoEvent], Any], str]] = []

    def subscribe(
        self,
        subscriber: Callable[[KandoEvent], Any],
        pattern: Iterable[str] = (),
        *,
        name: str | None = None,
    ) -> Callable[[], None]:
        """Have `subscriber` called with each event, and return a function that ends it.

        Args:
            subscriber: called in the thread of the run.
            pattern: the event types it wants; empty means every type.
            name: for the report if it fails; its own if omitted.
        """
        types = frozenset({pattern} if isinstance(pattern, str) else pattern)
        called = name or str(getattr(subscriber, "__qualname__", subscriber))
        entry = (types, subscriber, called)
        self._subscribers.append(entry)

        def unsubscribe() -> None:
            if entry in self._subscribers:
                self._subscribers.remove(entry)

        return unsubscribe

    def publish(self, event: KandoEvent) -> None:
        """Tell every subscriber that wants events of this type."""
        for pattern, subscriber, name in tuple(self._subscribers):
            if pattern and event.type not in pattern:
                continue
            try:
                subscriber(event)
            except Exception as error:
                self.failures.append(DeliveryFailure(name, event.id, error))
                _log.warning("Subscriber %s failed on %s: %s", name, event.id, error)


def create_delivery_responder(bus: DeliveryBus) -> Responder:
    """Return a responder that publishes every event on `bus` and emits nothing."""

    def deliver(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        bus.publish(event)
        return iter(())

    return Responder("delivery", frozenset(), deliver)
