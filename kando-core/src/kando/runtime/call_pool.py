"""Calls in threads that never keep the process from ending, as many at once as is allowed."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

from kando.responders.base import Effect
from kando.schema.events import RecordedEvent

__all__ = ["Call", "CallPool"]


class Call:
    """One call to the outside.

    Args:
        intent: what is asked.
        executor: name of who answers it.
        effect: how.

    Attributes:
        future: its answer.
        timeout_seconds: it may take, from when it starts; None: as long as it likes.
        started_at: by `time.monotonic`; None until it starts.
    """

    def __init__(self, intent: RecordedEvent, executor: str, effect: Effect) -> None:
        limits = effect.limits(intent)
        self.intent = intent
        self.executor = executor
        self.effect = effect
        self.future: Future[dict[str, Any]] = Future()
        self.started_at: float | None = None
        self.is_abandoned = False
        self.timeout_seconds = limits.timeout_seconds
        if self.timeout_seconds is None:
            self.timeout_seconds = effect.timeout_seconds
        self._lanes = (
            ((executor,), effect.max_parallel),
            ((executor, limits.lane), limits.max_parallel),
        )

    def lanes(self) -> Iterator[tuple[tuple[str, ...], int]]:
        """Return what it shares with others, and how many of them may be in flight at once."""
        return ((lane, limit) for lane, limit in self._lanes if limit is not None)

    def seconds_left(self) -> float | None:
        """Return how long it may still take; None if it has not started, or may take any time."""
        if self.timeout_seconds is None or self.started_at is None:
            return None
        return self.started_at + self.timeout_seconds - time.monotonic()

    def is_late(self) -> bool:
        """Whether it has taken longer than it may."""
        left = self.seconds_left()
        return left is not None and left <= 0

    def make(self) -> None:
        """Reach outside, and keep what comes of it."""
        try:
            self.future.set_result(self.effect.call(self.intent))
        except BaseException as error:
            self.future.set_exception(error)


class CallPool:
    """Threads that make calls, in the order in which these were submitted.

    The threads are daemons, unlike those of `concurrent.futures`: a call that hangs does not keep
    the process.

    Args:
        limit: how many calls may be in flight at once.
    """

    def __init__(self, limit: int) -> None:
        self._limit = max(limit, 1)
        self._calls: deque[Call] = deque()
        self._ready = threading.Condition()
        self._busy: Counter[tuple[str, ...]] = Counter()
        self._threads = 0
        self._idle = 0
        self._closed = False

    def submit(self, call: Call) -> None:
        """Have a call made as soon as there is room for it."""
        with self._ready:
            self._calls.append(call)
            self._ensure_thread()
            self._ready.notify()

    def abandon(self, call: Call) -> None:
        """Leave a call that takes too long to itself; others take its place."""
        with self._ready:
            if call.started_at is None:
                self._calls.remove(call)
            elif not call.is_abandoned and not call.future.done():
                call.is_abandoned = True
                self._threads -= 1
                self._leave(call)
                self._ensure_thread()

    def close(self) -> None:
        """Drop what has not started; what runs is not waited for."""
        with self._ready:
            self._closed = True
            self._calls.clear()
            self._ready.notify_all()

    def _ensure_thread(self) -> None:
        if self._idle < len(self._calls) and self._threads < self._limit:
            self._threads += 1
            threading.Thread(target=self._work, name="kando-call", daemon=True).start()

    def _work(self) -> None:
        while (call := self._next()) is not None:
            call.make()
            with self._ready:
                if call.is_abandoned:
                    return
                self._leave(call)

    def _next(self) -> Call | None:
        with self._ready:
            while not self._closed:
                for call in self._calls:
                    if all(self._busy[lane] < limit for lane, limit in call.lanes()):
                        self._calls.remove(call)
                        self._busy.update(lane for lane, _ in call.lanes())
                        call.started_at = time.monotonic()
                        return call
                self._idle += 1
                self._ready.wait()
                self._idle -= 1
        return None

    def _leave(self, call: Call) -> None:
        self._busy.subtract(lane for lane, _ in call.lanes())
        self._ready.notify_all()
