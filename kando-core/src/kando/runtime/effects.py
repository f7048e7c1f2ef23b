"""Effects: calls to the outside run side by side; their answers are taken in the intents' order."""

from __future__ import annotations

import time
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from typing import Any

from kando.responders.base import Responder
from kando.runtime.calls import Call, CallPool
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
        self._waiting: dict[str, Call] = {}
        self._flying: dict[str, Call] = {}
        self._asked: set[str] = set()
        self._pool: CallPool | None = None

    @property
    def has_waiting(self) -> bool:
        """Whether a call waits for its intent to be saved."""
        return bool(self._waiting)

    def is_flying(self, intent: RecordedEvent) -> bool:
        """Whether the call for an intent has been started."""
        return intent.id in self._flying

    def want(self, intent: RecordedEvent, executor: Responder, world: World) -> None:
        """Plan the call for a recorded intent; nothing starts yet.

        An intent that is remembered, or equal to one that was asked already in this run, gets no
        call of its own: when its turn comes, the answer is there.
        """
        effect = executor.effect
        if effect is None or effect.recall(intent, world) is not None:
            return
        sameness = effect.sameness(intent, world)
        if sameness is not None:
            if sameness in self._asked:
                return
            self._asked.add(sameness)
        self._waiting[intent.id] = Call(intent, executor.name, effect)

    def start(self) -> None:
        """Start the planned calls. The caller has saved their intents."""
        for call in self._waiting.values():
            self._launch(call)
        self._waiting.clear()

    def answer(self, intent: RecordedEvent, executor: Responder, world: World) -> _Answer:
        """Return the data that answers an intent: remembered, from its call, or called now.

        Raises:
            TimeoutError: the call took longer than its executor allows.
            Exception: whatever the call raised.
        """
        effect = executor.effect
        assert effect is not None
        recalled = effect.recall(intent, world)
        if recalled is not None:
            self._flying.pop(intent.id, None)
            return recalled
        call = self._flying.get(intent.id) or self._launch(Call(intent, executor.name, effect))
        self._await(call)
        self._flying.pop(intent.id, None)
        if call.future.done():
            return call.future.result()
        self._pool_in_use().abandon(call)
        if effect.timed_out is not None:
            return effect.timed_out(intent)
        msg = f"{executor.name} took longer than {call.timeout_seconds} s for {intent.id}"
        raise TimeoutError(msg)

    def _await(self, call: Call) -> None:
        """Wait until a call is done, or has taken longer than it may."""
        while not call.future.done():
            left = call.seconds_left()
            if left is not None and left <= 0:
                return
            # Until it has started, its time does not count.
            wait = left if call.started_at is not None else _LOOK_INTERVAL
            with suppress(FutureTimeout):
                call.future.exception(wait)

    def forget(self, intent: RecordedEvent) -> None:
        """Drop the call for an intent; its next answer is called for anew."""
        self._flying.pop(intent.id, None)

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
        deadline = time.monotonic() + patience_seconds
        for call in self._flying.values():
            if call.started_at is None or call.effect.keep is None:
                continue
            # Whatever goes wrong here, the reason why the run stops is told, and not this one.
            with suppress(Exception):
                answer = call.future.result(max(deadline - time.monotonic(), 0))
                call.effect.keep(call.intent, answer, world)
        self._flying.clear()

    def _launch(self, call: Call) -> Call:
        self._flying[call.intent.id] = call
        self._pool_in_use().submit(call)
        return call

    def _pool_in_use(self) -> CallPool:
        if self._pool is None:
            self._pool = CallPool(self._limit)
        return self._pool
