"""A batch: the events of one firing, or of one delivery from outside, on their way to the ledger."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from kando.errors import InvalidData
from kando.responders.budget import cost_of
from kando.runtime.recorder import Entry, Recorder, StagedWorld
from kando.schema.events import (
    LLM_RESPONSE,
    OBJECT_CREATED,
    RELATION_CREATED,
    KandoEvent,
    RecordedEvent,
)
from kando.schema.exact_json import encode, exact_and_encoded
from kando.schema.identity import default_event_id, object_id, step_key

__all__ = ["Batch"]


class Batch:
    """Events to be recorded together.

    Each event added is checked against the world and the events before it, and gets its identity
    at once, so that its author can refer to it.

    Args:
        recorder: where the batch will be recorded.
        trigger: the event that a responder handles; None for events from outside.
        responder: its name.

    Attributes:
        entries: what `add` accepted, in order.
        depth: the greatest recursion depth among them.
        cost_usd: the cost of the LLM calls they report.
    """

    def __init__(
        self, recorder: Recorder, trigger: RecordedEvent | None = None, responder: str = ""
    ) -> None:
        self.entries: list[Entry] = []
        self.depth = 0
        self.cost_usd = 0.0
        self._recorder = recorder
        self._trigger = trigger
        self._responder = responder
        self._staged = StagedWorld(recorder.world)
        # All events of a batch are recorded at one time.
        self._now: datetime | None = None
        self._by_id: dict[str, Entry] = {}
        self._roots: dict[str, int] = {}

    def add(self, event: KandoEvent, ordinal: int | str = 0) -> RecordedEvent:
        """Check and identify an event, and return it as it will be recorded.

        Args:
            event: as its author made it.
            ordinal: its place among the outputs of the firing, or a word for its bookkeeping.

        Raises:
            RefusedEvent: it must not be recorded; the batch is as before.
        """
        entry = self._recorder.check(
            self._identified(event, ordinal),
            self._staged,
            self._by_id,
            is_outside=self._trigger is None,
        )
        self._staged.stage(entry.change)
        self.entries.append(entry)
        self._by_id[entry.event.id] = entry
        self.depth = max(self.depth, entry.depth)
        if entry.event.type == LLM_RESPONSE:
            self.cost_usd += cost_of(entry.event)
        return entry.event

    def record(self) -> list[RecordedEvent]:
        """Record the whole batch and return its events."""
        return self._recorder.record(self.entries, self._roots)

    def _identified(self, event: KandoEvent, ordinal: int | str) -> RecordedEvent:
        if not isinstance(event, KandoEvent):
            msg = f"{self._responder or 'A seed'} emitted {type(event).__name__}, not an event."
            raise InvalidData(msg, hint="Emit what make_event() or kando.emit returns.")
        actor = event.actor or self._responder
        if not isinstance(event.type, str) or not event.type or not isinstance(event.data, dict):
            msg = f"An event by {actor or 'nobody'} has type {event.type!r} and data {event.data!r:.60}."
            raise InvalidData(msg, hint="Its type is a dotted name and its data a JSON object.")
        position = self._recorder.length + len(self.entries)
        id = event.id or default_event_id(event.type, position)
        try:
            data, encoded = exact_and_encoded(event.data)
        except InvalidData as error:
            msg = f"{id} by {actor or 'nobody'}: {error.message}"
            raise InvalidData(msg, hint=error.hint) from error
        key = self._key(event, encoded, ordinal)
        if event.type in (OBJECT_CREATED, RELATION_CREATED) and "id" not in data:
            data = {"id": self._free_id(event, data, key), **data}
            encoded = encode(data)
        if self._now is None:
            self._now = self._recorder.clock()
        return RecordedEvent(
            id,
            event.type,
            self._recorder.source,
            actor,
            self._causes(event),
            self._now,
            data,
            position=position,
            lineage_key=key,
            encoded=encoded,
        )

    def _causes(self, event: KandoEvent) -> list[str]:
        causes = event.cause
        if not causes and isinstance(causes, list | tuple):
            return [self._trigger.id] if self._trigger is not None else []
        if not isinstance(causes, list | tuple) or not all(isinstance(c, str) for c in causes):
            msg = f"An event {event.type} has cause {causes!r:.80}."
            raise InvalidData(msg, hint="A cause is a list of event ids.")
        if "" in causes:
            msg = f"An event {event.type} names a cause that has no id yet."
            raise InvalidData(msg, hint="Refer to what `yield` returned, or give the event an id.")
        return list(causes)

    def _key(self, event: KandoEvent, encoded: bytes, ordinal: int | str) -> str:
        if self._trigger is not None:
            return step_key(self._trigger.lineage_key, self._responder, ordinal)
        identity = event.id.encode() or encoded
        return self._recorder.free_root_key(event.type, identity, self._roots)

    def _free_id(self, event: KandoEvent, data: dict[str, Any], key: str) -> str:
        type = data.get("type")
        if not isinstance(type, str) or not type:
            msg = f"{event.type} by {event.actor or self._responder}: data.type must be a name."
            raise InvalidData(msg, hint="Say what type it is.")
        return object_id(type, key, _Taken(self._staged, event.type))


class _Taken:
    """The ids that are taken among the objects, or the relations, of a staged world."""

    def __init__(self, staged: StagedWorld, event_type: str) -> None:
        self._get: Any = staged.get_object if event_type == OBJECT_CREATED else staged.get_relation

    def __contains__(self, id: object) -> bool:
        return self._get(id) is not None
