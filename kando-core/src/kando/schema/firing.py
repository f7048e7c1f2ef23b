"""A firing: what its ``responder.fired``, its outputs and its ``responder.completed`` record.

The two lifecycle events follow from the firing, so they are built only for those who read them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from kando.errors import StoreDamaged
from kando.schema.events import (
    OBSERVED,
    RESPONDER_COMPLETED,
    RESPONDER_FAILED,
    RESPONDER_FIRED,
    RecordedEvent,
    make_recorded_event,
)
from kando.schema.exact_json import encode
from kando.schema.identity import lifecycle_keys, number_of_default_id

__all__ = ["Fields", "Firing", "firing_of", "flattened", "grouped", "outputs_of"]

#: The fields of an event that its hash covers, in this order: position, id, type, source, actor,
#: causes, timestamp, lineage key, version and encoded data.
Fields = tuple[int, str, str, str, str, list[str], datetime, str, int, bytes]

_INTERRUPTS = frozenset({RESPONDER_FIRED, RESPONDER_FAILED})


def firing_of(event: RecordedEvent) -> tuple[str, str]:
    """Return the trigger and the responder of a ``responder.fired`` or ``responder.failed``.

    Raises:
        StoreDamaged: the event does not name them; Kando did not record it.
    """
    trigger, responder = event.data.get("trigger"), event.data.get("responder")
    if isinstance(trigger, str) and isinstance(responder, str):
        return trigger, responder
    msg = f"{event.source}: {event.id} does not name its trigger and its responder."
    raise StoreDamaged(msg, position=event.position, hint="Restore the ledger from a copy.")


class Firing:
    """A whole firing of a ledger: consecutive events from ``responder.fired`` on.

    Args:
        position: of its ``responder.fired``.
        heads: number of branch heads before it (see `kando.schema.identity.default_event_id`).
        source: identity of the ledger.
        timestamp: of all its events.
        responder: name of the responder.
        trigger_id: id of the event that the responder handled.
        trigger_key: lineage key of that event; empty if it is unknown.
        outputs: the events that the responder emitted.
        is_call: whether the responder is an executor, which answers an intent.
        observed: ``observed`` of the ``responder.fired``, or None.
    """

    __slots__ = (
        "_events",
        "heads",
        "is_call",
        "observed",
        "outputs",
        "position",
        "responder",
        "source",
        "timestamp",
        "trigger_id",
        "trigger_key",
    )

    def __init__(
        self,
        position: int,
        heads: int,
        source: str,
        timestamp: datetime,
        responder: str,
        trigger_id: str,
        trigger_key: str,
        outputs: Sequence[RecordedEvent],
        *,
        is_call: bool = False,
        observed: dict[str, Any] | None = None,
    ) -> None:
        self.position = position
        self.heads = heads
        self.source = source
        self.timestamp = timestamp
        self.responder = responder
        self.trigger_id = trigger_id
        self.trigger_key = trigger_key
        self.outputs = outputs
        self.is_call = is_call
        self.observed = observed
        self._events: list[RecordedEvent] | None = None

    @classmethod
    def of(cls, events: Sequence[RecordedEvent]) -> Firing:
        """Return the firing of existing events, which its `events` returns; its key is unknown.

        Args:
            events: from its ``responder.fired`` to its ``responder.completed``, with default ids.
        """
        fired, data = events[0], events[0].data
        number = number_of_default_id(fired.id)
        assert number is not None
        firing = cls(
            fired.position,
            fired.position - number,
            fired.source,
            fired.timestamp,
            data["responder"],
            data["trigger"],
            "",
            events[1:-1],
            is_call=data.get("call") is True,
            observed=data.get(OBSERVED),
        )
        firing._events = [*events]
        return firing

    def __len__(self) -> int:
        """Return the number of its events."""
        return len(self.outputs) + 2

    @property
    def fired_id(self) -> str:
        """Id of its ``responder.fired``."""
        return f"{RESPONDER_FIRED}-{self.position - self.heads}"

    @property
    def completed_id(self) -> str:
        """Id of its ``responder.completed``."""
        return f"{RESPONDER_COMPLETED}-{self.position + 1 + len(self.outputs) - self.heads}"

    @property
    def fired(self) -> RecordedEvent:
        """Its ``responder.fired``."""
        return self.events()[0]

    @property
    def completed(self) -> RecordedEvent:
        """Its ``responder.completed``."""
        return self.events()[-1]

    def events(self) -> list[RecordedEvent]:
        """Return its events, from ``responder.fired`` to ``responder.completed``."""
        if self._events is None:
            count = len(self.outputs)
            fired, completed = self.lifecycle_fields(count)
            self._events = [
                _event_of(fired, self._fired_data()),
                *self.outputs,
                _event_of(completed, self._completed_data(count)),
            ]
        return self._events

    def lifecycle_fields(self, count: int) -> tuple[Fields, Fields]:
        """Return the fields of its ``responder.fired``, and of its ``responder.completed``.

        Args:
            count: number of its outputs, which need not be loaded.
        """
        position, responder = self.position, self.responder
        trigger, source, at = self.trigger_id, self.source, self.timestamp
        number, last = position - self.heads, count + 1
        id, completed_id = f"{RESPONDER_FIRED}-{number}", f"{RESPONDER_COMPLETED}-{number + last}"
        fired_key, completed_key = lifecycle_keys(self.trigger_key, responder)
        data: dict[str, Any] = {"responder": responder, "trigger": trigger}
        plain = encode(data)
        is_plain = not self.is_call and self.observed is None
        begun = plain if is_plain else encode(self._fired_data())
        # As `encode` encodes it with the number of outputs at its end.
        ended, caused, kind = b'%b,"outputs":%d}' % (plain[:-1], count), [trigger], RESPONDER_FIRED
        fired = (position, id, kind, source, responder, caused, at, fired_key, 1, begun)
        position, caused, kind = position + last, [id], RESPONDER_COMPLETED
        return fired, (
            position,
            completed_id,
            kind,
            source,
            responder,
            caused,
            at,
            completed_key,
            1,
            ended,
        )

    def lifecycle_event(self, position: int, count: int) -> RecordedEvent:
        """Return its ``responder.fired`` or ``responder.completed``, whichever has a position.

        Args:
            position: of the event.
            count: number of its outputs, which need not be loaded.
        """
        fired, completed = self.lifecycle_fields(count)
        if position == self.position:
            return _event_of(fired, self._fired_data())
        return _event_of(completed, self._completed_data(count))

    def with_outputs(self, outputs: Sequence[RecordedEvent]) -> Firing:
        """Return the same firing with other forms of its outputs."""
        if self._events is not None and not self.trigger_key:
            return Firing.of([self._events[0], *outputs, self._events[-1]])
        return Firing(
            self.position,
            self.heads,
            self.source,
            self.timestamp,
            self.responder,
            self.trigger_id,
            self.trigger_key,
            outputs,
            is_call=self.is_call,
            observed=self.observed,
        )

    def with_key(self, trigger_key: str) -> Firing | None:
        """Return the firing with the lineage key of its trigger.

        Returns:
            None if its lifecycle events are not those that follow from the firing.
        """
        firing = Firing(
            self.position,
            self.heads,
            self.source,
            self.timestamp,
            self.responder,
            self.trigger_id,
            trigger_key,
            self.outputs,
            is_call=self.is_call,
            observed=self.observed,
        )
        own, derived = self.events(), firing.events()
        is_same = _fields_of(own[0]) == _fields_of(derived[0])
        return firing if is_same and _fields_of(own[-1]) == _fields_of(derived[-1]) else None

    def _fired_data(self) -> dict[str, Any]:
        data: dict[str, Any] = {"responder": self.responder, "trigger": self.trigger_id}
        if self.is_call:
            data["call"] = True
        if self.observed is not None:
            data[OBSERVED] = self.observed
        return data

    def _completed_data(self, count: int) -> dict[str, Any]:
        return {"responder": self.responder, "trigger": self.trigger_id, "outputs": count}


def flattened(items: Iterable[RecordedEvent | Firing]) -> list[RecordedEvent]:
    """Return the events of a sequence of events and firings."""
    events: list[RecordedEvent] = []
    for item in items:
        if isinstance(item, Firing):
            events += item.events()
        else:
            events.append(item)
    return events


def outputs_of(items: Iterable[RecordedEvent | Firing]) -> Iterator[RecordedEvent]:
    """Yield the events of a sequence of events and firings, but not the lifecycle events of firings."""
    for item in items:
        if isinstance(item, Firing):
            yield from item.outputs
        else:
            yield item


def grouped(events: Iterable[RecordedEvent]) -> Iterator[RecordedEvent | Firing]:
    """Yield consecutive events of a ledger, each whole firing among them as one `Firing`."""
    firing: list[RecordedEvent] = []
    for event in events:
        kind = event.type
        if not firing:
            if kind == RESPONDER_FIRED:
                firing.append(event)
            else:
                yield event
        elif kind == RESPONDER_COMPLETED and event.cause == [firing[0].id]:
            firing.append(event)
            if _is_whole(firing):
                yield Firing.of(firing)
            else:
                yield from firing
            firing = []
        elif kind in _INTERRUPTS:
            yield from firing
            firing = []
            if kind == RESPONDER_FIRED:
                firing.append(event)
            else:
                yield event
        else:
            firing.append(event)
    yield from firing


def _is_whole(events: Sequence[RecordedEvent]) -> bool:
    fired, completed = events[0], events[-1]
    number = number_of_default_id(fired.id)
    if number is None or completed.data.get("outputs") != len(events) - 2:
        return False
    last = number + len(events) - 1
    if (fired.id, completed.id) != (f"{fired.type}-{number}", f"{completed.type}-{last}"):
        return False
    return all(isinstance(fired.data.get(name), str) for name in ("responder", "trigger"))


def _event_of(fields: Fields, data: dict[str, Any]) -> RecordedEvent:
    position, id, type, source, actor, cause, timestamp, key, version, encoded = fields
    return make_recorded_event(
        id, type, source, actor, cause, timestamp, data, position, key, encoded, version
    )


def _fields_of(event: RecordedEvent) -> Fields:
    return (
        event.position,
        event.id,
        event.type,
        event.source,
        event.actor,
        event.cause,
        event.timestamp,
        event.lineage_key,
        event.version,
        event.encoded,
    )
