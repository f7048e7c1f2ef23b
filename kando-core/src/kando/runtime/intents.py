"""Intents: calls to the outside that the ledger asks for, from the request to the answer.

An intent (``llm.request`` or ``tool.called``) passes through `Intents` like this:

1. `want` plans a call for each recorded intent, unless the approval gate holds the intent or its
   answer is known already.
2. `start_calls` starts planned calls after their intents are saved, as far as the budget can reserve
   their worst case.
3. Calls run in parallel, in the threads of `kando.runtime.effects.Effects`. When the loop dispatches
   an intent, its executor fires: `answer` waits for the result, records it and releases the
   reservation. So answers are recorded in the order of the intents.

Every answer takes this path, whichever source it has: a call of this process, another process that
delivered it to the inbox, the cache, or the parents of a branch. Only an answer by hand is a message
(see `kando.runtime.messages`): then no call is made, or, if one was begun, `drop_answers` records what
it used.
"""

# long: every way from a request to its recorded answer, in one place.

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from kando.errors import ConcurrencyError, StoreError
from kando.responders.base import AnswerLater, AnswerPending, Effect, Responder
from kando.runtime.answers import late_failure, recordable
from kando.runtime.approval_gate import ApprovalGate
from kando.runtime.batch import Batch
from kando.runtime.call_pool import Call
from kando.runtime.commit import Committer
from kando.runtime.cursor import OpenFiring
from kando.runtime.effects import Effects
from kando.runtime.firing import collect
from kando.runtime.handlers import Handlers
from kando.runtime.inbox import Inbox
from kando.schema.events import (
    APPROVAL_GRANTED,
    PARKED,
    RAISED,
    RUN_ENDED,
    RecordedEvent,
    make_event,
)
from kando.views.pending import ANSWERS, INTENTS, answered_by, is_by_hand
from kando.views.spending import Accounts, charge_of

__all__ = ["Intents"]

#: Field of the calls of a conversation.
_IN_CONVERSATION = "conversation"


