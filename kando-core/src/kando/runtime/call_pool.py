"""A pool of daemon threads that make calls, within limits per run, executor and tool.

The limits of an executor and of a tool hold over all processes of a store: for each of its lanes a
call takes a slot, which the layers above provide.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from kando.responders.attempts import checked_attempts
from kando.responders.base import Effect
from kando.responders.cancellation import cancellable
from kando.responders.reservation import reserving
from kando.responders.tool_context import ToolProgress, Workspace, call_place
from kando.schema.events import RecordedEvent
from kando.views.spending import Accounts

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["AcquireSlots", "Call", "CallPool", "Lane"]

#: A lane, and how many of its calls may be in flight at once.
Lane = tuple[tuple[str, ...], int]

#: Acquires a slot in each lane, and returns the function that releases them; None if a lane is full.
AcquireSlots = Callable[[Sequence[Lane]], Callable[[], None] | None]

#: Seconds between two attempts to acquire a slot.
_SLOT_INTERVAL = 0.05


class Call:
    """One call to the outside.

    Args:
        intent: the request.
        executor: name of the executor that answers it.
        effect: of the executor.
        ledger: stream of the run or branch that makes it.
        workspace: of the run.

    Attributes:
        future: its answer.
        is_ordered: whether it depends on what earlier such calls changed.
        progress: what it has reported last; None if nothing.
        reserved: what is reserved for it when it starts; None without limits.
        timeout_seconds: counted from its start; None for no timeout.
        started_at: by `time.monotonic`; None until it starts.
    """

    def __init__(
        self,
        intent: RecordedEvent,
        executor: str,
        effect: Effect,
        ledger: str = "",
        workspace: Workspace | None = None,
    ) -> None:
        # Not at the top: many runs make no call, and it imports logging.
        from concurrent.futures import Future

        limits = effect.limits(intent)
        self.intent = intent
        self.executor = executor
        self._ledger, self._workspace = ledger, workspace
        self.is_ordered = effect.is_ordered(intent)
        self.effect = effect
        self.future: Future[dict[str, Any]] = Future()
        self.progress: ToolProgress | None = None
        self.reserved: Accounts | None = None
        self.started_at: float | None = None
        self.is_abandoned = False
        # Whether its answer is not waited for any more: it is not repeated, but may still return.
        self.is_unwanted = False
        # Whether it is to end at once, if it can: the run is cancelled, or a person has answered it.
        self.must_end = False
        # Gives its slots back; harmless if it has none.
        self.release: Callable[[], None] = lambda: None
        # Whether its answer is kept until its turn comes.
        self.is_kept = False
        self.timeout_seconds = limits.timeout_seconds
        if self.timeout_seconds is None:
            self.timeout_seconds = effect.timeout_seconds
        self._lanes = (
            ((executor,), effect.max_parallel),
            ((executor, limits.lane), limits.max_parallel),
        )

    def lanes(self) -> list[Lane]:
        """Return its lanes, each with the limit of calls in flight."""
        return [(lane, limit) for lane, limit in self._lanes if limit is not None]

    def seconds_left(self) -> float | None:
        """Return the time until its timeout; None if it has not started or has no timeout."""
        if self.timeout_seconds is None or self.started_at is None:
            return None
        return self.started_at + self.timeout_seconds - time.monotonic()

    def is_late(self) -> bool:
        """Whether it has timed out."""
        left = self.seconds_left()
        return left is not None and left <= 0

    def make(self, before_call: Callable[[], None]) -> None:
        """Call the executor, and store the answer or the exception in `future`."""
        try:
            before_call()
            place = call_place(self._ledger, self._report, self._workspace)
            with checked_attempts(before_call), place, reserving(self.reserved):
                answer = self.effect.call(self.intent)
            self.future.set_result(answer)
        except BaseException as error:
            self.future.set_exception(error)

    def _report(self, progress: ToolProgress) -> None:
        self.progress = progress


def _must_end(call: Call) -> bool:
    return call.must_end


def _is_abandoned(call: Call) -> bool:
    return call.is_abandoned


class CallPool:
    """Threads that make calls in the order of submission.

    Unlike those of `concurrent.futures`, the threads are daemons: a call that hangs does not keep the
    process alive.

    Args:
        limit: how many calls may be in flight at once.
        before_call: called before each call starts; if it raises, the call is not made.
        acquire_slots: limits the calls of all processes; None if only this one is limited.
    """

    def __init__(
        self,
        limit: int,
        before_call: Callable[[], None] = lambda: None,
        acquire_slots: AcquireSlots | None = None,
    ) -> None:
        self._limit = max(limit, 1)
        self._before_call = before_call
        self._acquire_slots = acquire_slots
        self._calls: deque[Call] = deque()
        self._ready = threading.Condition()
        self._busy: Counter[tuple[str, ...]] = Counter()
        self._threads = 0
        self._idle = 0
        self._closed = False
        self._is_held = False

    def submit(self, call: Call) -> None:
        """Queue a call; it starts as soon as the limits allow."""
        with self._ready:
            self._calls.append(call)
            self._ensure_thread()
            self._ready.notify()

    def abandon(self, call: Call) -> None:
        """Give up a call that takes too long; its thread no longer counts for the limits."""
        with self._ready:
            if call in self._calls:
                self._calls.remove(call)
            elif not call.is_abandoned and not call.future.done():
                call.is_abandoned = True
                self._threads -= 1
                self._leave(call)
                self._ensure_thread()
        call.release()

    def hold(self, *, is_held: bool) -> None:
        """Start no further call until this is called with False; calls in flight continue."""
        with self._ready:
            self._is_held = is_held
            self._ready.notify_all()

    def close(self) -> None:
        """Drop calls that have not started, without waiting for the others."""
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
            if self._enter(call):
                asked = (self._is_unwanted, _is_abandoned, _must_end)
                with cancellable(*(partial(each, call) for each in asked)):
                    call.make(self._before_call)
            call.release()
            with self._ready:
                if call.is_abandoned:
                    return
                self._leave(call)

    def _next(self) -> Call | None:
        with self._ready:
            while not self._closed:
                for call in () if self._is_held else self._calls:
                    if all(self._busy[lane] < limit for lane, limit in call.lanes()):
                        self._calls.remove(call)
                        self._busy.update(lane for lane, _ in call.lanes())
                        return call
                self._idle += 1
                self._ready.wait()
                self._idle -= 1
        return None

    def _enter(self, call: Call) -> bool:
        """Wait for the slots of a call and start it; False if it must not be made any more."""
        lanes = call.lanes() if self._acquire_slots is not None else []
        while True:
            try:
                release = (
                    self._acquire_slots(lanes) if self._acquire_slots and lanes else call.release
                )
            except Exception as error:
                call.future.set_exception(error)
                release = call.release
            with self._ready:
                if self._closed or call.is_abandoned:
                    call.release = release or call.release
                    return False
                if release is not None and self._is_held and not call.future.done():
                    release()
                elif release is not None:
                    call.release = release
                    call.started_at = time.monotonic()
                    return not call.future.done()
                self._ready.wait(_SLOT_INTERVAL)

    def _is_unwanted(self, call: Call) -> bool:
        return self._closed or call.is_abandoned or call.is_unwanted

    def _leave(self, call: Call) -> None:
        self._busy.subtract(lane for lane, _ in call.lanes())
        self._ready.notify_all()
