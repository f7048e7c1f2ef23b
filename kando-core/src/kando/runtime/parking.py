"""Parking by hand: a person has a run step over one firing that it cannot get past.

The firing is a pair of an event and a responder. It is parked by a ``responder.failed`` that reaches the
run through its inbox, so a run that fails at the firing, hangs in it or dies of it gets past it. All
other responders handle the event as before. If the responder is the executor of a request, the
request is closed without an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from kando.errors import EventNotFound, InvalidData, KandoError, NotFoundError
from kando.responders.redaction import redact
from kando.runtime.approval_gate import ApprovalGate
from kando.runtime.cursor import Cursor
from kando.runtime.handlers import Handlers
from kando.runtime.recorder import Recorder
from kando.schema.events import PARKED, RESPONDER_FAILED, KandoEvent, RecordedEvent, make_event
from kando.views.firings import parked_by_person
from kando.views.pending import INTENTS, failed_intent

__all__ = ["Parking"]

#: Type of the recorded error.
_BY_HAND = "Parked"


@attrs.frozen
class Parking:
    """Which firings of a run may be parked: those that are pending.

    Attributes:
        recorder: of the ledger.
        cursor: what is done.
        handlers: the responders.
        gate: what waits for a person.
    """

    recorder: Recorder
    cursor: Cursor
    handlers: Handlers
    gate: ApprovalGate

    def event(self, event_id: str, responder: str, reason: str | None, by: str) -> KandoEvent:
        """Return the event that parks a pending firing.

        Args:
            event_id: of the event that is handled.
            responder: its name, or one that it had.
            reason: why it is parked, if given.
            by: who parks it.

        Raises:
            EventNotFound: the ledger has no such event.
            NotFoundError: no such responder handles the event.
            InvalidData: the firing is not pending: it is done, parked, or waits for a person.
        """
        event = self._find(event_id)
        name, is_call = self._responder(event, responder)
        self._require_pending(event, name, is_call=is_call)
        data: dict[str, Any] = {
            "responder": name,
            "trigger": event.id,
            "attempt": 0,
            "outcome": PARKED,
            "error": {"type": _BY_HAND, "message": redact(reason or "")},
            "call": is_call,
            "in_turn": False,
            "by": by,
        }
        if is_call:
            data["intent"] = event.id
        return make_event(RESPONDER_FAILED, "", by, [event.id], data)

    def check(self, failed: Mapping[str, Any]) -> RecordedEvent | None:
        """Return the event whose firing a message parks; None if it reports another failure.

        Args:
            failed: data of a ``responder.failed``.

        Raises:
            InvalidData: the firing is not pending, or not any more.
        """
        parked = parked_by_person(failed)
        if parked is None:
            return None
        try:
            event = self._find(parked[0])
            is_call = failed.get("call") is True and event.type in INTENTS
            # The executor may be unknown here: this process makes no calls, or has no provider.
            name = parked[1]
            if not is_call or self.handlers.get(name) is not None:
                name, is_call = self._responder(event, name)
            self._require_pending(event, name, is_call=is_call)
        except InvalidData:
            raise
        except KandoError as error:
            raise InvalidData(error.message, hint=error.hint) from error
        return event

    def _find(self, event_id: str) -> RecordedEvent:
        event = self.recorder.find(event_id)
        if event is None:
            msg = f"{self.recorder.source} has no event {event_id!r}."
            raise EventNotFound(msg, hint=f"`kando events {self._run_id}` lists them.")
        return event

    def _responder(self, event: RecordedEvent, name: str) -> tuple[str, bool]:
        """Return the present name of a responder of an event, and whether it is an executor."""
        handler, world = self.handlers.get(name), self.recorder.world
        if handler is None and self._has_failed_call(event, name):
            return name, True
        if handler is not None and handler.handles(event, world):
            return handler.name, handler.effect is not None
        matching = self.handlers.for_type(event.type)
        known = ", ".join(each.name for each in matching if each.handles(event, world))
        msg = f"{self.recorder.source} has no responder {name!r}."
        if handler is not None:
            msg = f"{handler.name} does not handle {event.id}."
        raise NotFoundError(msg, hint=f"Responders of {event.id}: {known or 'none'}.")

    def _has_failed_call(self, event: RecordedEvent, name: str) -> bool:
        """Whether the ledger holds a failure of a call, by an executor that is not known here."""
        if event.type not in INTENTS:
            return False
        later = self.recorder.ledger.read(event.position + 1)
        failures = (each.data for each in later if each.type == RESPONDER_FAILED)
        return any(
            data.get("responder") == name and failed_intent(data) == event.id for data in failures
        )

    def _require_pending(self, event: RecordedEvent, name: str, *, is_call: bool) -> None:
        if name in self.cursor.parked.get(event.id, ()):
            raise self._refused(event, name, "is parked already")
        if is_call:
            self._require_open(event, name)
        else:
            self._require_ahead(event, name)

    def _require_open(self, intent: RecordedEvent, executor: str) -> None:
        if intent.id not in self.cursor.pending.intents:
            raise self._refused(intent, executor, "is done: the request is not open")
        if self.gate.waits_for_person(intent.id):
            deny = f"`kando deny {self._run_id} {intent.id}` denies the request."
            raise self._refused(intent, executor, "waits for a person", deny)

    def _require_ahead(self, event: RecordedEvent, responder: str) -> None:
        current, firing = self.cursor.current, self.cursor.open_firing
        if firing is not None and (firing.trigger.id, firing.responder) == (event.id, responder):
            cure = f"Fork the run before its start, at {firing.fired.position}."
            raise self._refused(event, responder, "is recorded in part", cure)
        if current is not None and event.position >= current.position:
            if event.id != current.id:
                return
            ahead = self.cursor.remaining(event, self.handlers.for_type(event.type))
            if any(each.name == responder for each in ahead):
                return
        raise self._refused(event, responder, "is done already")

    def _refused(
        self, event: RecordedEvent, responder: str, why: str, hint: str | None = None
    ) -> InvalidData:
        msg = f"The firing of {responder} for {event.id} {why}."
        return InvalidData(
            msg, hint=hint or f"`kando events {self._run_id} --all` shows what fired."
        )

    @property
    def _run_id(self) -> str:
        return self.recorder.source.partition(":")[2]