class Intents:
    """Makes the calls of a run, and records their answers.

    Args:
        committer: records the answers.
        handlers: the responders; executors among them answer intents.
        effects: the calls of the run.
        gate: holds what needs an approval.
        inbox: holds the answers that others deliver to the run.

    Attributes:
        may_call: whether calls may start: the loop runs and will wait for their answers.
        may_start: called before calls start; False if a message to the run forbids it.
        before_answer: called before the answer of a call in a conversation is recorded.
        by_hand: who answered a request by hand, by intent.
        lineage: returns the answer of a branch's parents to an equal call, or None.
    """

    def __init__(
        self,
        committer: Committer,
        handlers: Handlers,
        effects: Effects,
        gate: ApprovalGate,
        inbox: Inbox,
    ) -> None:
        self.effects = effects
        self.may_call = False
        self.may_start: Callable[[], bool] = lambda: True
        self.before_answer: Callable[[], object] = lambda: None
        self.by_hand: dict[str, str] = {}
        # Whether calls may start, by the messages that were read when calls were started last.
        self._read_result: bool | None = None
        self.lineage: Callable[[RecordedEvent], dict[str, Any] | None] = lambda intent: None
        self._committer = committer
        self._recorder = committer.recorder
        self._cursor = committer.cursor
        self._handlers = handlers
        self._gate = gate
        self._inbox = inbox
        effects.reserved_for = self._recorder.account.reserved_for
        committer.on_saved = self.start_calls
        committer.on_failed = self.discard
        committer.on_recorded = self.want if handlers.has_executors else self._observe

    def want(self, events: Sequence[RecordedEvent]) -> bool:
        """Plan the calls of recorded intents; return whether calls wait for them to be saved."""
        for event in events:
            if event.type in ANSWERS:
                self.observe_by_hand(event)
            elif event.type in INTENTS or event.type == APPROVAL_GRANTED:
                self.plan(event)
        return self.effects.has_waiting

    def _observe(self, events: Sequence[RecordedEvent]) -> bool:
        for event in events:
            if event.type in ANSWERS:
                self.observe_by_hand(event)
        return False

    def observe_by_hand(self, event: RecordedEvent) -> None:
        """Process an event from outside: a call whose request it answers is not made any more."""
        if event.type not in ANSWERS:
            return
        for intent_id in answered_by(event):
            if is_by_hand(event.data):
                self.by_hand.setdefault(intent_id, event.actor)
            if self.effects.withdraw(intent_id):
                self._recorder.account.release(intent_id)

    def start_calls(self) -> None:
        """Start the planned calls, whose intents are durable."""
        may_call = self.may_call and not self._committer.is_exhausted
        if may_call and self.effects.has_waiting:
            self._read_result = self.may_start()
            if self._read_result:
                self.effects.start(self._reserve)

    def discard(self, intent: RecordedEvent) -> None:
        """Discard the call of an intent and its reservation, after it failed."""
        self._recorder.account.release(intent.id)
        self.effects.discard(intent.id)

    def _reserve(self, call: Call) -> bool:
        depth = self._recorder.depth_of(call.intent.position) + 1
        return self._recorder.account.try_reserve(call.intent, call.effect, depth)

    def plan(self, event: RecordedEvent) -> None:
        """Plan the call of an intent, or of the intent that a grant releases, if it may be made."""
        intent: RecordedEvent | None = event
        if event.type == APPROVAL_GRANTED:
            intent = self._gate.released_by(event)
        elif not self._gate.may_call(event.id):
            intent = None
        handler = self.executor_of(intent) if intent is not None else None
        if intent is None or handler is None or handler.effect is None:
            return
        known, world = self.known_answer(intent), self._recorder.world
        answer = self.effects.plan(intent, handler, world, known)
        if answer is not None:
            self._reserve_recalled(intent, handler.effect, answer)

    def executor_of(self, intent: RecordedEvent) -> Responder | None:
        """Return the executor that is to answer an intent now; None if there is nothing to answer."""
        if intent.id not in self._cursor.pending.intents:
            return None
        return self._handlers.executor_of(intent, self._recorder.world)

    def _reserve_recalled(
        self, intent: RecordedEvent, effect: Effect, answer: dict[str, Any]
    ) -> None:
        """Reserve the cost of an answer that is paid for and not yet recorded."""
        charge = charge_of(effect.answer_type, answer)
        if charge != Accounts():
            self._recorder.account.reserve(intent.id, charge)

    def keep(self, call: Call, answer: dict[str, Any]) -> None:
        """Keep the answer of a call whose turn to be recorded has not come."""
        effect, intent = call.effect, call.intent
        answer = recordable(answer, intent, self._recorder.max_payload_bytes)
        event = make_event(effect.answer_type, "", call.executor, [intent.id], answer)
        self._inbox.keep(intent.id, event)
        if not self._inbox.is_durable and effect.keep is not None:
            effect.keep(intent, answer, self._recorder.world)
            self.effects.note_cached()
        effect.on_durable(intent)

    def known_answer(self, intent: RecordedEvent) -> dict[str, Any] | None:
        """Return the answer that is kept here, was delivered by another process, or a parent got.

        A delivered answer counts if the inbox was read since, which happens before calls start.
        """
        return self._inbox.known_answers().get(intent.id) or self.lineage(intent)

    def asks_on_branch(self, intent: RecordedEvent) -> bool:
        """Whether a call would write on a branch, and no parent of it has made the call."""
        handler = self._handlers.executor_of(intent, self._recorder.world)
        effect = handler.effect if handler is not None else None
        return effect is not None and effect.writes(intent) and self.lineage(intent) is None

    def recover(self) -> None:
        """Plan the calls of the intents that the ledger leaves open."""
        self._inbox.answers()
        for intent in self.in_order():
            self.plan(intent)

    def in_order(self) -> list[RecordedEvent]:
        """Return the open intents as they are sent, in the order in which they may be answered."""
        intents = map(self._gate.as_sent, self._cursor.pending.intents.values())
        return sorted(intents, key=self._gate.released_at)

    def open_calls(self) -> list[RecordedEvent]:
        """Return the open intents whose calls may run now, in parallel.

        No call starts. An intent is returned again until it is answered, so that a call which
        another process makes keeps its reservation.
        """
        if self._committer.is_exhausted:
            return []
        intents, account = self.in_order(), self._recorder.account
        self.effects.close()
        for intent in intents:
            account.release(intent.id)
        for intent in intents:
            self.plan(intent)
        calls = [call.intent for call in self.effects.startable(self._reserve)]
        for intent in calls:
            account.release(intent.id)
        return calls

    def record_returned(self, patience_seconds: float) -> None:
        """Record the results of the calls that were begun, when the run stops for good.

        Args:
            patience_seconds: how long to wait for a call that has no time limit of its own.
        """
        results = {c.intent.id: each for c, each in self.effects.returned(patience_seconds)}
        results = {**self._inbox.answers(), **results}
        self._record_late(results)
        for intent in self.in_order():
            handler, result = self.executor_of(intent), results.get(intent.id)
            if handler is None or handler.effect is None:
                continue
            if result is None and (result := handler.effect.cancel(intent)) is None:
                continue
            if isinstance(result, AnswerPending):
                continue
            if isinstance(result, BaseException):
                self._committer.record_failure(handler, intent, result, intent, RAISED)
                continue
            batch = Batch(self._recorder, intent, handler.name, is_call=True)
            self._record_answer(handler, handler.effect, intent, batch, intent, result)
        self._committer.save()
        self._inbox.drop_answers(self._cursor.pending.intents)

    def drop_answers(self, patience_seconds: float) -> None:
        """Take the answers of calls whose requests are answered; charge those that came too late.

        Args:
            patience_seconds: how long to wait for a call that has no time limit of its own.
        """
        returned = self.effects.returned(patience_seconds, self.by_hand)
        results = {call.intent.id: each for call, each in returned}
        self._record_late({**self._inbox.answers(), **results})
        self._inbox.drop_answers(self._cursor.pending.intents)

    def _record_late(self, results: Mapping[str, dict[str, Any] | BaseException]) -> None:
        """Record what was used by calls that returned after their requests were answered by hand."""
        recorder = self._recorder
        for intent_id in [each for each in results if each in self.by_hand]:
            intent, result = recorder.find(intent_id), results[intent_id]
            if intent is None or isinstance(result, AnswerPending):
                continue
            handler = self._handlers.executor_of(intent, recorder.world)
            name = handler.name if handler is not None else INTENTS[intent.type]
            failed = late_failure(intent, name, result, self.by_hand[intent_id])
            if recorder.position_of(failed.id) is None:
                batch = Batch(recorder, is_own=True)
                batch.add(failed)
                self._committer.record(batch)
            recorder.account.release(intent_id)
            self._committer.save()
            if handler is not None and handler.effect is not None and isinstance(result, dict):
                # The model's answer may serve another request.
                handler.effect.remember(intent, result, recorder.world)
                self.effects.note_cached()
                handler.effect.on_durable(intent)

    def answer_within(self, intent: RecordedEvent, seconds: float) -> None:
        """Answer an intent of the clean-up; if its call fails or takes longer, it is parked.

        Args:
            intent: whose call may be made.
            seconds: that are left.

        Raises:
            AnswerPending: another process makes the call.
        """
        handler = self.executor_of(intent)
        if handler is None or handler.effect is None:
            return
        try:
            if seconds <= 0 or (result := self._result_of(intent, handler, seconds)) is None:
                msg = f"the time to clean up was over before {intent.id} was answered"
                raise TimeoutError(msg)
        except AnswerLater:
            return
        except (AnswerPending, ConcurrencyError, StoreError):
            raise
        except (Exception, SystemExit) as error:
            self._committer.record_failure(handler, intent, error, intent, PARKED)
            return
        batch = Batch(self._recorder, intent, handler.name, is_call=True)
        self._record_answer(handler, handler.effect, intent, batch, intent, result)

    def _result_of(
        self,
        intent: RecordedEvent,
        handler: Responder,
        seconds: float | None,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> dict[str, Any] | None:
        world = self._recorder.world
        return self.effects.answer(intent, handler, world, seconds, is_wanted, self._before_call)

    def _before_call(self) -> None:
        # The intent is on disk before its call starts.
        self._read_result = None
        self._committer.save()

    def _may_start_now(self) -> bool:
        """Read the messages, unless they were read to start calls just now; False if one forbids it."""
        found = self._read_result if self._read_result is not None else self.may_start()
        # A message that is recorded saves, which may set it once more.
        self._read_result = None
        return found

    def record_lost(self, patience_seconds: float, outcome: str) -> None:
        """Record the failures of the calls in flight that may have been paid for, when the run stops.

        Args:
            patience_seconds: how long to wait for a call that has no time limit of its own.
            outcome: of these failures, as in ``responder.failed``.
        """
        errors = self.effects.failures(patience_seconds)
        for intent in self.in_order() if errors else ():
            handler, error = self.executor_of(intent), errors.get(intent.id)
            if handler is not None and error is not None:
                self._committer.record_failure(
                    handler, intent, error, intent, outcome, is_in_turn=False
                )

    def answer(
        self,
        handler: Responder,
        effect: Effect,
        intent: RecordedEvent,
        batch: Batch,
        trigger: RecordedEvent,
        firing: OpenFiring | None = None,
        refusal: dict[str, Any] | None = None,
    ) -> bool:
        """Wait for the answer to an intent and record it; False if the run must stop.

        Args:
            handler: the executor.
            effect: of the executor.
            intent: the request.
            batch: of the firing.
            trigger: the intent, or the approval that releases it.
            firing: the recorded part of this firing, if there is one.
            refusal: the answer, if no call may be made.

        Raises:
            Exception: the exception of the call.
        """
        account = self._recorder.account
        answer = refusal
        if refusal is None:
            reasons = self._reasons_against_call(effect, intent)
            if reasons:
                if effect.answer_type == RUN_ENDED and account.has_reserved:
                    # Child runs that wait hold what it needs; it starts when one of them has ended.
                    raise AnswerLater(intent.id)
                is_halted = self._cursor.pending.halted_by is not None
                return not is_halted and self._committer.exhaust(reasons, intent, 0)

            def is_wanted() -> bool:
                # A message may pause the run or answer the request: before the call, or during it.
                return self._may_start_now() and self.executor_of(intent) is handler

            self._read_result = None
            answer = self._result_of(intent, handler, account.seconds_left(), is_wanted)
        if answer is None:
            if not self.may_start():
                return False
            if self.executor_of(intent) is not handler:
                return True
            return self._committer.exhaust(["max_wall_seconds"], intent, 0)
        if firing is None:
            if _IN_CONVERSATION in intent.data:
                # A message that came before the call returned is recorded before its answer.
                self.before_answer()
            # Messages may have been recorded since the firing began: it follows them.
            batch = Batch(self._recorder, trigger, handler.name, is_call=True)
            batch.silent = self._cursor.hidden_silent(trigger)
        return self._record_answer(handler, effect, intent, batch, trigger, answer, firing)

    def _record_answer(
        self,
        handler: Responder,
        effect: Effect,
        intent: RecordedEvent,
        batch: Batch,
        trigger: RecordedEvent,
        answer: object,
        firing: OpenFiring | None = None,
    ) -> bool:
        """Record the answer of an intent, from any source; False if a limit stops the run."""
        committer, recorder = self._committer, self._recorder
        was_called = self.effects.is_in_flight(intent)
        answer = recordable(answer, intent, recorder.max_payload_bytes)
        cause = list(dict.fromkeys((intent.id, trigger.id)))
        output = make_event(effect.answer_type, "", "", cause, answer)
        if firing is None:
            collect(batch, handler, [output], trigger)
            batch.close()
        else:
            batch.complete(firing.fired, collect(batch, handler, [output], trigger, []) or 0)
        # An answer that is paid for is recorded whatever it cost; the account then stops the run.
        against = committer.reasons_against(batch, 0.0)
        if reasons := [each for each in against if each != "max_wall_seconds"]:
            self.keep(Call(intent, handler.name, effect), answer)
            self.effects.discard(intent.id)
            return committer.exhaust(reasons, intent, batch.depth)
        committer.record(batch, trigger)
        self.effects.discard(intent.id)
        # Saved before it is cached: after a crash in between, a cached answer would be recorded.
        committer.when_durable(partial(self._remember, effect, intent, answer))
        if was_called and not self.effects.has_returned():
            committer.save()
        else:
            self.effects.note_answered(intent, effect, recorder.world)
            if was_called:
                # The answers that arrived with it follow at once, and are saved together with it.
                committer.save_soon()
        if self._cursor.cancelled is not None:
            return False
        reasons = recorder.account.reasons_against(0, 0)
        return committer.exhaust(reasons, intent, 0) if reasons else True

    def _remember(self, effect: Effect, intent: RecordedEvent, answer: dict[str, Any]) -> None:
        effect.remember(intent, answer, self._recorder.world)
        self.effects.note_cached()
        effect.on_durable(intent)

    def _reasons_against_call(self, effect: Effect, intent: RecordedEvent) -> list[str]:
        """Return the limits that forbid answering an intent now; if there are none, reserve its cost."""
        account = self._recorder.account
        if account.is_unlimited or self.effects.is_in_flight(intent):
            return []
        account.release(intent.id)
        recalled = None
        # A tool that reads the world runs again, whatever a parent of the branch got.
        if effect.inline(intent) is None:
            recalled = self.effects.recall(intent, effect, self._recorder.world)
            recalled = recalled or self.known_answer(intent)
        if recalled is not None:
            charge, is_guess = charge_of(effect.answer_type, recalled), False
        else:
            charge, is_guess = account.worst_case(intent, effect)
        reasons = account.reasons_against_call(charge)
        if reasons and account.has_reserved:
            # The actual cost of calls in flight is known when they are done.
            self.effects.settle(account, account.seconds_left(), self.may_start)
            reasons = account.reasons_against_call(charge)
        # A call is made only if its answer can be recorded.
        reasons += account.reasons_against(3, self._recorder.depth_of(intent.position) + 1)
        if not reasons:
            account.reserve(intent.id, charge, is_guess=is_guess)
        return list(dict.fromkeys(reasons))
