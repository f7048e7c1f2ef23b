"""The loop: a cursor walks the ledger, and what it meets is handled until nothing is left."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import attrs

from kando.errors import ConfigurationError, RefusedEvent
from kando.responders.base import AnswerPending, Effect, Responder
from kando.runtime.batch import Batch
from kando.runtime.cursor import ANSWERS, CONTROL, OpenFiring
from kando.runtime.effects import Effects
from kando.runtime.firing import collect, complete, is_productive
from kando.runtime.handlers import Handlers
from kando.runtime.inbox import Inbox, marked, refusal
from kando.runtime.purity import watched
from kando.runtime.recorder import Recorder
from kando.runtime.recovery import recover
from kando.runtime.tail import Tail
from kando.runtime.timers import due_timers
from kando.schema.events import (
    APPROVAL_GRANTED,
    KIT_LOADED,
    PARKED,
    RAISED,
    KandoEvent,
    RecordedEvent,
)
from kando.world.graph import World
from kando.world.projection import project

__all__ = ["Loop"]

#: Seconds between two looks at what came from outside.
LOOK_INTERVAL = 0.05


class Loop(Tail):
    """One ledger being worked on.

    Args:
        recorder: the tail of the ledger.
        handlers: who reacts to its events.
        effects: the calls of the run.
        save_interval: seconds after which recorded events are saved at the latest.
        inbox: what others say to the run; None if nobody can.
        checks_purity: refuse plain responders that are not pure.
    """

    def __init__(
        self,
        recorder: Recorder,
        handlers: Handlers,
        effects: Effects,
        save_interval: float,
        inbox: Inbox | None = None,
        *,
        checks_purity: bool = False,
    ) -> None:
        super().__init__(recorder, handlers, effects, save_interval)
        self.inbox = inbox
        self.checks_purity = checks_purity
        self._looked_at = float("-inf")
        self._backlog = 0
        self._has_caught_up = False
        # What the ledger says last of the kit that works on it.
        self.kit: dict[str, Any] | None = None

    def recover(self, events: Iterable[RecordedEvent]) -> None:
        """Take up the events that the ledger holds."""
        recover(self.cursor, self.recorder, events, self._see_outside)
        for intent in self.intents_in_turn():
            self._want(intent)
        self._backlog = self.recorder.length

    def _see_outside(self, event: RecordedEvent) -> None:
        if event.type == KIT_LOADED:
            self.kit = event.data

    def deliver(self, seeds: Sequence[KandoEvent]) -> bool:
        """Record events from outside at the tail, as one step.

        Returns:
            False if a limit of the budget forbids it.

        Raises:
            RefusedEvent: one of them must not be recorded; none is.
        """
        batch = Batch(self.recorder)
        for number, seed in enumerate(seeds):
            batch.add(marked(seed, self.cursor.silent if number == 0 else None))
        reasons = self._reasons_against(batch, batch.cost_usd)
        if reasons:
            self._exhaust(reasons, None, batch.depth)
            return False
        self._record(batch)
        return True

    def run(self) -> bool:
        """Work until nothing is left to do.

        Returns:
            False if a limit of the budget, or somebody outside, stopped it; what was pending stays
            pending.

        Raises:
            Exception: whatever a responder raised, after ``responder.failed`` is recorded.
        """
        self._may_call = True
        self._is_exhausted = False
        if self.cursor.open_firing is not None and not self._finish(self.cursor.open_firing):
            return False
        if not self._answer_passed_intents():
            return False
        cursor = self.cursor
        while True:
            event = cursor.current
            if event is not None:
                if not self._dispatch(event):
                    return False
                cursor.advance()
            elif not self._look_outside(at_once=True):
                return False
            elif cursor.current is None:
                return True

    def _look_outside(self, *, at_once: bool = False) -> bool:
        """Record what came from outside; False if the run is to stop.

        Between firings this looks now and then only; `at_once` looks in any case.
        """
        # What the ledger held at first may have been fired before, in silence. It must not see what
        # came later; being first in, it is dispatched first in any case. What came before that is
        # let in right after it, and not whenever it is time for a look.
        is_first = False
        if not self._has_caught_up:
            current = self.cursor.current
            is_first = current is None or current.position >= self._backlog
            self._has_caught_up = is_first
        now = time.monotonic()
        if at_once or is_first or now - self._looked_at >= LOOK_INTERVAL:
            self._looked_at = now
            if self._has_caught_up:
                for fired in due_timers(self.cursor.open_timers.values(), self.recorder.clock()):
                    if not self.deliver([fired]):
                        return False
            if self.inbox is not None and not self._take_in(self.inbox):
                return False
        return self.cursor.halted_by is None

    def _take_in(self, inbox: Inbox) -> bool:
        for entry in inbox.entries():
            if not self._has_caught_up and entry.event.type not in CONTROL:
                continue
            if self.recorder.position_of(entry.event_id) is None:
                event = attrs.evolve(entry.event, id=entry.event_id)
                try:
                    if self.gate is not None:
                        event = self.gate.let_in(event, self.recorder.world)
                    is_within_limits = self.deliver([event])
                except RefusedEvent as error:
                    is_within_limits = self.deliver([refusal(entry, error)])
                if not is_within_limits:
                    return False
                # First on disk, then out of the inbox: taken twice is recorded once.
                self.save()
            inbox.take(entry.key)
            if self.cursor.halted_by is not None:
                return False
        return True

    def has_pending_work(self) -> bool:
        """Whether `run` would record anything; the cursor is spent afterwards."""
        if self.cursor.open_firing is not None or self._passed_intents():
            return True
        while (event := self.cursor.current) is not None:
            for handler in self._remaining(event):
                if self._subject_of(handler, event) is None:
                    continue
                if handler.effect is not None or is_productive(handler, event, self.recorder):
                    return True
            self.cursor.advance()
        return False

    def _dispatch(self, event: RecordedEvent) -> bool:
        for handler in self._remaining(event):
            subject = self._subject_of(handler, event)
            if subject is not None and not (
                self._look_outside() and self._fire(handler, event, subject)
            ):
                return False
        return True

    def _subject_of(self, handler: Responder, event: RecordedEvent) -> RecordedEvent | None:
        """Return what a responder handles when an event is dispatched; None if it does not.

        That is the event, unless a person lets an intent out by it, or it is an intent that waits.
        """
        subject: RecordedEvent | None = event
        if handler.effect is not None:
            if event.type == APPROVAL_GRANTED:
                subject = self.gate.released(event) if self.gate is not None else None
            elif self.gate is not None and self.gate.waits(event.id):
                subject = None
        if subject is None or not handler.handles(subject, self.recorder.world):
            return None
        return subject

    def _remaining(self, event: RecordedEvent) -> Sequence[Responder]:
        handlers = self.handlers.for_type(event.type)
        last = self.cursor.last_completed
        if last is None:
            return handlers
        names = [handler.name for handler in handlers]
        return handlers[names.index(last) + 1 :] if last in names else handlers

    def _fire(self, handler: Responder, event: RecordedEvent, subject: RecordedEvent) -> bool:
        """Have a responder handle an event; `subject` is the intent that it lets out, or itself."""
        while True:
            batch = Batch(self.recorder, event, handler.name)
            try:
                if handler.effect is None:
                    return self._fire_plain(handler, event, batch)
                return self._fire_effect(handler, handler.effect, subject, batch, event)
            except AnswerPending:
                raise
            except (Exception, SystemExit) as error:
                outcome = self._fail(handler, event, error, subject)
                if outcome == RAISED:
                    raise
                if outcome == PARKED:
                    return True

    def _fire_plain(self, handler: Responder, event: RecordedEvent, batch: Batch) -> bool:
        if self.checks_purity:
            world = self.recorder.world
            count = watched(handler.name, world, lambda: self._collect(handler, event, batch))
        else:
            count = self._collect(handler, event, batch)
        # A firing without outputs records nothing, unless the ledger says that it failed.
        if count == 0 and not self.cursor.has_failed(event.id, handler.name):
            self.cursor.silent = (event.id, handler.name)
            return True
        if count is None:
            return self._exhaust_by(batch, batch.cost_usd, event)
        complete(batch, count)
        return self._commit(batch, event)

    def _collect(self, handler: Responder, event: RecordedEvent, batch: Batch) -> int | None:
        def is_within_limits() -> bool:
            return not self._reasons_against(batch, batch.cost_usd, more=1)

        outputs = self._outputs(handler, event, self.recorder.world)
        if self.recorder.account.is_unlimited:
            return collect(batch, handler, outputs, event)
        return collect(batch, handler, outputs, event, is_within_limits=is_within_limits)

    def _finish(self, firing: OpenFiring) -> bool:
        """Repeat a firing of which the ledger holds the beginning, and record the rest of it."""
        handler = self.handlers.get(firing.responder)
        is_answered = any(output.type in ANSWERS for output in firing.outputs)
        batch = Batch(self.recorder, firing.trigger, firing.responder)
        if is_answered:
            count = len(firing.outputs)
        elif handler is None:
            msg = (
                f"{self.recorder.source} stopped inside a firing of {firing.responder!r}, which "
                "is not among the responders."
            )
            hint = "Resume it with the kit, and the provider, that it was started with."
            raise ConfigurationError(msg, hint=hint)
        else:
            try:
                if handler.effect is not None:
                    return self._finish_call(handler, handler.effect, firing, batch)
                count = self._repeat(handler, firing, batch)
            except AnswerPending:
                raise
            except (Exception, SystemExit) as error:
                self._fail(handler, firing.trigger, error, firing.trigger)
                raise
        batch.close(firing.fired, count)
        return self._commit(batch, firing.trigger)

    def _finish_call(
        self, handler: Responder, effect: Effect, firing: OpenFiring, batch: Batch
    ) -> bool:
        trigger, intent, refusal = firing.trigger, firing.trigger, None
        if self.gate is not None:
            intent = self.gate.intent_of(trigger)
            if not self.gate.may_call(intent.id):
                # It was let out of the ledger that this one was forked from, and not of this one.
                reason = "its approval was given before the fork"
                refusal = self.gate.refused(intent, reason)
        return self._fire_effect(handler, effect, intent, batch, trigger, firing, refusal)

    def _repeat(self, handler: Responder, firing: OpenFiring, batch: Batch) -> int:
        world = self._world_before(firing.fired.position)
        outputs = self._outputs(handler, firing.trigger, world)
        return collect(batch, handler, outputs, firing.trigger, firing.outputs) or 0

    def _outputs(self, handler: Responder, event: RecordedEvent, world: World) -> Any:
        if self.gate is None:
            return handler.fn(event, world)
        return self.gate.outputs(handler, event, world)

    def _world_before(self, position: int) -> World:
        world = project(islice(self.recorder.ledger.read_all(), position))
        world.context = self.recorder.world.context
        return world

    def _answer_passed_intents(self) -> bool:
        """Answer the requests that the cursor has passed because nobody could answer them then."""
        return all(
            self._fire(handler, intent, intent) for handler, intent in self._passed_intents()
        )

    def _passed_intents(self) -> list[tuple[Responder, RecordedEvent]]:
        current = self.cursor.current
        here = self.recorder.length if current is None else current.position
        return [
            (handler, intent)
            for intent in self.cursor.open_intents.values()
            if intent.position < here
            if self.gate is None or self.gate.may_call(intent.id, before=here)
            for handler in self.handlers.executors_of(intent.type)
        ]
