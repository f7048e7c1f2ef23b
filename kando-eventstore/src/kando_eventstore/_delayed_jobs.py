"""Jobs that are not due yet: the server cannot delay deliveries, so a stream holds them."""

from __future__ import annotations

import heapq
import time

import attrs
import msgspec

from kando.ledger.groups import Job
from kando_eventstore._streams import NewEvent, Streams

__all__ = ["DelayedJobs"]

_DELAYED = "job.delayed"

# Between two reads of the jobs that other workers delayed.
_READ_SECONDS = 0.5


@attrs.frozen(order=True)
class _Delayed:
    """A job to offer at a time, in seconds since 1970."""

    at: float
    revision: int
    job: Job = attrs.field(order=False)


class DelayedJobs:
    """The delayed jobs of a group, in the stream ``later:{group}``.

    Every worker reads all of them, so that no job is lost with a worker. If two workers offer a job,
    the second offer finds it waiting, or has it done once more.

    Args:
        streams: of the server.
        group: name of the group.
    """

    def __init__(self, streams: Streams, group: str) -> None:
        self._streams = streams
        self._stream = f"later:{group}"
        self._heap: list[_Delayed] = []
        self._next = 0
        self._read_at = float("-inf")

    def add(self, job: Job, delay: float) -> None:
        """Delay a job by a number of seconds."""
        fields = {"at": time.time() + delay, "job": attrs.asdict(job)}
        self._streams.append(
            self._stream, [NewEvent(_DELAYED, msgspec.json.encode(fields))], after=None
        )
        self._read_at = float("-inf")

    def due(self) -> list[Job]:
        """Return the jobs that have become due."""
        now = time.monotonic()
        if now - self._read_at >= _READ_SECONDS:
            self._read_at = now
            for each in self._from(self._next):
                heapq.heappush(self._heap, each)
                self._next = each.revision + 1
        due = []
        while self._heap and self._heap[0].at <= time.time():
            due.append(heapq.heappop(self._heap).job)
        return due

    def truncate(self) -> None:
        """Truncate the stream before the first job that is not due yet."""
        first = min((each.revision for each in self._heap), default=self._next)
        self._streams.truncate(self._stream, first)

    def times(self) -> list[float]:
        """Return the time at which each delayed job is due, in seconds since 1970, earliest first.

        Those of jobs that are due, but were not offered yet, are included.
        """
        first: dict[str, float] = {}
        for each in self._from(0):
            key = each.job.key
            first[key] = min(each.at, first.get(key, each.at))
        return sorted(first.values())

    def _from(self, revision: int) -> list[_Delayed]:
        found = []
        for event in self._streams.forwards(self._stream, revision):
            fields = msgspec.json.decode(event.data)
            found.append(_Delayed(fields["at"], event.revision, Job(**fields["job"])))
        return found
