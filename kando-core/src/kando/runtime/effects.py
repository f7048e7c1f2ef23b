"""Effects: calls to the outside run in parallel; their answers are used in the intents' order."""

# long: one class; every state of a call is in it.

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from typing import Any

from kando.responders.base import AnswerPending, Effect, Responder
from kando.responders.budget import BudgetEnforcer
from kando.responders.tool_context import ToolProgress, Workspace, call_place
from kando.runtime.call_pool import AcquireSlots, Call, CallPool
from kando.schema.events import RecordedEvent
from kando.views.spending import Accounts
from kando.world.graph import World

__all__ = ["Effects"]

_Answer = dict[str, Any]

#: Seconds between two checks whether a queued call has started.
_POLL_INTERVAL = 0.02

#: Seconds between two checks whether an answer is still wanted.
_WANTED_INTERVAL = 1.0


class Effects:
    """The planned calls of one run, and those in flight.

    Args:
        limit: how many calls may be in flight at once.
        keep: keeps the answer of a call that has returned and whose turn to be recorded has not come.
        kept: returns the answer to an intent that is kept, here or by another process, or None.
        before_call: called before each call starts; raises if this process must not make it.
        acquire_slots: see `kando.runtime.call_pool.CallPool`.
        ledger: stream of the run or branch.
        workspace: of the run, for the tools that use it.
    """

    def __init__(
        self,
        limit: int,
        keep: Callable[[Call, _Answer], None] = lambda call, answer: None,
        kept: Callable[[RecordedEvent], _Answer | None] = lambda intent: None,
        before_call: Callable[[], None] = lambda: None,
        acquire_slots: AcquireSlots | None = None,
        ledger: str = "",
        workspace: Workspace | None = None,
    ) -> None:
        #: Returns what is reserved for the call of an intent, by its id.
        self.reserved_for: Callable[[str], Accounts | None] = lambda intent_id: None
        self._ledger = ledger
        self._workspace = workspace
        self._limit = limit
        self._keep = keep
        self._kept = kept
        self._before_call = before_call
        self._acquire_slots = acquire_slots
        self._is_interrupted = False
        self._has_new = False
        self._waiting: dict[str, Call] = {}
        self._in_flight: dict[str, Call] = {}
        self._planned_keys: set[str] = set()
        # How many answers were cached, and how many when no cached answer to an intent was found.
        self._cached = 0
        self._missed: dict[str, int] = {}
        self._pool: CallPool | None = None

    @property
    def has_waiting(self) -> bool:
        """Whether a call waits for its intent to be saved."""
        return self._has_new

    @property
    def calls_in_flight(self) -> int:
        """The number of calls that have started and have not returned. Any thread may ask."""
        calls = list(self._in_flight.values())
        return sum(each.started_at is not None and not each.future.done() for each in calls)

    @property
    def last_progress(self) -> ToolProgress | None:
        """The last progress that a tool in flight has reported, or None. Any thread may ask."""
        calls = reversed(list(self._in_flight.values()))
        found = (each.progress for each in calls if not each.future.done())
        return next((each for each in found if each is not None), None)

    def is_in_flight(self, intent: RecordedEvent) -> bool:
        """Whether the call for an intent has been started."""
        return intent.id in self._in_flight

    def recall(self, intent: RecordedEvent, effect: Effect, world: World) -> _Answer | None:
        """Return the cached answer to an intent, or None.

        If there was none, it is looked for again only after this run has cached an answer.
        """
        if self._missed.get(intent.id) == self._cached:
            return None
        found = effect.recall(intent, world)
        if found is None:
            self._missed[intent.id] = self._cached
        return found

    def note_cached(self) -> None:
        """Look again for the answers that were not cached: one was cached now."""
        self._cached += 1

    def plan(
        self,
        intent: RecordedEvent,
        executor: Responder,
        world: World,
        known: _Answer | None = None,
    ) -> _Answer | None:
        """Plan the call for a recorded intent, without starting it.

        An intent whose answer is cached, or that equals an earlier one with a planned call or a known
        answer, gets no call of its own: when it is dispatched, the answer is known.

        Args:
            intent: the request.
            executor: answers it.
            world: of the run.
            known: the answer, if it waits to be recorded.

        Returns:
            The answer, if it is known or cached.
        """
        effect = executor.effect
        if effect is None:
            return known
        if known is not None:
            if (key := effect.dedup_key(intent, world)) is not None:
                self._planned_keys.add(key)
            return known
        if effect.inline(intent) is not None:
            return None
        recalled = self.recall(intent, effect, world)
        if recalled is not None:
            return recalled
        dedup_key = effect.dedup_key(intent, world)
        if dedup_key is not None:
            if dedup_key in self._planned_keys:
                return None
            self._planned_keys.add(dedup_key)
        self._waiting[intent.id] = Call(
            intent, executor.name, effect, self._ledger, self._workspace
        )
        self._has_new = self._has_new or not effect.is_elsewhere
        return None

    def start(self, can_start: Callable[[Call], bool]) -> None:
        """Start the planned calls, in order. The caller must have saved their intents.

        Args:
            can_start: whether a call may start now; if not, later calls of its kind wait as well.
        """
        self._has_new = False
        for call in self.startable(can_start):
            # A call that depends on earlier ones starts when its turn to be recorded has come.
            if not (call.effect.is_elsewhere or call.is_ordered or self._kept(call.intent)):
                self._launch(call)

    def startable(self, can_start: Callable[[Call], bool]) -> Iterator[Call]:
        """Yield the planned calls that may start, in order.

        Args:
            can_start: as for `start`.
        """
        blocked = set()
        is_first = not any(each.is_ordered for each in self._in_flight.values())
        for call in list(self._waiting.values()):
            kind = call.effect.answer_type
            if kind in blocked or (call.is_ordered and not is_first):
                continue
            is_first = is_first and not call.is_ordered
            if can_start(call):
                yield call
            else:
                blocked.add(kind)

    def answer(
        self,
        intent: RecordedEvent,
        executor: Responder,
        world: World,
        seconds_left: float | None = None,
        is_wanted: Callable[[], bool] = lambda: True,
        before_call: Callable[[], None] = lambda: None,
    ) -> _Answer | None:
        """Return the answer to an intent: cached, from its call in flight, or from a new call.

        Args:
            intent: the request.
            executor: answers it.
            world: of the run.
            seconds_left: after which the call is interrupted; None for never.
            is_wanted: asked before the answer is used or the call is made, and then about once a
                second; when it returns False, the wait ends and the call is not repeated, but it stays
                in flight.
            before_call: called before a call is made or waited for: it saves the intent, and may
                start planned calls. It is not called if the answer is known.

        Returns:
            The data of the answer; None if the call was interrupted, or is not wanted any more. The
            caller records the answer and discards the call.

        Raises:
            AnswerPending: another process makes the call, and its answer has not arrived.
            TimeoutError: the call took longer than its executor allows.
            Exception: the exception of the call.
        """
        effect = executor.effect
        assert effect is not None
        compute = effect.inline(intent)
        if compute is not None:
            if not is_wanted():
                return None
            with call_place(self._ledger, workspace=self._workspace):
                return compute(world)
        known, call = self._known(intent, effect, world), self._in_flight.get(intent.id)
        needs_call = known is None and (call is None or not call.future.done())
        if needs_call:
            before_call()
        # The messages read meanwhile may have paused the run.
        if not is_wanted():
            if call is not None:
                call.is_unwanted = True
            return None
        if needs_call and call is None:
            # The answer to an equal request may have been saved, and is cached since then; and the
            # messages may have come with an answer.
            known = self._known(intent, effect, world)
        if known is not None:
            self.discard(intent.id)
            return known
        if needs_call:
            if effect.is_elsewhere:
                raise AnswerPending(intent.id)
            call = self._in_flight.get(intent.id)
        call = call or self._launch(
            Call(intent, executor.name, effect, self._ledger, self._workspace)
        )
        end = None if seconds_left is None else time.monotonic() + seconds_left
        if not self._await(call, end, is_wanted):
            return None
        if not call.future.done() and not call.is_late():
            self._is_interrupted = True
            return None
        if call.future.done() and call.future.exception() is None:
            # In flight until it is discarded: an interruption before it is recorded does not lose it.
            return call.future.result()
        self._in_flight.pop(intent.id, None)
        if call.future.done():
            return call.future.result()
        self._pool_in_use().abandon(call)
        if effect.timed_out is not None:
            return effect.timed_out(intent)
        msg = f"{executor.name} took longer than {call.timeout_seconds} s for {intent.id}"
        raise TimeoutError(msg)

    def _known(self, intent: RecordedEvent, effect: Effect, world: World) -> _Answer | None:
        """Return the answer to an intent that is cached or kept, or None."""
        known = self.recall(intent, effect, world)
        if known is None and intent.id not in self._in_flight:
            known = self._kept(intent) or None
        return known

    def has_returned(self) -> bool:
        """Whether another call in flight has returned its answer, which is recorded at its turn."""
        done = (call.future for call in self._in_flight.values() if call.future.done())
        return any(future.exception() is None for future in done)

    def note_answered(self, intent: RecordedEvent, effect: Effect, world: World) -> None:
        """Make no call for a request that equals an answered one, whose answer is not cached yet."""
        if (key := effect.dedup_key(intent, world)) is not None:
            self._planned_keys.add(key)

    def _await(
        self, call: Call, end: float | None, is_wanted: Callable[[], bool] = lambda: True
    ) -> bool:
        """Wait until a call is done or has timed out, or until `end`; False if it is unwanted."""
        asked_at = time.monotonic()
        while not call.future.done() and not call.is_late():
            if time.monotonic() - asked_at >= _WANTED_INTERVAL:
                if not is_wanted():
                    call.is_unwanted = True
                    return False
                asked_at = time.monotonic()
            left = [each for each in (call.seconds_left(), _until(end)) if each is not None]
            if left and min(left) <= 0:
                return True
            left.append(max(asked_at + _WANTED_INTERVAL - time.monotonic(), 0))
            # The timeout counts from the start of the call. Others may return in the meantime.
            if call.started_at is None or len(self._in_flight) > 1:
                left.append(_POLL_INTERVAL)
            with suppress(TimeoutError):
                call.future.exception(min(left))
            if not call.future.done():
                self._keep_returned()
        return True

    def _keep_returned(self) -> None:
        """Keep the answers of the calls that have returned before their turn."""
        for call in self._in_flight.values():
            future = call.future
            if future.done() and not call.is_kept and future.exception() is None:
                self._keep(call, future.result())
                call.is_kept = True

    def settle(
        self,
        account: BudgetEnforcer,
        seconds_left: float | None = None,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        """Wait for the calls in flight, and pass their actual cost to the account.

        Args:
            account: of the run.
            seconds_left: how long to wait; None for no limit.
            is_wanted: asked about once a second; when it returns False, the wait ends.
        """
        end = None if seconds_left is None else time.monotonic() + seconds_left
        # Messages that are read meanwhile may withdraw a call.
        for call in list(self._in_flight.values()):
            self._await(call, end, is_wanted)
            if call.future.done() and call.future.exception() is None:
                account.settle(call.intent.id, call.effect.answer_type, call.future.result())

    def hold(self, *, is_held: bool) -> None:
        """Start no further call until this is called with False; calls in flight continue."""
        if self._pool is not None:
            self._pool.hold(is_held=is_held)

    def discard(self, intent_id: str) -> None:
        """Discard the call for an intent; its next answer needs a new call."""
        self._in_flight.pop(intent_id, None)
        self._waiting.pop(intent_id, None)
        self._missed.pop(intent_id, None)

    def withdraw(self, intent_id: str) -> bool:
        """Do not make the call for an intent; return False if it has been started."""
        self._waiting.pop(intent_id, None)
        call = self._in_flight.get(intent_id)
        if call is not None and call.started_at is None:
            self._pool_in_use().abandon(call)
            # It may have started in the meantime.
            if call.started_at is None:
                del self._in_flight[intent_id]
        return intent_id not in self._in_flight

    def close(self, patience_seconds: float = 0.0) -> None:
        """Discard planned calls and those that have not started; wait for the others.

        Their answers are kept: no call that has returned is made again.

        Args:
            patience_seconds: how long to wait for a call that has no time limit of its own.
        """
        self._waiting.clear()
        self._missed.clear()
        self._planned_keys.clear()
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        for call in [each for each in self._in_flight.values() if each.started_at is not None]:
            # A failure here must not hide the reason why the run stops.
            with suppress(Exception):
                call.future.exception(self._patience_with(call, patience_seconds))
                self._keep_returned()
        self._in_flight.clear()
        self._is_interrupted = False

    def _patience_with(self, call: Call, patience_seconds: float) -> float:
        if self._is_interrupted or not patience_seconds:
            return 0
        left = call.seconds_left()
        return patience_seconds if left is None else max(left, 0)

    def failures(self, patience_seconds: float) -> dict[str, Exception]:
        """Wait for the calls in flight, and return the errors that say what they spent, by intent.

        The calls are not repeated.

        Args:
            patience_seconds: how long to wait for a call that has no time limit of its own.
        """
        found = {}
        started = {id: each for id, each in self._in_flight.items() if each.started_at is not None}
        for call in started.values():
            call.is_unwanted = True
        for id, call in started.items():
            with suppress(TimeoutError):
                error = call.future.exception(self._patience_with(call, patience_seconds))
                if isinstance(error, Exception) and getattr(error, "spent", None) is not None:
                    found[id] = error
        return found

    def returned(
        self, patience_seconds: float, of: Container[str] | None = None
    ) -> Iterator[tuple[Call, _Answer | BaseException]]:
        """Yield the calls that were started, in order, with what came of each; they end with it.

        Args:
            patience_seconds: how long to wait for a call that has no time limit of its own.
            of: ids of intents; those of all calls if None.
        """
        started = [each for each in self._in_flight.values() if each.started_at is not None]
        ending = [each for each in started if of is None or each.intent.id in of]
        for call in ending:
            call.is_unwanted = call.must_end = True
        for call in ending:
            try:
                error = call.future.exception(self._patience_with(call, patience_seconds))
            except TimeoutError:
                continue
            self._in_flight.pop(call.intent.id)
            yield call, error if error is not None else call.future.result()

    def _launch(self, call: Call) -> Call:
        self._waiting.pop(call.intent.id, None)
        self._in_flight[call.intent.id] = call
        call.reserved = self.reserved_for(call.intent.id)
        self._pool_in_use().submit(call)
        return call

    def _pool_in_use(self) -> CallPool:
        if self._pool is None:
            self._pool = CallPool(self._limit, self._before_call, self._acquire_slots)
        return self._pool


def _until(end: float | None) -> float | None:
    return None if end is None else end - time.monotonic()
