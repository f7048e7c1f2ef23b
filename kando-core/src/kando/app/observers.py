"""Observers of plugins: told of what a run records, unable to change, stop or delay it.

Each observer has a thread and a bounded queue of its own. What was appended to the ledger is put into
the queues, and the run goes on; where a queue is full, the newest events are dropped for that observer,
and counted. An observer gets copies, so that nothing it does to an event reaches the ledger or the
world. One that raises is counted and told of the next event. At the end of the run an observer is
waited for only as long as it gets on, and what it has missed is reported. A thread that hangs does not
keep the process.

What Python cannot guard against is an observer that never lets go of the interpreter lock.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from types import TracebackType
from typing import Self

import attrs

from kando.ledger.interface import LedgerStore
from kando.responders.redaction import redact
from kando.schema.events import KandoEvent, RecordedEvent
from kando.schema.exact_json import decode

__all__ = ["Observation", "ObserverReport"]

#: Events that may wait for one observer.
_LIMIT = 1000

#: At the end of a run: seconds that are spent on waiting for those who get on, seconds that one call
#: may have lasted before it counts as hanging, and seconds of work left with which it is no use to
#: wait at all.
_DRAIN_SECONDS = 2.0
_CALL_SECONDS = 0.25
_HOPELESS_SECONDS = 10.0

_FILTERS_LOCK = threading.Lock()

Observer = Callable[[KandoEvent, int], object]


@attrs.frozen
class ObserverReport:
    """What became of one observer in one run.

    Attributes:
        name: ``distribution:plugin``.
        told: events it has dealt with.
        dropped: events it was not told of, or was still busy with when the run ended.
        failed: events at which it raised.
        error: what it raised first, in one line; empty if nothing.
    """

    name: str
    told: int
    dropped: int
    failed: int
    error: str

    def __str__(self) -> str:
        said = []
        if self.dropped:
            said.append(f"missed {self.dropped} of {self.told + self.dropped} events")
        if self.failed:
            said.append(f"raised at {self.failed} events, first {self.error}")
        return f"Observer {self.name} {' and '.join(said) or 'was told of every event'}."


class Observation:
    """The observers of one run; a context manager that ends with their reports as warnings.

    Args:
        observers: pairs of a name and ``observe(event, position)``.
        limit: how many events may wait for each.
    """

    def __init__(self, observers: Sequence[tuple[str, Observer]], *, limit: int = _LIMIT) -> None:
        self._watchers = [_Watcher(name, observe, limit) for name, observe in observers]

    def over(self, ledger: LedgerStore) -> LedgerStore:
        """Return a ledger whose observers are told of what is appended; itself without observers."""
        return _Observed(ledger, self._watchers) if self._watchers else ledger

    def close(self) -> list[ObserverReport]:
        """Let the observers deal with what waits, as long as they get on, and report on them."""
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
        reports = [each for each in self.close() if each.dropped or each.failed]
        if not reports:
            return
        # The filters belong to the process, and runs may end in several of its threads at once.
        with _FILTERS_LOCK, warnings.catch_warnings():
            # Also where warnings are errors: an observer does not end a run.
            warnings.simplefilter("always")
            for report in reports:
                warnings.warn(str(report), stacklevel=2)


class _Observed(LedgerStore):
    """A ledger of which watchers are told."""

    def __init__(self, inner: LedgerStore, watchers: Sequence[_Watcher]) -> None:
        self._inner, self._watchers = inner, watchers

    def append(self, events: list[KandoEvent], *, expected_length: int | None = None) -> int:
        length = self._inner.append(events, expected_length=expected_length)
        recorded = [event for event in events if isinstance(event, RecordedEvent)]
        for watcher in self._watchers:
            watcher.tell(recorded)
        return length

    def read(self, from_position: int = 0) -> Iterator[RecordedEvent]:
        return self._inner.read(from_position)

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
        self._waiting: SimpleQueue[Sequence[RecordedEvent]] = SimpleQueue()
        # Each number is written by one thread: `_put` and `_full` by the run, the rest by its own.
        self._put = self._full = self._told = self._failed = 0
        self._error = ""
        self._busy_since: float | None = None
        self._busy_seconds = 0.0
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def tell(self, events: Sequence[RecordedEvent]) -> None:
        """Have the observer told of events some time; never blocks."""
        if self._thread is None:
            # A daemon: one that hangs must not keep the process from ending.
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        room = max(self._limit - (self._put - self._told), 0)
        self._full += max(len(events) - room, 0)
        self._put += min(len(events), room)
        self._waiting.put(events[:room])

    def _work(self) -> None:
        while not self._is_closed:
            for event in self._waiting.get():
                if self._is_closed:
                    return
                self._watch(event)

    def _watch(self, event: RecordedEvent) -> None:
        self._busy_since = start = time.monotonic()
        try:
            self._observe(_copy(event), event.position)
        except BaseException as error:
            # SystemExit as well: a plugin does not end somebody else's process.
            self._failed += 1
            self._error = self._error or redact(f"{type(error).__name__}: {error}"[:200])
        self._busy_since = None
        self._busy_seconds += time.monotonic() - start
        self._told += 1

    def close(self, deadline: float) -> ObserverReport:
        """Wait while the observer gets on, then report on it."""
        while self._told < self._put and self._gets_on() and time.monotonic() < deadline:
            time.sleep(0.001)
        told = self._told
        self._is_closed = True
        self._waiting.put(())
        dropped = self._full + self._put - told
        return ObserverReport(self._name, told, dropped, self._failed, self._error)

    def _gets_on(self) -> bool:
        since, told = self._busy_since, self._told
        current = time.monotonic() - since if since is not None else 0.0
        per_event = (self._busy_seconds + current) / (told + 1)
        return current <= _CALL_SECONDS and per_event * (self._put - told) <= _HOPELESS_SECONDS


def _copy(event: RecordedEvent) -> RecordedEvent:
    return attrs.evolve(event, data=decode(event.encoded), cause=list(event.cause))
