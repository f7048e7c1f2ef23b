"""How a job stands: a stream of its own, whose last event says who has it."""

from __future__ import annotations

import secrets
from hashlib import sha256
from typing import ClassVar

import attrs
import msgspec

from kando.ledger.groups import Job
from kando_eventstore._streams import NO_EVENTS, New, Streams

__all__ = ["JobState", "JobStates"]

_CHANGED = "job.changed"


@attrs.frozen
class JobState:
    """How a job stands.

    Attributes:
        kind: ``waiting``, ``held``, ``parked`` or ``done``; empty if it was never offered.
        event: id of the event in the group's stream by which it was delivered, or will be.
        attempt: how often it was taken by that event.
        token: of who holds it.
        is_due_again: whether it was offered while it was held.
        reason: why it is parked.
    """

    WAITING: ClassVar[str] = "waiting"
    HELD: ClassVar[str] = "held"
    PARKED: ClassVar[str] = "parked"
    DONE: ClassVar[str] = "done"

    kind: str = ""
    event: str = ""
    attempt: int = 0
    token: str = ""
    is_due_again: bool = False
    reason: str = ""

    @classmethod
    def taken(cls, event: str, attempt: int) -> JobState:
        """Return the state of a job that is taken now."""
        return cls(cls.HELD, event, attempt, secrets.token_hex(8))

    def parked(self, reason: str) -> JobState:
        """Return the state of this job when it is set aside."""
        return JobState(self.PARKED, self.event, reason=reason)

    @property
    def is_waiting(self) -> bool:
        """Whether it is in the queue, and nobody has it."""
        return self.kind == self.WAITING

    @property
    def is_held(self) -> bool:
        """Whether a worker has it."""
        return self.kind == self.HELD

    @property
    def is_parked(self) -> bool:
        """Whether it was set aside."""
        return self.kind == self.PARKED

    def is_stale(self, event: str) -> bool:
        """Whether a delivery has nothing to say any more: it is done with, or another stands."""
        if self.kind == self.DONE:
            return self.event == event
        return self.event != event and self.kind in (self.WAITING, self.PARKED)


class JobStates:
    """How the jobs of a group stand. Changes are made at an expected revision, so each is seen.

    Args:
        streams: of the server.
        group: name of the group.
    """

    def __init__(self, streams: Streams, group: str) -> None:
        self._streams = streams
        self._group = group
        #: Whether the group is known to be there.
        self.is_known = False

    def of(self, job: Job) -> tuple[JobState, int]:
        """Return how a job stands, and the revision that says so."""
        last = self._streams.last(self._name(job))
        if last is None:
            return JobState(), NO_EVENTS
        return JobState(**msgspec.json.decode(last.data)), last.revision

    def change(self, job: Job, state: JobState, revision: int) -> bool:
        """Say how a job stands; return False if somebody was faster."""
        stream = self._name(job)
        if revision == NO_EVENTS:
            self._streams.keep_last(stream)
        new = New(_CHANGED, msgspec.json.encode(attrs.asdict(state)))
        return self._streams.append(stream, [new], after=revision)

    def _name(self, job: Job) -> str:
        return f"job:{self._group}:{sha256(job.key.encode()).hexdigest()}"
