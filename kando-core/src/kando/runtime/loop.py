"""The loop: a cursor walks the ledger, and responders handle each event until the run is idle.

The ledger is the queue. `Loop.run` dispatches its events in order:

1. `Handlers` returns the responders of an event in firing order; edge logic comes first.
2. `_fire` lets one responder handle the event. The outputs of a plain responder are collected into
   a `Batch` (see `kando.runtime.firing`); an executor answers an intent (see
   `kando.runtime.intents`).
3. `Committer.commit` checks the batch against the budget and records it as one step: the `Recorder`
   applies it to the world and appends it to the ledger, and the `Cursor` queues its events.
4. After the last responder the cursor advances to the next event.

Between two firings `_poll` records external events at the tail: timers that are due, then messages
from the inbox, then the deadlines and reminders of questions that are still open. So all events are handled first in, first out, whatever produced them.

The loop stops when every event is dispatched and the inbox is empty, when a limit of the budget
would be exceeded, when the run is paused or cancelled, or when a responder raises. The ledger
alone then holds all pending work: `recover` shows all its events to the cursor and the recorder, or
those after the state of a snapshot, which `restore` restores (see `kando.runtime.snapshots`); and `run`
first completes a firing that the ledger holds only in part and answers the intents that
the cursor has passed.
"""

# long: the path of an event from the cursor to the ledger, in one place; every step is short.

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import islice

from kando.responders.base import AnswerLater, AnswerPending, Effect, Responder
from kando.runtime.approval_gate import GATE, ApprovalGate
from kando.runtime.batch import Batch
from kando.runtime.commit import Committer
from kando.runtime.cursor import OpenFiring
from kando.runtime.effects import Effects
from kando.runtime.firing import collect, is_productive, missing_responder, repeat
from kando.runtime.handlers import Handlers
from kando.runtime.inbox import Inbox
from kando.runtime.intents import Intents
from kando.runtime.messages import Messages
from kando.runtime.parking import Parking
from kando.runtime.recorder import Recorder
from kando.runtime.recovery import RecoveryState, place_before, recover
from kando.runtime.timers import due_reminders, due_timers
from kando.schema.events import (
    APPROVAL_GRANTED,
    EXPIRES,
    KIT_LOADED,
    PARKED,
    PERSON_ASKED,
    RAISED,
    KandoEvent,
    RecordedEvent,
)
from kando.schema.firing import Firing
from kando.world.graph import World
from kando.world.projection import due_at

__all__ = ["Loop"]

#: Seconds between two polls of timers and inbox.
POLL_INTERVAL = 0.05


