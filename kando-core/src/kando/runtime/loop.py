"""The loop: a cursor walks the ledger, and what it meets is handled until nothing is left."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import attrs

from kando.errors import ConfigurationError, RefusedEvent
from kando.responders.base import Effect, Responder
from kando.runtime.batch import Batch
from kando.runtime.cursor import ANSWERS, CONTROL, Cursor, OpenFiring
from kando.runtime.dispatch import Handlers
from kando.runtime.effects import Effects
from kando.runtime.failure import PARKED, RAISED, RETRIED, failure_data
from kando.runtime.firing import collect, complete, is_productive
from kando.runtime.outside import Inbox, due_timers, marked, refusal
from kando.runtime.purity import watched
from kando.runtime.recorder import Recorder
from kando.runtime.recovery import recover
from kando.runtime.snapshots import Snapshots
from kando.schema.events import (
    BUDGET_EXHAUSTED,
    KIT_LOADED,
    RESPONDER_FAILED,
    RESPONDER_FIRED,
    KandoEvent,
    RecordedEvent,
    make_event,
)
from kando.world.graph import World
from kando.world.projection import project

__all__ = ["Loop"]

#: Seconds between two looks at what came from outside.
LOOK_INTERVAL = 0.05

#: Seconds that calls may wait for more intents to be saved with theirs.
_GATHER_INTERVAL = 0.002


class Loop:
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
        self.recorder = recorder
        self.handlers = handlers
        self.effects = effects
        self.save_interval = save_interval
        self.inbox = inbox
        self.checks_purity = checks_purity
        self.cursor = Cursor()
        # Set by whoever keeps them.
        self.snapshots: Snapshots | None = None
        self._saved_at = time.monotonic()
        self._looked_at = float("-inf")
        self._backlog = 0
        # What the ledger says last of the kit that works on it.
        self.kit: dict[str, Any] | None = None

    def recover(self, events: Iterable[RecordedEvent]) -> None:
        """Take up the events that the ledger holds."""
        recover(self.cursor, self.recorder, events, self._see_outside)
        for intent in self.cursor.open_intents.values():
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
        if self.cursor.open_firing is not None and not self._finish(self.cursor.open_firing):
            return False
        if not self._answer_passed_intents():
            return False
        while self._look_outside():
            event = self._next_to_dispatch()
            if event is not None:
                if not self._dispatch(event):
                    return False
                self.cursor.advance()
            elif not self._look_outside(at_once=True):
                return False
            elif self.cursor.current is None:
                return True
        return False

    def _next_to_dispatch(self) -> RecordedEvent | None:
        """Pass by what nobody handles, which is most of bookkeeping, and return what is next."""
        while (event := self.cursor.current) is not None and not self.handlers.for_type(event.type):
            self.cursor.advance()
        return event

    def _look_outside(self, *, at_once: bool = False) -> bool:
        """Record what came from outside; False if the run is to stop.

        Between firings this looks now and then only; `at_once` looks in any case.
        """
        now = time.monotonic()
        if at_once or now - self._looked_at >= LOOK_INTERVAL:
            self._looked_at = now
            # What the ledger held at first may have been fired before, in silence. It must not see
            # what came later; being first in, it is dispatched first in any case.
            current = self.cursor.current
            is_caught_up = current is None or current.position >= self._backlog
            if is_caught_up:
                for fired in due_timers(self.cursor.open_timers.values(), self.recorder.clock()):
                    if not self.deliver([fired]):
                        return False
            if self.inbox is not None and not self._take_in(self.inbox, is_caught_up):
                return False
        return self.cursor.halted_by is None

    def _take_in(self, inbox: Inbox, is_caught_up: bool) -> bool:
        for entry in inbox.entries():
            if not is_caught_up and entry.event.type not in CONTROL:
                continue
            if self.recorder.position_of(entry.event_id) is None:
                event = attrs.evolve(entry.event, id=entry.event_id)
                try:
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
                if not handler.handles(event, self.recorder.world):
                    continue
                if handler.effect is not None or is_productive(handler, event, self.recorder):
                    return True
            self.cursor.advance()
        return False

    def save(self) -> None:
        """Make everything recorded durable, and start the calls that waited for it."""
        self.recorder.save()
        self._saved_at = time.monotonic()
        self.effects.start()
        if self.snapshots is not None:
            self.snapshots.grown(self.recorder.world, self.recorder.length)

    def _dispatch(self, event: RecordedEvent) -> bool:
        for handler in self._remaining(event):
            if not handler.handles(event, self.recorder.world):
                continue
            if not self._look_outside() or not self._fire(handler, event):
                return False
        return True

    def _remaining(self, event: RecordedEvent) -> Sequence[Responder]:
        handlers = self.handlers.for_type(event.type)
        last = self.cursor.last_completed
        if last is None:
            return handlers
        names = [handler.name for handler in handlers]
        return handlers[names.index(last) + 1 :] if last in names else handlers

    def _fire(self, handler: Responder, event: RecordedEvent) -> bool:
        while True:
            batch = Batch(self.recorder, event, handler.name)
            try:
                if handler.effect is None:
                    return self._fire_plain(handler, event, batch)
                return self._fire_effect(handler, handler.effect, event, batch)
            except (Exception, SystemExit) as error:
                outcome = self._fail(handler, event, error)
                if outcome == RAISED:
                    raise
                if outcome == PARKED:
                    return True

    def _fire_plain(self, handler: Responder, event: RecordedEvent, batch: Batch) -> bool:
        def is_within_limits() -> bool:
            return not self._reasons_against(batch, batch.cost_usd, more=1)

        def fire() -> int | None:
            outputs = handler.fn(event, self.recorder.world)
            return collect(batch, handler, outputs, event, is_within_limits=is_within_limits)

        world = self.recorder.world
        count = watched(handler.name, world, fire) if self.checks_purity else fire()
        # A firing without outputs records nothing, unless the ledger says that it failed.
        if count == 0 and not self.cursor.has_failed(event.id, handler.name):
            self.cursor.silent = (event.id, handler.name)
            return True
        if count is None:
            return self._exhaust_by(batch, batch.cost_usd, event)
        complete(batch, count)
        return self._commit(batch, event)

    def _fire_effect(
        self, handler: Responder, effect: Effect, event: RecordedEvent, batch: Batch
    ) -> bool:
        recorder, world = self.recorder, self.recorder.world
        if effect.recall(event, world) is None and not self.effects.is_flying(event):
            reasons = recorder.account.reasons_against_call()
            # Nothing is paid for that could not be recorded.
            reasons += recorder.account.reasons_against(3, recorder.depth_of(event.position) + 1)
            if reasons:
                return self._exhaust(sorted(set(reasons)), event, 0)
        # The intent is on disk before its call starts.
        self.save()
        answer = self.effects.answer(event, handler, world)
        output = make_event(effect.answer_type, "", "", [event.id], answer)
        complete(batch, collect(batch, handler, [output], event) or 0)
        # What was paid for is recorded, whatever it cost; the account then stops the run.
        if not self._commit(batch, event, cost_usd=0.0):
            return False
        effect.remember(event, batch.entries[1].event.data, world)
        self.save()
        reasons = recorder.account.reasons_against(0, 0)
        return self._exhaust(reasons, event, 0) if reasons else True

    def _commit(self, batch: Batch, trigger: RecordedEvent, cost_usd: float | None = None) -> bool:
        cost = batch.cost_usd if cost_usd is None else cost_usd
        if self._reasons_against(batch, cost):
            return self._exhaust_by(batch, cost, trigger)
        self._record(batch, trigger)
        return True

    def _record(self, batch: Batch, trigger: RecordedEvent | None = None) -> None:
        events = batch.record()
        if trigger is not None and events[0].type == RESPONDER_FIRED:
            self.cursor.see_firing(trigger, events)
        else:
            for event in events:
                self.cursor.see(event)
        if self.handlers.has_executors:
            for event in events:
                self._want(event)
        wait = _GATHER_INTERVAL if self.effects.has_waiting else self.save_interval
        if time.monotonic() - self._saved_at >= wait:
            self.save()

    def _want(self, event: RecordedEvent) -> None:
        if self.recorder.account.reasons_against_call():
            # The money is spent: no call may start, not even ahead of its firing.
            return
        for handler in self.handlers.executors_of(event.type):
            self.effects.want(event, handler, self.recorder.world)

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
            count = self._repeat(handler, firing, batch)
        batch.close(firing.fired, count)
        return self._commit(batch, firing.trigger)

    def _repeat(self, handler: Responder, firing: OpenFiring, batch: Batch) -> int:
        trigger = firing.trigger
        try:
            if handler.effect is None:
                outputs = handler.fn(trigger, self._world_before(firing.fired.position))
            else:
                self.save()
                answer = self.effects.answer(trigger, handler, self.recorder.world)
                handler.effect.remember(trigger, answer, self.recorder.world)
                outputs = [make_event(handler.effect.answer_type, "", "", [trigger.id], answer)]
            return collect(batch, handler, outputs, trigger, firing.outputs) or 0
        except (Exception, SystemExit) as error:
            self._fail(handler, trigger, error)
            raise

    def _world_before(self, position: int) -> World:
        world = project(islice(self.recorder.ledger.read_all(), position))
        world.context = self.recorder.world.context
        return world

    def _answer_passed_intents(self) -> bool:
        """Answer the requests that the cursor has passed because nobody could answer them then."""
        return all(self._fire(*passed) for passed in self._passed_intents())

    def _passed_intents(self) -> list[tuple[Responder, RecordedEvent]]:
        current = self.cursor.current
        return [
            (handler, intent)
            for intent in self.cursor.open_intents.values()
            if current is None or intent.position < current.position
            for handler in self.handlers.executors_of(intent.type)
        ]

    def _reasons_against(self, batch: Batch, cost_usd: float, more: int = 0) -> list[str]:
        events = len(batch.entries) + more
        return self.recorder.account.reasons_against(events, batch.depth, cost_usd)

    def _exhaust_by(self, batch: Batch, cost_usd: float, trigger: RecordedEvent) -> bool:
        reasons = self._reasons_against(batch, cost_usd, more=1)
        return self._exhaust(reasons, trigger, batch.depth)

    def _exhaust(self, reasons: list[str], trigger: RecordedEvent | None, depth: int) -> bool:
        """Record that a limit was reached, unless that is what was recorded last. Returns False."""
        recorder = self.recorder
        if recorder.last_type != BUDGET_EXHAUSTED:
            batch = Batch(recorder, trigger, "budget")
            data = recorder.account.exhausted_data(reasons, depth)
            event = make_event(BUDGET_EXHAUSTED, "", "budget", [], data)
            batch.add(event, f"exhausted-{recorder.length}")
            self._record(batch)
        self.save()
        return False

    def _fail(self, handler: Responder, event: RecordedEvent, error: BaseException) -> str:
        """Record a failed attempt, wait if another follows, and return what follows."""
        attempt = self.cursor.failed_attempts(event.id, handler.name) + 1
        outcome = RETRIED
        # Who asks the process to exit is not asked again.
        if isinstance(error, SystemExit):
            outcome = RAISED
        elif attempt >= handler.retry.attempts:
            outcome = PARKED if handler.on_error == "park" else RAISED
        batch = Batch(self.recorder, event, handler.name)
        data = failure_data(handler.name, event.id, error, attempt, outcome)
        failed = make_event(RESPONDER_FAILED, "", handler.name, [event.id], data)
        batch.add(failed, f"failed-{self.recorder.length}")
        self._record(batch)
        self.save()
        if outcome == RETRIED:
            self.effects.forget(event)
            time.sleep(handler.retry.seconds_after(attempt))
        return outcome
