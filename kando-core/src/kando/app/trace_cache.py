"""A cache of traces, so that a server need not walk the same causes for each page."""

from __future__ import annotations

import threading

import attrs

from kando.app.run import Run
from kando.app.trace import Trace

__all__ = ["TraceCache"]

#: Limit for the steps of all traces; the newest one is always kept.
_MAX_STEPS = 200_000

#: Stream, digest of the events that count, event, whether effects, depth, whether with bookkeeping.
_Key = tuple[str, str, str, bool, int | None, bool]


@attrs.define
class TraceCache:
    """The traces that were shown last. A trace is used only for the events that it was made from."""

    _traces: dict[_Key, Trace] = attrs.field(factory=dict, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def trace(
        self,
        run: Run,
        id: str,
        end: int,
        *,
        is_down: bool = False,
        depth: int | None = None,
        with_bookkeeping: bool = False,
    ) -> Trace:
        """Return why an event exists, or what followed from it, as `Run.trace` does.

        Args:
            run: of the event.
            id: of the event, or of an object or relation.
            end: number of events of the run that count.
            is_down: follow effects instead of causes.
            depth: maximum number of links to follow; all if None.
            with_bookkeeping: with `is_down`, include the runtime's bookkeeping events.

        Raises:
            EventNotFound: the run has no such event, object or relation.
        """
        key = (run.source, run.head(at=end), id, is_down, depth, with_bookkeeping)
        with self._lock:
            found = self._traces.pop(key, None)
            if found is not None:
                # Those that are used stay longest.
                self._traces[key] = found
                return found
        found = run.trace(id, at=end, down=is_down, depth=depth, with_bookkeeping=with_bookkeeping)
        with self._lock:
            self._traces[key] = found
            while len(self._traces) > 1 and sum(map(_size, self._traces.values())) > _MAX_STEPS:
                del self._traces[next(iter(self._traces))]
        return found


def _size(trace: Trace) -> int:
    # A short trace takes memory, too.
    return len(trace.steps) + 100
