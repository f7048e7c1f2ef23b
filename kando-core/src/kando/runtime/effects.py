"""Effects: calls to the outside run side by side; their answers are taken in the intents' order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from typing import Any

from kando.responders.base import Responder
from kando.responders.budget import BudgetEnforcer
from kando.runtime.call_pool import Call, CallPool
from kando.schema.events import RecordedEvent
from kando.world.graph import World

__all__ = ["Effects"]

_Answer = dict[str, Any]

#: Seconds between two looks at whether a call that waits for its turn has started.
_LOOK_INTERVAL = 0.02


class Effects:
    """The calls of one run that wait to start, and those in flight.

    Args:
        limit: how many calls may be in flight at once.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._is_cut_off = False
        self._has_new = False
        self._waiting: dict[str, Call] = {}
        self._flying: dict[str, Call] = {}
        self._asked: set[str] = set()
        self._pool: CallPool | None = None

    @property
    def has_waiting(self) -> bool:
        """Whether a call waits for its intent to be saved."""
        return self._has_new

    def is_flying(self, intent: RecordedEvent) -> bool:
        """Whether the call for an intent has been started."""
        return intent.id in self._flying

    def want(self, intent: RecordedEvent, executor: Responder, world: World) -> _Answer | None:
        """Plan the call for a recorded intent; nothing starts yet.

        An intent that is remembered, or equal to one that was asked already in this run, gets no
        call of its own: when its turn comes, the answer is there.

        Returns:
            The answer, if it is remembered.
        """
        effect = executor.effect
        if effect is None:
            return None
        recalled = effect.recall(intent, world)
        if recalled is not None:
            return recalled
        dedup_key = effect.dedup_key(intent, world)
        if dedup_key is not None:
            if dedup_key in self._asked:
                return None
            self._asked.add(dedup_key)
        self._waiting[intent.id] = Call(intent, executor.name, effect)
        self._has_new = True
        return None

    def start(self, admits: Callable[[Call], bool]) -> None:
        """Start the planned calls, in their order. The caller has saved their intents.

        Args:
            admits: whether a call may start now; if not, those after it of its kind wait as well.
        """
        self._has_new = False
        for call in self.admitted(admits):
            self._launch(call)

    def admitted(self, admits: Callable[[Call], bool]) -> Iterator[Call]:
        """Return those of the planned calls that may start, in their order.

        Args:
            admits: as `start` takes it.
        """
        blocked = set()
        for call in list(self._waiting.values()):
            kind = call.effect.answer_type
            if kind in blocked:
                continue
            if admits(call):
                yield call
            else:
                blocked.add(kind)

    def answer(
        self,
        intent: RecordedEvent,
        executor: Responder,
        world: World,
        seconds_left: float | None = None,
    ) -> _Answer | None:
        """Return the data that answers an intent: remembered, from its call, or called now.

        Args:
            intent: what is asked.
            executor: who answers.
            world: of the run.
            seconds_left: after which the call is cut off; None for never.

        Returns:
            None if it was cut off.

        Raises:
            TimeoutError: the call took longer than its executor allows.
            Exception: whatever the call raised.
        """
        effect = executor.effect
        assert effect is not None
        recalled = effect.recall(intent, world)
        if recalled is not None:
            self.forget(intent)
            return recalled
        call = self._flying.get(intent.id) or self._launch(Call(intent, executor.name, effect))
        end = None if seconds_left is None else time.monotonic() + seconds_left
        self._await(call, end)
        if not call.future.done() and not call.is_late():
            self._is_cut_off = True
            return None
        self._flying.pop(intent.id, None)
        if call.future.done():
            return call.future.result()
        self._pool_in_use().abandon(call)
        if effect.timed_out is not None:
            return effect.timed_out(intent)
        msg = f"{executor.name} took longer than {call.timeout_seconds} s for {intent.id}"
        raise TimeoutError(msg)

    def _await(self, call: Call, end: float | None) -> None:
        """Wait until a call is done, or has taken longer than it may, or time is up."""
        while not call.future.done() and not call.is_late():
            left = [each for each in (call.seconds_left(), _until(end)) if each is not None]
            if left and min(left) <= 0:
                return
            # Until it has started, its time does not count.
            if call.started_at is None:
                left.append(_LOOK_INTERVAL)
            with suppress(FutureTimeout):
                call.future.exception(min(left, default=None))

    def settle(self, account: BudgetEnforcer, seconds_left: float | None = None) -> None:
        """Wait for the calls in flight, to know what they cost.

        Args:
            account: told what each answer will be charged.
            seconds_left: after which it is given up; None for never.
        """
        end = None if seconds_left is None else time.monotonic() + seconds_left
        for call in self._flying.values():
            self._await(call, end)
            if call.future.done() and call.future.exception() is None:
                account.settle(call.intent.id, call.effect.answer_type, call.future.result())

    def forget(self, intent: RecordedEvent) -> None:
        """Drop the call for an intent; its next answer is called for anew."""
        self._flying.pop(intent.id, None)
        self._waiting.pop(intent.id, None)

    def close(self, world: World, patience_seconds: float = 0.0) -> None:
        """Forget what was planned and drop what has not started.

        Answers that nobody has taken are kept by their executors, for when the run goes on.

        Args:
            world: of the run.
            patience_seconds: how long to wait for the calls that have started.
        """
        self._waiting.clear()
        self._asked.clear()
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        deadline = time.monotonic() + (0 if self._is_cut_off else patience_seconds)
        for call in self._flying.values():
            if call.started_at is None or call.effect.keep is None:
                continue
            # Whatever goes wrong here, the reason why the run stops is told, and not this one.
            with suppress(Exception):
                answer = call.future.result(max(deadline - time.monotonic(), 0))
                call.effect.keep(call.intent, answer, world)
        self._flying.clear()
        self._is_cut_off = False

    def _launch(self, call: Call) -> Call:
        self._waiting.pop(call.intent.id, None)
        self._flying[call.intent.id] = call
        self._pool_in_use().submit(call)
        return call

    def _pool_in_use(self) -> CallPool:
        if self._pool is None:
            self._pool = CallPool(self._limit)
        return self._pool


def _until(end: float | None) -> float | None:
    return None if end is None else end - time.monotonic()
