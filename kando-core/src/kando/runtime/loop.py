"""The loop: a cursor walks the ledger, and what it meets is handled until nothing is left."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import attrs

from kando.errors import ConfigurationError, RefusedEvent
from kando.responders.accounts import charge_of
from kando.responders.base import AnswerPending, Effect, Responder
from kando.runtime.batch import Batch
from kando.runtime.calls import Call
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
from kando.schema.exact_json import exact
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
        self._may_call = False

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
        self._may_call = True
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
        if self._may_call:
            self.effects.start(self._admits)
        if self.snapshots is not None:
            self.snapshots.grown(self.recorder.world, self.recorder.length)

    def _admits(self, call: Call) -> bool:
        depth = self.recorder.depth_of(call.intent.position) + 1
        return self.recorder.account.admits(call.intent, call.effect, depth)

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
            except AnswerPending:
                raise
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
        self,
        handler: Responder,
        effect: Effect,
        event: RecordedEvent,
        batch: Batch,
        firing: OpenFiring | None = None,
    ) -> bool:
        """Answer an intent; `firing` is what the ledger holds of this firing already, if anything."""
        recorder, world = self.recorder, self.recorder.world
        reasons = self._reasons_against_call(effect, event)
        if reasons:
            return self._exhaust(reasons, event, 0)
        # The intent is on disk before its call starts.
        self.save()
        answer = self.effects.answer(event, handler, world, recorder.account.seconds_left())
        if answer is None:
            return self._exhaust(["max_wall_seconds"], event, 0)
        output = make_event(effect.answer_type, "", "", [event.id], answer)
        if firing is None:
            complete(batch, collect(batch, handler, [output], event) or 0)
        else:
            count = collect(batch, handler, [output], event, firing.outputs) or 0
            batch.close(firing.fired, count)
        # What was paid for is recorded, whatever it cost; the account then stops the run.
        reasons = [each for each in self._reasons_against(batch, 0.0) if each != "max_wall_seconds"]
        if reasons:
            if effect.keep is not None:
                effect.keep(event, answer, world)
            return self._exhaust(reasons, event, batch.depth)
        self._record(batch, event)
        # Were it in the cache first, a process that died now would go on with a cached answer.
        self.save()
        effect.remember(event, exact(answer), world)
        reasons = recorder.account.reasons_against(0, 0)
        return self._exhaust(reasons, event, 0) if reasons else True

    def _reasons_against_call(self, effect: Effect, intent: RecordedEvent) -> list[str]:
        """Return the limits that forbid to answer an intent now; if none does, reserve its cost."""
        account = self.recorder.account
        if account.is_unlimited or self.effects.is_flying(intent):
            return []
        account.release(intent.id)
        recalled = effect.recall(intent, self.recorder.world)
        if recalled is not None:
            charge, is_guess = charge_of(effect.answer_type, recalled), False
        else:
            charge, is_guess = account.worst_case(intent, effect)
        reasons = account.reasons_against_call(charge)
        if reasons and account.has_reserved:
            # Of what is in flight the price is known when it is done.
            self.effects.settle(account, account.seconds_left())
            reasons = account.reasons_against_call(charge)
        # Nothing is paid for that could not be recorded.
        reasons += account.reasons_against(3, self.recorder.depth_of(intent.position) + 1)
        if not reasons:
            account.reserve(intent.id, charge, is_guess=is_guess)
        return list(dict.fromkeys(reasons))

    def _commit(self, batch: Batch, trigger: RecordedEvent) -> bool:
        if self._reasons_against(batch, batch.cost_usd):
            return self._exhaust_by(batch, batch.cost_usd, trigger)
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
            try:
                if handler.effect is not None:
                    trigger = firing.trigger
                    return self._fire_effect(handler, handler.effect, trigger, batch, firing)
                count = self._repeat(handler, firing, batch)
            except AnswerPending:
                raise
            except (Exception, SystemExit) as error:
                self._fail(handler, firing.trigger, error)
                raise
        batch.close(firing.fired, count)
        return self._commit(batch, firing.trigger)

    def _repeat(self, handler: Responder, firing: OpenFiring, batch: Batch) -> int:
        outputs = handler.fn(firing.trigger, self._world_before(firing.fired.position))
        return collect(batch, handler, outputs, firing.trigger, firing.outputs) or 0

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
        # Nobody would wait for the answers of calls that start now.
        self._may_call = False
        is_told = recorder.last_type == BUDGET_EXHAUSTED
        if not is_told or recorder.account.last_reasons != reasons:
            batch = Batch(recorder, trigger, "budget")
            data = recorder.account.exhausted_data(reasons, depth)
            event = make_event(BUDGET_EXHAUSTED, "", "budget", [], data)
            batch.add(event, f"exhausted-{recorder.number}")
            self._record(batch)
        recorder.save()
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
        batch.add(failed, f"failed-{self.recorder.number}")
        self._record(batch)
        self.save()
        self.recorder.account.release(event.id)
        if outcome == RETRIED:
            self.effects.forget(event)
            left = self.recorder.account.seconds_left()
            wait = handler.retry.seconds_after(attempt)
            time.sleep(wait if left is None else max(min(wait, left), 0))
        return outcome
