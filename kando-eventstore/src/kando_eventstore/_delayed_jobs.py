"""Jobs that are not due yet: the server knows no delays, so a stream keeps them in mind."""

from __future__ import annotations

import heapq
import time

import attrs
import msgspec

from kando.ledger.groups import Job
from kando_eventstore._streams import New, Streams

__all__ = ["Later"]

_DELAYED = "job.delayed"

# Between two looks at what other workers keep in mind.
_LOOK_SECONDS = 0.5


@attrs.frozen(order=True)
class _Delayed:
    """A job that is to be offered at a time, in seconds since 1970."""

    at: float
    revision: int
    job: Job = attrs.field(order=False)


class Later:
    """The jobs of a group that are not due yet, in the stream ``later:{group}``.

    Every worker has them all in mind, so that none dies with one. A job that two of them offer is
    offered once: the second time it waits already, or is done once more.

    Args:
        streams: of the server.
        group: name of the group.
    """

    def __init__(self, streams: Streams, group: str) -> None:
        self._streams = streams
        self._stream = f"later:{group}"
        self._heap: list[_Delayed] = []
        self._next = 0
        self._looked_at = float("-inf")

    def add(self, job: Job, delay: float) -> None:
        """Keep a job in mind for so many seconds."""
        told = {"at": time.time() + delay, "job": attrs.asdict(job)}
        self._streams.append(self._stream, [New(_DELAYED, msgspec.json.encode(told))], after=None)
        self._looked_at = float("-inf")

    def due(self) -> list[Job]:
        """Return the jobs whose time has come."""
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            for each in self._from(self._next):
                heapq.heappush(self._heap, each)
                self._next = each.revision + 1
        due = []
        while self._heap and self._heap[0].at <= time.time():
            due.append(heapq.heappop(self._heap).job)
        return due

    def forget(self) -> None:
        """Let go of what has been due and was offered."""
        first = min((each.revision for each in self._heap), default=self._next)
        self._streams.truncate(self._stream, first)

    def count(self) -> int:
        """Return how many jobs are kept in mind."""
        return len(self._from(0))

    def _from(self, revision: int) -> list[_Delayed]:
        found = []
        for event in self._streams.forwards(self._stream, revision):
            told = msgspec.json.decode(event.data)
            found.append(_Delayed(told["at"], event.revision, Job(**told["job"])))
        return found
