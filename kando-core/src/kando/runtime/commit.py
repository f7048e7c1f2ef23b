"""Commit: a batch is recorded within the limits of the budget, and made durable.

1. `Committer.commit` checks a batch against the budget. A batch that would exceed a limit is not
   recorded; `exhaust` records ``budget.exhausted`` instead, and the run stops. Only cost is treated
   differently: an answer that is paid for is recorded whatever it costs, and the run stops after it.
2. `Committer.record` gives the batch to the recorder and the cursor, and shows its events to
   `on_recorded`, which plans the calls of intents (see `kando.runtime.intents`).
3. `Committer.save` appends the recorded events to the ledger, and only then calls `on_saved`, which
   starts planned calls. So an intent is on disk before its call starts.
4. The answer of a call is saved before the next responder fires. Answers that arrived together are
   recorded one after the other and saved together (`Committer.save_soon`, `save_answers`).

`Committer.fail` records a firing that raised, and decides whether it is retried, parked or raised.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from kando.responders.base import Responder
from kando.runtime.batch import Batch
from kando.runtime.cursor import Cursor
from kando.runtime.failure import failure_data
from kando.runtime.handlers import Handlers
from kando.runtime.inbox import with_place
from kando.runtime.recorder import Recorder
from kando.schema.events import (
    BUDGET_EXHAUSTED,
    PARKED,
    RAISED,
    RESPONDER_FAILED,
    RETRIED,
    RUN_LABELLED,
    KandoEvent,
    RecordedEvent,
    make_event,
)
from kando.schema.firing import Firing
from kando.views.pending import CONTROL

if TYPE_CHECKING:
    from kando.runtime.snapshots import Snapshots

__all__ = ["Committer"]

#: Seconds that calls may wait for further intents, to be saved together.
_GATHER_INTERVAL = 0.002

_EVENTS = "max_events"

_UNLIMITED = CONTROL | {RUN_LABELLED}


class Committer:
    """Records batches, saves them, and keeps the limits of the budget.

    Args:
        recorder: of the ledger.
        handlers: the responders.
        save_interval: recorded events are saved after this many seconds at the latest.

    Attributes:
        cursor: has seen every recorded event.
        is_exhausted: whether a limit has stopped the run.
        snapshots: stores the snapshot of the ledger; None if the run has none.
        on_recorded: called with the recorded events that are tracked (see `Batch`); returns whether calls wait for them to be saved.
        on_external: called with each recorded event that no firing produced.
        on_saved: called after recorded events are durable.
        on_failed: called with the intent of a call that failed, after the failure is durable.
    """

    def __init__(self, recorder: Recorder, handlers: Handlers, save_interval: float) -> None:
        self.recorder = recorder
        self.save_interval = save_interval
        self.cursor = Cursor()
        self.is_exhausted = False
        self.snapshots: Snapshots | None = None
        self.on_recorded: Callable[[Sequence[RecordedEvent]], bool] = lambda events: False
        self.on_external: Callable[[RecordedEvent], None] = lambda event: None
        self.on_saved: Callable[[], None] = lambda: None
        self.on_failed: Callable[[RecordedEvent], None] = lambda intent: None
        self._handlers = handlers
        # When the first event was recorded that is not saved yet.
        self._unsaved_since = time.monotonic()
        # When the first answer was recorded that came from a call and is not saved yet.
        self._answered_at: float | None = None
        self._when_durable: list[Callable[[], None]] = []

    def flush(self) -> None:
        """Make all recorded events durable, without starting calls."""
        # An append that fails drops them: the run is read again, and may lack what they wait for.
        waiting, self._when_durable = self._when_durable, []
        self.recorder.save()
        self._answered_at = None
        for each in waiting:
            each()

    def save(self) -> None:
        """Make all recorded events durable, and start the calls that waited for that."""
        self.flush()
        self.on_saved()
        if self.snapshots is not None:
            self.snapshots.update(self.recorder.world, self.recorder.length)

    def when_durable(self, action: Callable[[], None]) -> None:
        """Have something done after the events recorded so far are durable."""
        self._when_durable.append(action)

    def save_soon(self) -> None:
        """Save the answer of a call within `_GATHER_INTERVAL`, with others that have arrived."""
        if self._answered_at is None:
            self._answered_at = time.monotonic()

    def save_answers(self) -> None:
        """Save the answers of calls that are not saved yet, before a responder uses them."""
        if self._answered_at is not None:
            self.save()

    def record(self, batch: Batch, trigger: RecordedEvent | None = None) -> None:
        """Record a batch whatever the limits are, and save it if it is time to.

        Args:
            batch: its events are checked.
            trigger: the event whose firing it is; None for external events.
        """
        if not self.recorder.has_unsaved:
            self._unsaved_since = time.monotonic()
        recorded, events = batch.record(), batch.tracked
        if isinstance(recorded, Firing):
            assert trigger is not None
            self.cursor.observe_firing(trigger, recorded, self._handlers.for_type, events)
        else:
            for event in recorded:
                if not self.cursor.observe(event):
                    self.on_external(event)
        wait = _GATHER_INTERVAL if self.on_recorded(events) else self.save_interval
        now, answered_at = time.monotonic(), self._answered_at
        is_late = answered_at is not None and now - answered_at >= _GATHER_INTERVAL
        if is_late or now - self._unsaved_since >= wait:
            self.save()

    def commit(self, batch: Batch, trigger: RecordedEvent) -> bool:
        """Record the batch of a firing; False if a limit of the budget stops the run instead."""
        is_unlimited = self.recorder.account.is_unlimited
        if not is_unlimited and self.reasons_against(batch, batch.cost_usd):
            return self.exhaust_by(batch, trigger)
        self.record(batch, trigger)
        return True

    def deliver(self, seeds: Sequence[KandoEvent], *, is_own: bool = False) -> bool:
        """Record external events at the tail, as one step.

        Args:
            seeds: the events.
            is_own: whether the runtime records them, so that they may be of its reserved types.

        Returns:
            False if a limit of the budget forbids it.

        Raises:
            RefusedEvent: one of them must not be recorded; then none of them is.
        """
        batch = Batch(self.recorder, is_own=is_own)
        for number, seed in enumerate(seeds):
            batch.add(with_place(seed, self.cursor.silent if number == 0 else None))
        # No limit keeps a person from pausing, cancelling or labelling a run.
        is_limited = any(seed.type not in _UNLIMITED for seed in seeds)
        reasons = self.reasons_against(batch, batch.cost_usd) if is_limited else []
        if reasons:
            return self.exhaust(reasons, None, batch.depth)
        self.record(batch)
        return True

    def reasons_against(self, batch: Batch, cost_usd: float, more: int = 0) -> list[str]:
        """Return the limits that recording a batch would exceed.

        Args:
            batch: the events.
            cost_usd: their cost.
            more: number of events that would follow.
        """
        # A cancelled run records only results and its clean-up: no limit holds these back.
        if self.cursor.cancelled is not None:
            return []
        events = len(batch) + more
        return self.recorder.account.reasons_against(events, batch.depth, cost_usd)

    def exhaust_by(self, batch: Batch, trigger: RecordedEvent) -> bool:
        """Stop the run because of a batch that would exceed a limit. Returns False."""
        reasons = self.reasons_against(batch, batch.cost_usd, more=1)
        return self.exhaust(reasons, trigger, batch.depth)

    def exhaust(self, reasons: list[str], trigger: RecordedEvent | None, depth: int) -> bool:
        """Record ``budget.exhausted``, unless the last event says the same. Returns False.

        Args:
            reasons: names of the limits.
            trigger: the event whose handling would exceed them; None for external events.
            depth: recursion depth that was reached.
        """
        recorder = self.recorder
        self.is_exhausted = True
        is_recorded = recorder.last_type == BUDGET_EXHAUSTED
        if not is_recorded or recorder.account.last_reasons != reasons:
            batch = Batch(recorder, trigger, "budget", is_own=True)
            data = recorder.account.exhausted_data(reasons, depth)
            event = make_event(BUDGET_EXHAUSTED, "", "budget", [], data)
            batch.add(event, f"exhausted-{recorder.number}")
            self.record(batch)
        self.flush()
        return False

    def repeat_exhaustion(self) -> None:
        """Record again which limits stopped the run, if failed calls were recorded after that."""
        if self.is_exhausted:
            self.exhaust(self.recorder.account.last_reasons, None, 0)

    def fail(
        self,
        handler: Responder,
        event: RecordedEvent,
        error: BaseException,
        subject: RecordedEvent,
    ) -> str | None:
        """Record a failed attempt and return its outcome; before a retry, wait.

        Returns:
            None if a limit of the budget stops the run instead: then the attempt is not recorded.

        Args:
            handler: raised.
            event: that it handled.
            error: the exception.
            subject: the intent, for an executor; else the event.
        """
        attempt = self.cursor.failed_attempts(event.id, handler.name) + 1
        outcome = RETRIED
        # A request to exit the process is not retried.
        if isinstance(error, SystemExit):
            outcome = RAISED
        elif attempt >= handler.retry.attempts:
            outcome = PARKED if handler.on_error == "park" else RAISED
        if not self.record_failure(handler, event, error, subject, outcome):
            return None
        if outcome == RETRIED:
            left = self.recorder.account.seconds_left()
            wait = handler.retry.seconds_after(attempt)
            time.sleep(wait if left is None else max(min(wait, left), 0))
        return outcome

    def record_failure(
        self,
        handler: Responder,
        event: RecordedEvent,
        error: BaseException,
        subject: RecordedEvent,
        outcome: str,
        *,
        is_in_turn: bool = True,
    ) -> bool:
        """Record that a responder raised; False if a limit of the budget stops the run instead.

        No limit keeps a failed call, or what an attempt used, out of the account.

        Args:
            handler: raised.
            event: that it handled.
            error: the exception.
            subject: the intent, for an executor; else the event.
            outcome: retried, parked or raised.
            is_in_turn: whether the loop dispatches the event now. A recovered cursor does not move
                to it otherwise: events before it may not be handled yet.
        """
        attempt = self.cursor.failed_attempts(event.id, handler.name) + 1
        batch = Batch(self.recorder, event, handler.name, is_own=True)
        data = failure_data(handler.name, event.id, error, attempt, outcome)
        data["call"] = is_call = handler.effect is not None
        if not is_in_turn:
            data["in_turn"] = False
        if is_call and subject.id != event.id:
            data["intent"] = subject.id
        failed = make_event(RESPONDER_FAILED, "", handler.name, [event.id], data)
        batch.add(failed, f"failed-{self.recorder.number}")
        is_free = not is_call and "usage" not in data
        # A failure adds no recursion: its depth is not limited.
        if is_free and _EVENTS in self.reasons_against(batch, 0.0):
            return self.exhaust([_EVENTS], event, batch.depth)
        self.record(batch)
        self.save()
        if is_call:
            self.on_failed(subject)
        return True
