"""Effects: calls to the outside run side by side; their answers are taken in the intents' order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from kando.responders.base import Effect, Responder
from kando.schema.events import RecordedEvent
from kando.world.graph import World

__all__ = ["Effects"]

_Answer = dict[str, Any]


class Effects:
    """The calls of one run that wait to start, and those in flight.

    Args:
        limit: how many calls of one executor may be in flight at once.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: list[tuple[RecordedEvent, str, Effect]] = []
        self._flying: dict[str, Future[_Answer]] = {}
        self._asked: set[str] = set()
        self._pools: dict[str, _Pool] = {}

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
        self._waiting.append((intent, executor.name, effect))

    def start(self) -> None:
        """Start the planned calls. The caller has saved their intents."""
        for intent, name, effect in self._waiting:
            self._flying[intent.id] = self._pool_of(name, effect).submit(effect.call, intent)
        self._waiting.clear()

    def answer(self, intent: RecordedEvent, executor: Responder, world: World) -> _Answer:
        """Return the data that answers an intent: remembered, from its call, or called now.

        Raises:
            TimeoutError: the call took longer than its executor allows.
            Exception: whatever the call raised.
        """
        effect = executor.effect
        assert effect is not None
        flying = self._flying.pop(intent.id, None)
        recalled = effect.recall(intent, world)
        if recalled is not None:
            return recalled
        if flying is None:
            flying = self._pool_of(executor.name, effect).submit(effect.call, intent)
        try:
            return flying.result(effect.timeout_seconds)
        except FutureTimeout:
            if flying.done():
                raise
            msg = f"{executor.name} took longer than {effect.timeout_seconds} s for {intent.id}"
            raise TimeoutError(msg) from None

    def forget(self, intent: RecordedEvent) -> None:
        """Drop the call for an intent; its next answer is called for anew."""
        self._flying.pop(intent.id, None)

    def _pool_of(self, name: str, effect: Effect) -> _Pool:
        if name not in self._pools:
            limit = min(self._limit, effect.max_parallel or self._limit)
            self._pools[name] = _Pool(max(limit, 1), name)
        return self._pools[name]

    def close(self) -> None:
        """Forget what was planned and drop what has not started; what runs is not waited for."""
        self._waiting.clear()
        self._asked.clear()
        self._flying.clear()
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()


class _Pool:
    """Threads that never keep the process from ending, unlike those of concurrent.futures."""

    def __init__(self, limit: int, name: str) -> None:
        self._limit = limit
        self._name = name
        self._jobs: deque[tuple[Future[_Answer], Callable[..., _Answer], RecordedEvent]] = deque()
        self._ready = threading.Condition()
        self._threads = 0
        self._idle = 0
        self._closed = False

    def submit(self, call: Callable[..., _Answer], intent: RecordedEvent) -> Future[_Answer]:
        future: Future[_Answer] = Future()
        with self._ready:
            self._jobs.append((future, call, intent))
            if self._idle < len(self._jobs) and self._threads < self._limit:
                self._threads += 1
                name = f"kando-{self._name}-{self._threads}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
            self._ready.notify()
        return future

    def _work(self) -> None:
        while True:
            with self._ready:
                while not self._jobs and not self._closed:
                    self._idle += 1
                    self._ready.wait()
                    self._idle -= 1
                if self._closed:
                    return
                future, call, intent = self._jobs.popleft()
            try:
                future.set_result(call(intent))
            except BaseException as error:
                future.set_exception(error)

    def close(self) -> None:
        with self._ready:
            self._closed = True
            self._jobs.clear()
            self._ready.notify_all()
