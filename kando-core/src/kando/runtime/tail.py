"""The tail of a ledger: records batches, keeps the limits of the budget, and answers intents.

`Tail` is the writing half of `kando.runtime.loop.Loop`. An intent (``llm.request`` or
``tool.called``) passes through it like this:

1. `_record` gives a batch to the recorder and the cursor, and plans a call for each intent in it,
   unless the approval gate holds the intent or its answer is known already (`_plan_call`).
2. `save` appends the recorded events to the ledger, and only then starts planned calls, as far as
   the budget can reserve their worst case (`_reserve_call`). So an intent is on disk before its call
   starts.
3. Calls run in parallel, in the threads of `Effects`. When the loop dispatches an intent, its
   executor fires: `_fire_effect` waits for the answer, records it and releases the reservation. So
   answers are recorded in the order of the intents.

A batch that would exceed a limit is not recorded; `_exhaust` records ``budget.exhausted`` instead and
stops the run. Only cost is treated differently: an answer that is paid for is recorded whatever it
costs, and the run stops after it. `_fail` records a firing that raised, and decides whether it is
retried, parked or raised.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from kando.responders.base import Effect, Responder
from kando.runtime.answers import recordable
from kando.runtime.approval_gate import ApprovalGate
from kando.runtime.batch import Batch
from kando.runtime.call_pool import Call
from kando.runtime.cursor import Cursor, OpenFiring
from kando.runtime.effects import Effects
from kando.runtime.failure import failure_data
from kando.runtime.firing import collect, complete
from kando.runtime.handlers import Handlers
from kando.runtime.inbox import Inbox
from kando.runtime.recorder import Recorder
from kando.runtime.snapshots import Snapshots
from kando.schema.events import (
    APPROVAL_GRANTED,
    BUDGET_EXHAUSTED,
    PARKED,
    RAISED,
    RESPONDER_FAILED,
    RESPONDER_FIRED,
    RETRIED,
    RecordedEvent,
    make_event,
)
from kando.views.spending import Accounts, charge_of

__all__ = ["Tail"]

#: Seconds that calls may wait for further intents, to be saved together.
_GATHER_INTERVAL = 0.002


class Tail:
    """Records firings, makes calls and keeps the limits of the budget.

    Args:
        recorder: of the ledger.
        handlers: the responders.
        effects: the calls of the run.
        gate: holds what needs an approval.
        save_interval: recorded events are saved after this many seconds at the latest.
        inbox: what others deliver to the run; one of the process alone if None.
    """

    def __init__(
        self,
        recorder: Recorder,
        handlers: Handlers,
        effects: Effects,
        gate: ApprovalGate,
        save_interval: float,
        inbox: Inbox | None = None,
    ) -> None:
        self.recorder = recorder
        self.handlers = handlers
        self.effects = effects
        self.save_interval = save_interval
        self.cursor = Cursor()
        self.gate = gate
        self.inbox = inbox or Inbox()
        # Set by the runtime if it stores snapshots.
        self.snapshots: Snapshots | None = None
        self._saved_at = time.monotonic()
        # Answers that were delivered and are not recorded yet, by intent.
        self.kept: Mapping[str, dict[str, Any]] = {}
        # Answers of the parents of a branch to equal calls; set by the runtime.
        self.lineage: Callable[[RecordedEvent], dict[str, Any] | None] = lambda intent: None
        # Whether calls may start: the loop is running and will wait for their answers.
        self._may_call = False
        # Whether a limit has stopped the run.
        self.is_exhausted = False

    def save(self) -> None:
        """Make all recorded events durable, and start the calls that waited for that."""
        self.recorder.save()
        self._saved_at = time.monotonic()
        if self._may_call and self.effects.has_waiting and self._may_start_calls():
            self.effects.start(self._reserve_call)
        if self.snapshots is not None:
            self.snapshots.update(self.recorder.world, self.recorder.length)

    def _may_start_calls(self) -> bool:
        """Whether calls may start now, in the light of what others have delivered to the run."""
        return True

    def _reserve_call(self, call: Call) -> bool:
        depth = self.recorder.depth_of(call.intent.position) + 1
        return self.recorder.account.try_reserve(call.intent, call.effect, depth)

    def _record(self, batch: Batch, trigger: RecordedEvent | None = None) -> None:
        events = batch.record()
        if trigger is not None and events[0].type == RESPONDER_FIRED:
            self.cursor.observe_firing(trigger, events, self.handlers.for_type)
        else:
            for event in events:
                self.cursor.observe(event)
        if self.handlers.has_executors:
            for event in events:
                self._plan_call(event)
        wait = _GATHER_INTERVAL if self.effects.has_waiting else self.save_interval
        if time.monotonic() - self._saved_at >= wait:
            self.save()

    def _commit(self, batch: Batch, trigger: RecordedEvent) -> bool:
        is_unlimited = self.recorder.account.is_unlimited
        if not is_unlimited and self._reasons_against(batch, batch.cost_usd):
            return self._exhaust_by(batch, batch.cost_usd, trigger)
        self._record(batch, trigger)
        return True

    def _plan_call(self, event: RecordedEvent) -> None:
        intent: RecordedEvent | None = event
        if event.type == APPROVAL_GRANTED:
            intent = self.gate.released_by(event)
        elif not self.gate.may_call(event.id):
            intent = None
        if intent is not None:
            handler = self.executor_of(intent)
            if handler is not None and handler.effect is not None:
                if (kept := self.known_answer(intent)) is not None:
                    self._reserve_recalled(intent, handler.effect, kept)
                    return
                recalled = self.effects.plan(intent, handler, self.recorder.world)
                if recalled is not None:
                    self._reserve_recalled(intent, handler.effect, recalled)

    def executor_of(self, intent: RecordedEvent) -> Responder | None:
        """Return the executor that is to answer an intent now; None if there is nothing to answer."""
        if intent.id not in self.cursor.pending.intents:
            return None
        return self.handlers.executor_of(intent, self.recorder.world)

    def _reserve_recalled(
        self, intent: RecordedEvent, effect: Effect, answer: dict[str, Any]
    ) -> None:
        """Reserve the cost of an answer that is paid for and not yet recorded."""
        charge = charge_of(effect.answer_type, answer)
        if charge != Accounts():
            self.recorder.account.reserve(intent.id, charge)

    def keep(self, call: Call, answer: dict[str, Any]) -> None:
        """Keep the answer of a call whose turn to be recorded has not come."""
        effect, intent = call.effect, call.intent
        answer = recordable(answer, intent, self.recorder.max_payload_bytes)
        event = make_event(effect.answer_type, "", call.executor, [intent.id], answer)
        self.inbox.keep(intent.id, event)
        if not self.inbox.is_durable and effect.keep is not None:
            effect.keep(intent, answer, self.recorder.world)

    def known_answer(self, intent: RecordedEvent) -> dict[str, Any] | None:
        """Return the answer to an intent that needs no call, as far as it is known already."""
        return self.kept.get(intent.id) or self.lineage(intent)

    def kept_answer(self, intent: RecordedEvent) -> dict[str, Any] | None:
        """Return the answer that is kept here, was delivered by another process, or a parent got."""
        intent_id = intent.id
        if intent_id not in self.kept:
            self.kept = self.inbox.answers()
        return self.kept.get(intent_id) or self.lineage(intent)

    def asks_on_branch(self, intent: RecordedEvent) -> bool:
        """Whether a call would write on a branch, and no parent of it has made the call."""
        handler = self.handlers.executor_of(intent, self.recorder.world)
        effect = handler.effect if handler is not None else None
        return effect is not None and effect.writes(intent) and self.lineage(intent) is None

    def record_returned(self, patience_seconds: float) -> None:
        """Record what the calls that were begun have returned, though the run goes no further.

        Args:
            patience_seconds: how long to wait for a call that has no time limit of its own.
        """
        results = {c.intent.id: each for c, each in self.effects.returned(patience_seconds)}
        results = {**self.inbox.answers(), **results}
        for intent in self.intents_in_order():
            handler, result = self.executor_of(intent), results.get(intent.id)
            if handler is None or handler.effect is None or result is None:
                continue
            if isinstance(result, BaseException):
                self._record_failure(handler, intent, result, intent, RAISED)
                continue
            batch = Batch(self.recorder, intent, handler.name, is_call=True)
            self._record_answer(handler, handler.effect, intent, batch, intent, result)
        self.save()
        self.inbox.drop_answers(self.cursor.pending.intents)

    def intents_in_order(self) -> list[RecordedEvent]:
        """Return the open intents, in the order in which they may be answered."""
        intents = list(self.cursor.pending.intents.values())
        return sorted(intents, key=self.gate.released_at)

    def open_calls(self) -> list[RecordedEvent]:
        """Return the open intents whose calls may run now, in parallel.

        No call starts. An intent is returned again until it is answered, so that a call which
        another process makes keeps its reservation.
        """
        if self.is_exhausted:
            return []
        intents, account = self.intents_in_order(), self.recorder.account
        self.effects.close()
        for intent in intents:
            account.release(intent.id)
        for intent in intents:
            self._plan_call(intent)
        calls = [call.intent for call in self.effects.startable(self._reserve_call)]
        for intent in calls:
            account.release(intent.id)
        return calls

    def _fire_effect(
        self,
        handler: Responder,
        effect: Effect,
        intent: RecordedEvent,
        batch: Batch,
        trigger: RecordedEvent,
        firing: OpenFiring | None = None,
        refusal: dict[str, Any] | None = None,
    ) -> bool:
        """Answer an intent.

        Args:
            handler: the executor.
            effect: of the executor.
            intent: the request.
            batch: of the firing.
            trigger: the intent, or the approval that releases it.
            firing: the recorded part of this firing, if there is one.
            refusal: the answer, if no call may be made.
        """
        world, account = self.recorder.world, self.recorder.account
        answer = refusal
        if refusal is None:
            reasons = self._reasons_against_call(effect, intent)
            if reasons:
                return self._exhaust(reasons, intent, 0)
            # The intent is on disk before its call starts, and what others have said is read.
            self.save()
            if not self.effects.is_in_flight(intent) and not self._may_start_calls():
                return False
            if self.executor_of(intent) is not handler:
                return True
            answer = self.effects.answer(intent, handler, world, account.seconds_left())
        if answer is None:
            return self._exhaust(["max_wall_seconds"], intent, 0)
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
        recorder, world = self.recorder, self.recorder.world
        answer = recordable(answer, intent, recorder.max_payload_bytes)
        cause = list(dict.fromkeys((intent.id, trigger.id)))
        output = make_event(effect.answer_type, "", "", cause, answer)
        if firing is None:
            complete(batch, collect(batch, handler, [output], trigger) or 0)
        else:
            batch.close(firing.fired, collect(batch, handler, [output], trigger, []) or 0)
        # An answer that is paid for is recorded whatever it cost; the account then stops the run.
        reasons = [each for each in self._reasons_against(batch, 0.0) if each != "max_wall_seconds"]
        if reasons:
            self.keep(Call(intent, handler.name, effect), answer)
            return self._exhaust(reasons, intent, batch.depth)
        self._record(batch, trigger)
        # Saved before it is cached: after a crash in between, a cached answer would be recorded.
        self.save()
        effect.remember(intent, answer, world)
        reasons = recorder.account.reasons_against(0, 0)
        return self._exhaust(reasons, intent, 0) if reasons else True

    def _reasons_against_call(self, effect: Effect, intent: RecordedEvent) -> list[str]:
        """Return the limits that forbid answering an intent now; if there are none, reserve its cost."""
        account = self.recorder.account
        if account.is_unlimited or self.effects.is_in_flight(intent):
            return []
        account.release(intent.id)
        is_inline = effect.inline(intent) is not None
        recalled = None if is_inline else effect.recall(intent, self.recorder.world)
        recalled = recalled or self.known_answer(intent)
        if recalled is not None:
            charge, is_guess = charge_of(effect.answer_type, recalled), False
        else:
            charge, is_guess = account.worst_case(intent, effect)
        reasons = account.reasons_against_call(charge)
        if reasons and account.has_reserved:
            # The actual cost of calls in flight is known when they are done.
            self.effects.settle(account, account.seconds_left())
            reasons = account.reasons_against_call(charge)
        # A call is made only if its answer can be recorded.
        reasons += account.reasons_against(3, self.recorder.depth_of(intent.position) + 1)
        if not reasons:
            account.reserve(intent.id, charge, is_guess=is_guess)
        return list(dict.fromkeys(reasons))

    def _reasons_against(self, batch: Batch, cost_usd: float, more: int = 0) -> list[str]:
        events = len(batch.entries) + more
        return self.recorder.account.reasons_against(events, batch.depth, cost_usd)

    def _exhaust_by(self, batch: Batch, cost_usd: float, trigger: RecordedEvent) -> bool:
        reasons = self._reasons_against(batch, cost_usd, more=1)
        return self._exhaust(reasons, trigger, batch.depth)

    def _exhaust(self, reasons: list[str], trigger: RecordedEvent | None, depth: int) -> bool:
        """Record ``budget.exhausted``, unless the last event says the same. Returns False."""
        recorder = self.recorder
        self._may_call = False
        self.is_exhausted = True
        is_recorded = recorder.last_type == BUDGET_EXHAUSTED
        if not is_recorded or recorder.account.last_reasons != reasons:
            batch = Batch(recorder, trigger, "budget", is_own=True)
            data = recorder.account.exhausted_data(reasons, depth)
            event = make_event(BUDGET_EXHAUSTED, "", "budget", [], data)
            batch.add(event, f"exhausted-{recorder.number}")
            self._record(batch)
        recorder.save()
        return False

    def _fail(
        self,
        handler: Responder,
        event: RecordedEvent,
        error: BaseException,
        subject: RecordedEvent,
    ) -> str:
        """Record a failed attempt and return its outcome; before a retry, wait."""
        attempt = self.cursor.failed_attempts(event.id, handler.name) + 1
        outcome = RETRIED
        # A request to exit the process is not retried.
        if isinstance(error, SystemExit):
            outcome = RAISED
        elif attempt >= handler.retry.attempts:
            outcome = PARKED if handler.on_error == "park" else RAISED
        self._record_failure(handler, event, error, subject, outcome)
        if outcome == RETRIED:
            left = self.recorder.account.seconds_left()
            wait = handler.retry.seconds_after(attempt)
            time.sleep(wait if left is None else max(min(wait, left), 0))
        return outcome

    def _record_failure(
        self,
        handler: Responder,
        event: RecordedEvent,
        error: BaseException,
        subject: RecordedEvent,
        outcome: str,
    ) -> None:
        attempt = self.cursor.failed_attempts(event.id, handler.name) + 1
        batch = Batch(self.recorder, event, handler.name, is_own=True)
        data = failure_data(handler.name, event.id, error, attempt, outcome)
        data["call"] = is_call = handler.effect is not None
        if is_call and subject.id != event.id:
            data["intent"] = subject.id
        failed = make_event(RESPONDER_FAILED, "", handler.name, [event.id], data)
        batch.add(failed, f"failed-{self.recorder.number}")
        self._record(batch)
        self.save()
        if is_call:
            self.recorder.account.release(subject.id)
            self.effects.discard(subject)