class Loop:
    """Works on one ledger.

    Args:
        recorder: records events at the tail of the ledger.
        handlers: the responders.
        effects: the calls of the run.
        gate: holds what needs an approval.
        save_interval: recorded events are saved after this many seconds at the latest.
        inbox: messages to the run; one of the process alone if None.
        checks_purity: refuse plain responders that are not pure.

    Attributes:
        committer: records the firings.
        intents: makes the calls.
        messages: records what others deliver to the run.
        parking: checks which firings a person may park.
    """

    def __init__(
        self,
        recorder: Recorder,
        handlers: Handlers,
        effects: Effects,
        gate: ApprovalGate,
        save_interval: float,
        inbox: Inbox | None = None,
        *,
        checks_purity: bool = False,
    ) -> None:
        self.recorder = recorder
        self.handlers = handlers
        self.gate = gate
        self.inbox = inbox or Inbox()
        self.committer = Committer(recorder, handlers, save_interval)
        self.committer.on_external = self._observe_external
        self.cursor = self.committer.cursor
        self.intents = Intents(self.committer, handlers, effects, gate, self.inbox)
        self.parking = Parking(recorder, self.cursor, handlers, gate)
        self.messages = Messages(self.committer, gate, self.inbox, self.parking)
        self.intents.may_start = self.messages.may_start_calls
        self.intents.before_answer = self.messages.read_ordinary
        self.messages.hold_calls = lambda is_held: effects.hold(is_held=is_held)
        self.checks_purity = checks_purity
        self._polled_at = float("-inf")
        self._backlog = 0

    def recover(self, items: Iterable[RecordedEvent | Firing]) -> None:
        """Restore the state of the run from the events and firings of its ledger.

        Args:
            items: all of them, or those after the state that `restore` restored.
        """
        recover(self.cursor, self.recorder, items, self._recover_external)
        self.intents.recover()
        self._backlog = self.recorder.length

    def _recover_external(self, event: RecordedEvent) -> None:
        self._observe_external(event)
        self.intents.observe_by_hand(event)

    def _observe_external(self, event: RecordedEvent) -> None:
        if event.type == KIT_LOADED:
            self.cursor.observe_kit(event.position, event.data)
        if (place := place_before(event, self.recorder)) is not None:
            self.cursor.show_silent(*place)

    def state(self) -> RecoveryState:
        """Return the state that `recover` would restore from the saved events."""
        return RecoveryState(
            self.cursor.state(),
            self.recorder.state(),
            self.recorder.account.state(),
            self.gate.state(self.cursor.shown_at),
            dict(self.intents.by_hand),
        )

    def restore(self, state: RecoveryState, world: World, lookups: Mapping[str, bytes]) -> None:
        """Restore what `state` returned. A loop that this raises for cannot be used.

        Args:
            state: of the ledger's first events.
            world: of the same events.
            lookups: see `Recorder.lookups`.

        Raises:
            ValueError: it does not match the ledger.
            NotRestorable: the ledger must be read.
        """
        at, start = self.recorder.at_recorded, state.cursor.shown_at
        if not 0 <= start <= state.recorder.length:
            msg = f"its cursor is at {start}"
            raise ValueError(msg)
        self.recorder.restore_state(state.recorder, world, lookups)
        self.recorder.account.restore(state.account)
        queue = islice(self.recorder.ledger.read(start), state.recorder.length - start)
        self.cursor.restore(state.cursor, queue, at)
        self.gate.restore(state.gate, at)
        self.intents.by_hand = dict(state.by_hand)

    def run(self) -> bool:
        """Work until the run is idle.

        Returns:
            False if a limit of the budget, a pause or a cancellation stopped it; pending work stays
            pending.

        Raises:
            Exception: the exception of a responder, after ``responder.failed`` is recorded.
        """
        self.intents.may_call = self.committer.is_exhausted = False
        # Before any call: a run that was cancelled makes none, and a given answer is not asked for.
        if not self.messages.read():
            return False
        self.intents.may_call = True
        try:
            return self._run()
        except AnswerPending:
            # It waits for one answer; no message, timer or deadline has to wait with it.
            self.messages.has_caught_up = True
            self._poll(force=True)
            raise

    def end_cancelled(self, patience_seconds: float) -> None:
        """Record what the begun calls of a cancelled run return, and clean up after it.

        Args:
            patience_seconds: how long to wait for a call that has no time limit of its own.
        """
        # Not at the top: few runs are cancelled.
        from kando.runtime.clean_up import clean_up

        self.messages.read_failed_attempts()
        self.intents.record_returned(patience_seconds)
        clean_up(self.committer, self.intents, self.handlers, self.gate)

    def _run(self) -> bool:
        if self.cursor.open_firing is not None and not self._finish(self.cursor.open_firing):
            return False
        if not self._answer_skipped_intents():
            return False
        cursor = self.cursor
        while True:
            event = cursor.current
            if event is not None:
                if not self._dispatch(event):
                    return False
                cursor.advance()
            elif not self._poll(force=True):
                return False
            elif cursor.current is None:
                return True

    def _poll(self, *, force: bool = False) -> bool:
        """Record due timers and messages of the inbox; False if the run must stop.

        Unless `force` is given, this does nothing if the last poll was less than `POLL_INTERVAL` ago.
        """
        # The events that the ledger held at the start may have been handled before, by firings
        # without outputs. Repeating these must not see later events, so external events are
        # recorded only after the backlog, and then at once, not when the interval has passed.
        is_first = False
        if not self.messages.has_caught_up:
            current = self.cursor.current
            is_first = current is None or current.position >= self._backlog
            self.messages.has_caught_up = is_first
        now = time.monotonic()
        if force or is_first or now - self._polled_at >= POLL_INTERVAL:
            self._polled_at = now
            timers = self.cursor.pending.timers.values()
            if self.messages.has_caught_up and not self._record_due(timers):
                return False
            # A decision that was made in time counts: it is in the inbox before the deadline passes.
            if not self.messages.read():
                return False
            if self.messages.has_caught_up and not self._record_due(self._deadlines()):
                return False
            if self.messages.has_caught_up and not self._record_reminders():
                return False
        return self.cursor.pending.halted_by is None

    def _record_due(self, waiting: Iterable[RecordedEvent]) -> bool:
        return self._deliver_own(due_timers(waiting, self.recorder.clock()))

    def _record_reminders(self) -> bool:
        """Record the reminders of questions that are due, the replies and deadlines being recorded."""
        cursor, now = self.cursor, self.recorder.clock()
        return self._deliver_own(due_reminders(cursor.questions, cursor.pending.intents, now))

    def _deliver_own(self, events: Iterable[KandoEvent]) -> bool:
        return all(self.committer.deliver([each], is_own=True) for each in events)

    def waiting_for_time(self) -> list[datetime]:
        """Return when timers, deadlines, and reminders of questions to people are due."""
        reminders = (each.remind_at for each in self.cursor.questions.values())
        waiting = [*self.cursor.pending.timers.values(), *self._deadlines()]
        return [*map(due_at, waiting), *(at for at in reminders if at is not None)]

    def _deadlines(self) -> list[RecordedEvent]:
        intents = self.cursor.pending.intents.values()
        questions = (each for each in intents if each.type == PERSON_ASKED)
        return [*self.gate.deadlines(), *(each for each in questions if EXPIRES in each.data)]

    def has_pending_work(self) -> bool:
        """Whether `run` would record anything; the loop cannot be used afterwards."""
        cursor = self.cursor
        if cursor.open_firing is not None or self._unjudged_intents() or self._skipped_intents():
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
            if subject is None:
                continue
            if handler.effect is None:
                # Before the poll: saving starts calls, which reads messages, and one may pause the run.
                self.committer.save_answers()
            if not self._poll():
                return False
            # A message may have parked the firing just now.
            if self.cursor.parked and self.cursor.is_parked(event.id, (handler.name, *handler.was)):
                continue
            if not self._fire(handler, event, subject):
                return False
        return True

    def _subject_of(self, handler: Responder, event: RecordedEvent) -> RecordedEvent | None:
        """Return the event that a responder handles when `event` is dispatched, or None.

        This is `event` itself, but an executor handles the intent that an approval releases, and
        not an intent that waits for an approval.
        """
        if handler.effect is None:
            # `Handlers.for_event` has compared the types of the event.
            is_typed = handler.object_type is not None or handler.relation_type is not None
            return event if not is_typed or self.recorder.is_handled(handler, event) else None
        intent: RecordedEvent | None = event
        if event.type == APPROVAL_GRANTED:
            intent = self.gate.released_by(event)
        elif self.gate.is_held(event.id):
            intent = None
        return (
            intent if intent is not None and self.intents.executor_of(intent) is handler else None
        )

    def _remaining(self, event: RecordedEvent) -> Sequence[Responder]:
        handlers = self.handlers.for_event(event, self.recorder.world)
        return self.cursor.remaining(event, handlers)

    def _fire(self, handler: Responder, event: RecordedEvent, subject: RecordedEvent) -> bool:
        """Let a responder handle an event; `subject` is as `_subject_of` returned it."""
        while True:
            if handler.effect is None:
                batch = Batch(self.recorder, event, handler.name)
            else:
                batch = Batch(self.recorder, event, handler.name, is_call=True)
            batch.silent = self.cursor.hidden_silent(event)
            try:
                if handler.effect is None:
                    return self._fire_plain(handler, event, batch)
                return self.intents.answer(handler, handler.effect, subject, batch, event)
            except AnswerLater:
                # It is open like a question to a person, until its answer is delivered.
                return True
            except AnswerPending:
                raise
            except (Exception, SystemExit) as error:
                outcome = self.committer.fail(handler, event, error, subject)
                if outcome is None:
                    return False
                if outcome == RAISED:
                    raise
                if outcome == PARKED:
                    return True

    def _fire_plain(self, handler: Responder, event: RecordedEvent, batch: Batch) -> bool:
        if self.checks_purity:
            # Not at the top: a debug mode needs it, and it imports sockets and random generators.
            from kando.runtime.purity import run_checked

            world = self.recorder.world
            work = partial(self._collect, handler, event, batch)
            count = run_checked(handler.name, world, work)
        else:
            count = self._collect(handler, event, batch)
        # A firing without outputs records nothing, unless an earlier attempt is recorded as failed.
        if count == 0 and not self.cursor.has_failed(event.id, handler.name):
            # The gate judges again after a resume: a later version's policies may ask.
            if handler.name != GATE:
                self.cursor.note_silent(event, handler.name, self.recorder.length)
            return True
        if count is None:
            return self.committer.exhaust_by(batch, event)
        batch.close()
        return self.committer.commit(batch, event)

    def _collect(self, handler: Responder, event: RecordedEvent, batch: Batch) -> int | None:
        outputs = self.gate.outputs(handler, event, self.recorder.world)
        if self.recorder.account.is_unlimited:
            return collect(batch, handler, outputs, event)
        within = partial(self._is_within_limits, batch)
        return collect(batch, handler, outputs, event, is_within_limits=within)

    def _is_within_limits(self, batch: Batch) -> bool:
        return not self.committer.reasons_against(batch, batch.cost_usd, more=1)

    def _finish(self, firing: OpenFiring) -> bool:
        """Repeat a firing that the ledger holds in part, and record the rest of it."""
        handler = self.handlers.get(firing.responder)
        is_call = firing.fired.data.get("call") is True
        is_call = is_call if handler is None else handler.effect is not None
        batch = Batch(self.recorder, firing.trigger, firing.responder, is_call=is_call)
        if firing.is_whole(is_call=is_call):
            count = len(firing.outputs)
        elif self._ends_without_call(firing, handler):
            self.cursor.leave_open_firing()
            return True
        elif handler is None:
            raise missing_responder(self.recorder.source, firing)
        else:
            try:
                if handler.effect is not None:
                    return self._finish_call(handler, handler.effect, firing, batch)
                count = self._repeat(handler, firing, batch)
            except AnswerLater:
                self.cursor.leave_open_firing()
                return True
            except AnswerPending:
                raise
            except (Exception, SystemExit) as error:
                if self.committer.fail(handler, firing.trigger, error, firing.trigger) is None:
                    return False
                raise
        batch.complete(firing.fired, count)
        return self.committer.commit(batch, firing.trigger)

    def _ends_without_call(self, firing: OpenFiring, handler: Responder | None) -> bool:
        """Whether a cut firing makes no call: its request is answered by hand, or it has no executor.

        Without its executor, the request waits like any other.
        """
        intents = self.cursor.pending.intents
        is_call = handler is not None and handler.effect is not None
        if not is_call and firing.fired.data.get("call") is not True:
            return handler is None and firing.trigger.id in intents
        return handler is None or self.gate.intent_of(firing.trigger).id not in intents

    def _finish_call(
        self, handler: Responder, effect: Effect, firing: OpenFiring, batch: Batch
    ) -> bool:
        trigger, refusal = firing.trigger, None
        intent = self.gate.intent_of(trigger)
        if not self.gate.may_call(intent.id):
            # The approval is in the parent's part of the ledger and does not count here.
            reason = "its approval was given before the fork"
            refusal = self.gate.denial(intent, reason)
        return self.intents.answer(handler, effect, intent, batch, trigger, firing, refusal)

    def _repeat(self, handler: Responder, firing: OpenFiring, batch: Batch) -> int:
        before = islice(self.recorder.ledger.read_all(), firing.fired.position)
        return repeat(batch, handler, firing, before, self.gate, self.recorder.world.context)

    def _answer_skipped_intents(self) -> bool:
        """Answer the intents that the cursor has passed because no executor could answer them."""
        for intent in self._unjudged_intents():
            if not self._fire(self.handlers.get_known(GATE), intent, intent):
                return False
        for handler, intent in self._skipped_intents():
            is_open = self.intents.executor_of(intent) is handler
            if is_open and not self._fire(handler, intent, intent):
                return False
        return True

    def _unjudged_intents(self) -> list[RecordedEvent]:
        """Return the intents that the cursor has passed and that a policy of today asks about."""
        here = self._position()
        intents = self.cursor.pending.intents.values()
        return [
            intent
            for intent in intents
            if intent.position < here and self.gate.needs_verdict(intent.id)
        ]

    def _position(self) -> int:
        """Return the position of the event that is dispatched next."""
        current = self.cursor.current
        return self.recorder.length if current is None else current.position

    def _skipped_intents(self) -> list[tuple[Responder, RecordedEvent]]:
        here = self._position()
        return [
            (handler, intent)
            for intent in map(self.gate.as_sent, self.cursor.pending.intents.values())
            if intent.position < here
            if self.gate.may_call(intent.id, before=here)
            if (handler := self.intents.executor_of(intent)) is not None
        ]
