"""Held events: drafts that wait for a person's decision, checked as if they were recorded now."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import attrs

from kando.errors import InvalidData, UnknownReference
from kando.responders.policies import Ask, Deny, deadline_of
from kando.runtime.emission import OwnEvent, as_own
from kando.runtime.recorder import Recorder
from kando.schema.events import (
    APPROVAL_DENIED,
    APPROVAL_REQUESTED,
    OBJECT_CREATED,
    RELATION_CREATED,
    KandoEvent,
    RecordedEvent,
    make_event,
)
from kando.schema.exact_json import exact
from kando.schema.identity import object_id, root_key, step_key
from kando.world.graph import World
from kando.world.projection import change_of
from kando.world.staged import StagedWorld

__all__ = ["Drafts", "hold_event", "release"]

Emitted = Generator[KandoEvent, RecordedEvent, None]


class Drafts:
    """The held events of one firing, or a held external event.

    An event that could not be recorded is refused here: approving it would have no effect.

    Args:
        world: before the firing.
        recorder: of the ledger; None if drafts are not checked.
    """

    def __init__(self, world: World, recorder: Recorder | None) -> None:
        self._world = world
        self._recorder = recorder
        self._staged = StagedWorld(world)
        self._ids: set[str] = set()

    def observe(self, event: RecordedEvent) -> None:
        """Process an output that is recorded and not held."""
        self._ids.add(event.id)
        self._staged.stage(change_of(event, self._staged))

    def hold_output(
        self, event: Any, ordinal: int, trigger: RecordedEvent, responder: str
    ) -> RecordedEvent:
        """Return the draft of an output to hold, as its generator gets it back.

        Raises:
            RefusedEvent: it could not be recorded.
        """
        if not isinstance(event, KandoEvent):
            msg = f"{responder} emitted {type(event).__name__}, not an event."
            raise InvalidData(msg, hint="Emit what make_event() or kando.emit returns.")
        key = step_key(trigger.lineage_key, responder, ordinal)
        draft = RecordedEvent(
            f"held-{ordinal}",
            event.type,
            trigger.source,
            event.actor or responder,
            list(event.cause),
            trigger.timestamp,
            self._data_of(event, key),
            position=-1,
            lineage_key=key,
            encoded=b"",
        )
        self._check(draft)
        return draft

    def hold_external(self, event: KandoEvent) -> KandoEvent:
        """Return the draft of an external event to hold.

        Raises:
            RefusedEvent: it could not be recorded.
        """
        key = root_key(event.type, event.id.encode(), 0)
        draft = attrs.evolve(event, data=self._data_of(event, key))
        self._check(draft)
        return draft

    def _data_of(self, event: KandoEvent, key: str) -> dict[str, Any]:
        if not isinstance(event.type, str) or not event.type or not isinstance(event.data, dict):
            msg = f"An event has type {event.type!r:.60} and data {event.data!r:.60}."
            raise InvalidData(msg, hint="Its type is a dotted name and its data a JSON object.")
        data: dict[str, Any] = exact(event.data)
        if "id" in data or event.type not in (OBJECT_CREATED, RELATION_CREATED):
            return data
        return {"id": object_id(str(data.get("type")), key, self._world.get_object), **data}

    def _check(self, draft: KandoEvent) -> None:
        if self._recorder is None:
            return
        for cause in draft.cause:
            if cause not in self._ids and self._recorder.position_of(cause) is None:
                by = f" by {draft.actor}" if draft.actor else ""
                msg = f"{draft.type}{by} has cause {cause!r}, which does not exist."
                raise UnknownReference(msg, hint=f"Use ids of events of {self._recorder.source}.")
        change = change_of(draft, self._staged)
        if change is not None:
            self._recorder.types.check(draft, change, self._staged)
        self._staged.stage(change)
        self._ids.add(draft.id)


def hold_event(verdict: Ask | Deny, held: list[KandoEvent]) -> OwnEvent:
    """Return the ``approval.requested`` for held events, or ``approval.denied`` for `Deny`."""
    first = held[0]
    data = {
        "type": first.type,
        "object_type": first.data.get("type"),
        "reason": verdict.reason,
        **deadline_of(verdict),
        "held": [
            {"id": e.id, "type": e.type, "actor": e.actor, "cause": e.cause, "data": e.data}
            for e in held
        ],
    }
    kind = APPROVAL_REQUESTED if isinstance(verdict, Ask) else APPROVAL_DENIED
    return as_own(make_event(kind, "", "", [], data))


def release(request: RecordedEvent, granted: RecordedEvent) -> Emitted:
    """Emit the held events, in order."""
    ids: dict[str, str] = {}
    for held in request.data.get("held", ()):
        cause = [granted.id, *(ids.get(each, each) for each in held["cause"])]
        recorded = yield make_event(held["type"], "", held["actor"], cause, held["data"])
        ids[held["id"]] = recorded.id
