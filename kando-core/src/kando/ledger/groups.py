"""A responder group: a queue of jobs for many runs, shared by competing workers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import attrs

from kando.errors import ConfigurationError
from kando.ledger.claims import Worker
from kando.ledger.inbox import InboxEntry

if TYPE_CHECKING:
    from kando.ledger.substrate import Substrate

__all__ = [
    "MAX_ATTEMPTS",
    "GroupInfo",
    "HandOver",
    "Job",
    "Lease",
    "ParkedJob",
    "ResponderGroup",
    "check_group",
]

#: Number of failed attempts after which a job is parked.
MAX_ATTEMPTS = 5

_MAX_NAME_CHARS = 60


@attrs.frozen
class Job:
    """A unit of work for a run.

    Attributes:
        ledger_id: of the run or branch.
        intent: id of the intent whose external call is to be made; empty: resume the run.
    """

    ledger_id: str
    intent: str = ""

    @property
    def key(self) -> str:
        """Identifies the job within its group."""
        return f"{self.ledger_id}/{self.intent}" if self.intent else self.ledger_id


@attrs.frozen
class Lease:
    """A job that a worker has taken.

    Attributes:
        job: that was taken.
        attempt: number of the attempt, from 1; attempts of workers that died count as well.
        token: identifies this lease; it is invalid once another worker has the job.
    """

    job: Job
    attempt: int
    token: str


@attrs.frozen
class HandOver:
    """The changes of a worker when jobs are done, in one step if the group can (`ResponderGroup.hand_over`).

    Attributes:
        done: leases of the jobs that are done.
        entries: their results: each a ledger id, and an entry for the inbox of that ledger.
        jobs: that follow: each a job, and the seconds after which it is due.
        takes: those of these jobs that the worker would like to do itself.
        lasts: whether all changes so far are on disk when the step returns. Otherwise they survive
            the death of the process at once, and a failure of the machine after the next step that
            lasts, or the next append.
    """

    done: Sequence[Lease] = ()
    entries: Sequence[tuple[str, InboxEntry]] = ()
    jobs: Sequence[tuple[Job, float]] = ()
    takes: Sequence[Job] = ()
    lasts: bool = True


@attrs.frozen
class ParkedJob:
    """A job that is not retried automatically.

    Attributes:
        job: that was parked.
        reason: why it was parked.
    """

    job: Job
    reason: str


@attrs.frozen
class GroupInfo:
    """The size of a group's queue.

    Attributes:
        name: of the group.
        waiting: number of jobs that no worker has taken, delayed jobs included: its lag.
        in_flight: number of jobs that workers have taken.
        parked: number of jobs that are parked.
        delayed: number of waiting jobs that are not due yet.
        next_due: when the first delayed job becomes due, timezone-aware; None if no job is
            delayed, or if the time is unknown.
    """

    name: str
    waiting: int
    in_flight: int
    parked: int
    delayed: int = 0
    next_due: datetime | None = None

    def is_idle(self, seconds: float) -> bool:
        """Whether no job is in flight, and none is due now or within a number of seconds."""
        if self.in_flight or self.waiting > self.delayed:
            return False
        return self.next_due is None or self.next_due > datetime.now(UTC) + timedelta(
            seconds=seconds
        )

    def delayed_text(self) -> str:
        """Return how many jobs are delayed, and when the next is due, as text."""
        text = "1 job is delayed" if self.delayed == 1 else f"{self.delayed} jobs are delayed"
        if self.next_due is None:
            return text
        due = self.next_due.astimezone(UTC).isoformat(timespec="seconds")
        return f"{text}; the next is due at {due.removesuffix('+00:00')}Z"


class ResponderGroup(ABC):
    """The jobs of a group. Implementations must pass ``kando.testing.groups.GroupContract``.

    A job is done at least once: when a worker dies or its lease expires, another worker gets the
    job. So the effects of a job must be safe to repeat: appends carry the expected length, and
    results go into an inbox under a key.
    """

    name: str

    @abstractmethod
    def offer(self, job: Job, delay: float = 0.0) -> None:
        """Add a job to the queue, to be done after `delay` seconds at the earliest.

        A job that already waits is not added again. A job in flight is done once more afterwards,
        since its worker may have read the ledger too early. A parked job stays parked.
        """

    @abstractmethod
    def take(self, worker: Worker, seconds: float) -> Lease | None:
        """Return a lease of the next job, or None if no job is due.

        No other worker gets the job during the lease, so two workers never resume the same run.

        Args:
            worker: that takes the job.
            seconds: until the lease expires, unless it is extended.
        """

    @abstractmethod
    def extend(self, lease: Lease, seconds: float) -> bool:
        """Extend a lease to `seconds` from now; return False if another worker has the job."""

    @abstractmethod
    def finish(self, lease: Lease) -> None:
        """Remove a job that is done. Nothing happens if another worker has it."""

    def hand_over(
        self, handed: HandOver, substrate: Substrate, worker: Worker, seconds: float
    ) -> list[Lease]:
        """Deliver what came of jobs, offer what follows, finish the jobs, and take what follows.

        Here one is done after the other, in the order in which a worker that dies in between loses
        nothing: jobs that are not finished are done again. A group that stores jobs, inboxes and
        ledgers in one place overrides this and does all of it in one step.

        Args:
            handed: what to change.
            substrate: of the group.
            worker: that takes jobs.
            seconds: until the leases of the jobs it takes expire, unless they are extended.

        Returns:
            Leases of jobs of `handed.takes`; none of those that another worker has, or that this
            group does not hand out directly. The others wait for `take`.

        Raises:
            LedgerNotFound: the ledger of an entry does not exist; no job was finished.
        """
        for ledger_id, entry in handed.entries:
            substrate.deliver(ledger_id, entry)
        for job, delay in handed.jobs:
            self.offer(job, delay)
        for lease in handed.done:
            self.finish(lease)
        return []

    @abstractmethod
    def retry(self, lease: Lease, reason: str, delay: float = 0.0) -> bool:
        """Put a failed job back into the queue, or park it after its last attempt.

        Args:
            lease: of the job.
            reason: why it failed.
            delay: seconds to wait before the next attempt.

        Returns:
            False if it was parked.
        """

    @abstractmethod
    def park(self, lease: Lease, reason: str) -> None:
        """Park a job: it is not retried until `replay_parked`."""

    @abstractmethod
    def parked(self) -> list[ParkedJob]:
        """Return the parked jobs, in the order in which they were parked."""

    @abstractmethod
    def replay_parked(self) -> int:
        """Put all parked jobs back into the queue, and return their number."""

    @abstractmethod
    def info(self) -> GroupInfo:
        """Return the size of the queue."""

    def close(self) -> None:  # noqa: B027 - optional: most groups hold nothing open themselves
        """Release connections; other workers get the jobs that this one has taken."""


def check_group(name: str) -> str:
    """Return the name of a group if it is well-formed.

    Raises:
        ConfigurationError: it is not 1 to 60 letters, digits, ``.``, ``_`` or ``-``, starting with
            a letter or digit.
    """
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    if 1 <= len(name) <= _MAX_NAME_CHARS and set(name) <= allowed and name[0].isalnum():
        return name
    msg = f"{name[:80]!r} is not a valid group name."
    hint = f"Use 1 to {_MAX_NAME_CHARS} letters, digits, '.', '_' or '-'."
    raise ConfigurationError(msg, hint=hint)
