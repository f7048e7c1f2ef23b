"""Observers of plugins: they receive recorded events, and cannot change, stop or delay a run.

Each observer has its own thread and bounded queue. Appended events are put into the queues, and the run
continues; if a queue is full, the newest events are dropped for that observer, and counted. An observer
gets copies, so its changes to an event reach neither the ledger nor the world. If it raises, that is
counted, and it still receives the next event. At the end of the run, Kando waits for an observer only
while it makes progress, and reports the events that it missed. A thread that hangs does not keep the
process alive.

Python offers no protection against an observer that never releases the interpreter lock.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from queue import SimpleQueue
from types import TracebackType
from typing import Self

import attrs

from kando.ledger.interface import LedgerStore
from kando.responders.redaction import redact
from kando.schema.events import KandoEvent, RecordedEvent
from kando.schema.exact_json import decode
from kando.schema.firing import Firing, flattened
from kando.schema.parts import copied, has_references

__all__ = ["Observation", "ObserverReport"]

#: Maximum number of events in the queue of an observer.
_LIMIT = 1000

#: At the end of a run: seconds to wait for observers that make progress, seconds after which a call
#: counts as hanging, and seconds of work left for which waiting is useless.
_DRAIN_SECONDS = 2.0
_CALL_SECONDS = 0.25
_HOPELESS_SECONDS = 10.0

_FILTERS_LOCK = threading.Lock()

Observer = Callable[[KandoEvent, int], object]


@attrs.frozen
class ObserverReport:
    """The result of one observer in one run.

    Attributes:
        name: ``distribution:plugin``.
        handled: number of events that it has handled.
        dropped: number of events that it did not receive, or still worked on when the run ended.
        failed: number of events for which it raised.
        error: its first error, in one line; empty if it never raised.
    """

    name: str
    handled: int
    dropped: int
    failed: int
    error: str

    def __str__(self) -> str:
        parts = []
        if self.dropped:
            parts.append(f"missed {self.dropped} of {self.handled + self.dropped} events")
        if self.failed:
            parts.append(f"raised for {self.failed} events, first {self.error}")
        return f"Observer {self.name} {' and '.join(parts) or 'handled every event'}."


class Observation:
    """The observers of one run; a context manager that reports problems as warnings at its end.

    Args:
        observers: pairs of a name and ``observe(event, position)``.
        limit: maximum number of events in the queue of each.
    """

    def __init__(self, observers: Sequence[tuple[str, Observer]], *, limit: int = _LIMIT) -> None:
        self._watchers = [_Watcher(name, observe, limit) for name, observe in observers]

    def over(self, ledger: LedgerStore) -> LedgerStore:
        """Return a ledger that passes appended events to the observers; `ledger` without observers."""
        return _Observed(ledger, self._watchers) if self._watchers else ledger

    def close(self) -> list[ObserverReport]:
        """Wait for the observers while they make progress, and return their reports."""
        deadline = time.monotonic() + _DRAIN_SECONDS
        return [watcher.close(deadline) for watcher in self._watchers]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        warn_always([str(each) for each in self.close() if each.dropped or each.failed])


def warn_always(problems: Sequence[str]) -> None:
    """Issue warnings, even if warnings are errors: an observer does not end a run."""
    if not problems:
        return
    # The filters belong to the process, and runs may end in several of its threads at once.
    with _FILTERS_LOCK, warnings.catch_warnings():
        warnings.simplefilter("always")
        for problem in problems:
            warnings.warn(problem, stacklevel=3)


class _Observed(LedgerStore):
    """A ledger that passes appended events to watchers."""

    def __init__(self, inner: LedgerStore, watchers: Sequence[_Watcher]) -> None:
        self._inner, self._watchers = inner, watchers
        self.keeps_blobs = inner.keeps_blobs

    def append(self, events: list[KandoEvent], *, expected_length: int | None = None) -> int:
        length = self._inner.append(events, expected_length=expected_length)
        recorded = [event for event in events if isinstance(event, RecordedEvent)]
        for watcher in self._watchers:
            watcher.enqueue(recorded)
        return length

    def append_firings(
        self, items: Sequence[RecordedEvent | Firing], *, expected_length: int | None = None
    ) -> int:
        length = self._inner.append_firings(items, expected_length=expected_length)
        recorded = flattened(items)
        for watcher in self._watchers:
            watcher.enqueue(recorded)
        return length

    def read_firings(self, from_position: int = 0) -> Iterator[RecordedEvent | Firing]:
        return self._inner.read_firings(from_position)

    def read(self, from_position: int = 0) -> Iterator[RecordedEvent]:
        return self._inner.read(from_position)

    def blobs(self, digests: Sequence[bytes]) -> Mapping[bytes, bytes]:
        return self._inner.blobs(digests)

    def store_blobs(self, bodies: Sequence[bytes]) -> None:
        self._inner.store_blobs(bodies)

    def stream_name(self) -> str:
        return self._inner.stream_name()

    def length(self) -> int:
        return self._inner.length()

    def at(self, position: int) -> RecordedEvent | None:
        return self._inner.at(position)

    def find(self, event_id: str) -> RecordedEvent | None:
        return self._inner.find(event_id)

    def digest(self, position: int) -> bytes:
        return self._inner.digest(position)

    def close(self) -> None:
        self._inner.close()


class _Watcher:
    """One observer, its queue and its thread."""

    def __init__(self, name: str, observe: Observer, limit: int) -> None:
        self._name, self._observe, self._limit = name, observe, limit
        self._queue: SimpleQueue[Sequence[RecordedEvent]] = SimpleQueue()
        # One thread writes each number: the run `_put` and `_dropped`, the watcher the rest.
        self._put = self._dropped = self._handled = self._failed = 0
        self._error = ""
        self._busy_since: float | None = None
        self._busy_seconds = 0.0
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def enqueue(self, events: Sequence[RecordedEvent]) -> None:
        """Put events into the observer's queue; never blocks."""
        if self._thread is None:
            # A daemon: a thread that hangs must not keep the process alive.
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        room = max(self._limit - (self._put - self._handled), 0)
        self._dropped += max(len(events) - room, 0)
        self._put += min(len(events), room)
        self._queue.put(events[:room])

    def _work(self) -> None:
        while not self._is_closed:
            for event in self._queue.get():
                if self._is_closed:
                    return
                self._watch(event)

    def _watch(self, event: RecordedEvent) -> None:
        self._busy_since = start = time.monotonic()
        try:
            self._observe(_copy(event), event.position)
        except BaseException as error:
            # Including SystemExit: a plugin must not end the process.
            self._failed += 1
            self._error = self._error or redact(f"{type(error).__name__}: {error}"[:200])
        self._busy_since = None
        self._busy_seconds += time.monotonic() - start
        self._handled += 1

    def close(self, deadline: float) -> ObserverReport:
        """Wait while the observer makes progress, then return its report."""
        while self._handled < self._put and self._makes_progress() and time.monotonic() < deadline:
            time.sleep(0.001)
        handled = self._handled
        self._is_closed = True
        self._queue.put(())
        dropped = self._dropped + self._put - handled
        return ObserverReport(self._name, handled, dropped, self._failed, self._error)

    def _makes_progress(self) -> bool:
        since, handled = self._busy_since, self._handled
        current = time.monotonic() - since if since is not None else 0.0
        per_event = (self._busy_seconds + current) / (handled + 1)
        return current <= _CALL_SECONDS and per_event * (self._put - handled) <= _HOPELESS_SECONDS


def _copy(event: RecordedEvent) -> RecordedEvent:
    is_split = has_references(event.encoded)
    data = copied(event.data) if is_split else decode(event.encoded)
    return attrs.evolve(event, data=data, cause=list(event.cause))
