"""The state of a job: a stream whose last event says which worker holds it."""

from __future__ import annotations

import secrets
from hashlib import sha256
from typing import ClassVar

import attrs
import msgspec

from kando.ledger.groups import Job
from kando_eventstore._streams import NO_EVENTS, NewEvent, Streams

__all__ = ["JobState", "JobStates"]

_CHANGED = "job.changed"


@attrs.frozen
class JobState:
    """The state of a job.

    Attributes:
        kind: ``waiting``, ``held``, ``parked`` or ``done``; empty if it was never offered.
        event: id of the event in the group's stream that delivered the job, or will deliver it.
        attempt: how often the job was taken from that event.
        token: of the worker that holds it.
        is_due_again: whether it was offered while it was held.
        reason: why it is parked.
        replaces: id of the event that was parked, if the job was replayed; the server delivers that
            event again, too.
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
    replaces: str = ""

    def queued(self, event: str) -> JobState:
        """Return the state of this job once an event in the group's stream will deliver it."""
        return self._next(self.WAITING, event)

    def taken(self, event: str, attempt: int) -> JobState:
        """Return the state of this job once a worker has taken it from an event."""
        held = self._next(self.HELD, event)
        return attrs.evolve(held, attempt=attempt, token=secrets.token_hex(8))

    def parked(self, reason: str) -> JobState:
        """Return the state of this job once it is parked."""
        return attrs.evolve(self._next(self.PARKED, self.event), reason=reason)

    def done(self) -> JobState:
        """Return the state of this job once it is done."""
        return self._next(self.DONE, self.event)

    def _next(self, kind: str, event: str) -> JobState:
        is_replayed = self.is_parked and event != self.event
        return JobState(kind, event, replaces=self.event if is_replayed else self.replaces)

    @property
    def is_waiting(self) -> bool:
        """Whether it is in the queue and no worker holds it."""
        return self.kind == self.WAITING

    @property
    def is_held(self) -> bool:
        """Whether a worker holds it."""
        return self.kind == self.HELD

    @property
    def is_parked(self) -> bool:
        """Whether it is parked."""
        return self.kind == self.PARKED

    def is_stale(self, event: str, *, is_replay: bool) -> bool:
        """Whether a delivery is obsolete: its job is done, or another delivery has replaced it.

        Args:
            event: id of the event that is delivered.
            is_replay: whether the event was queued to replay the parked job.
        """
        if event == self.replaces:
            return True
        if self.kind == self.DONE:
            return self.event == event
        if self.kind == self.PARKED and is_replay:
            return False
        return self.event != event and self.kind in (self.WAITING, self.PARKED)


class JobStates:
    """The states of a group's jobs. Changes expect a revision, so none is overwritten unseen.

    Args:
        streams: of the server.
        group: name of the group.
    """

    def __init__(self, streams: Streams, group: str) -> None:
        self._streams = streams
        self._group = group
        #: Whether the group is known to exist.
        self.is_group_known = False

    def of(self, job: Job) -> tuple[JobState, int]:
        """Return the state of a job, and its revision."""
        last = self._streams.last(self._name(job))
        if last is None:
            return JobState(), NO_EVENTS
        return JobState(**msgspec.json.decode(last.data)), last.revision

    def change(self, job: Job, state: JobState, revision: int) -> bool:
        """Set the state of a job; return False if another process was faster."""
        stream = self._name(job)
        if revision == NO_EVENTS:
            self._streams.keep_last(stream)
        new = NewEvent(_CHANGED, msgspec.json.encode(attrs.asdict(state)))
        return self._streams.append(stream, [new], after=revision)

    def _name(self, job: Job) -> str:
        return f"job:{self._group}:{sha256(job.key.encode()).hexdigest()}"
