"""A responder group: what there is to do for many runs, shared by competing workers."""

from __future__ import annotations

from abc import ABC, abstractmethod

import attrs

from kando.errors import ConfigurationError
from kando.ledger.notice import Worker

__all__ = [
    "MAX_ATTEMPTS",
    "GroupInfo",
    "Job",
    "Lease",
    "ParkedJob",
    "ResponderGroup",
    "check_group",
]

#: After so many attempts that came to nothing a job is parked.
MAX_ATTEMPTS = 5

_MAX_NAME_CHARS = 60


@attrs.frozen
class Job:
    """Something to do for a run.

    Attributes:
        ledger_id: of the run or branch.
        intent: id of the intent to answer by a call to the outside; empty: go on with the run.
    """

    ledger_id: str
    intent: str = ""

    @property
    def key(self) -> str:
        """What tells it apart from the other jobs of a group."""
        return f"{self.ledger_id}/{self.intent}" if self.intent else self.ledger_id


@attrs.frozen
class Lease:
    """A job that a worker has taken.

    Attributes:
        job: what to do.
        attempt: counted from 1; those of workers that died count as well.
        token: of this holding; it is void once the job has gone to another worker.
    """

    job: Job
    attempt: int
    token: str


@attrs.frozen
class ParkedJob:
    """A job that was set aside.

    Attributes:
        job: what was to be done.
        reason: why it is not tried again by itself.
    """

    job: Job
    reason: str


@attrs.frozen
class GroupInfo:
    """How a group stands.

    Attributes:
        name: of the group.
        waiting: jobs that nobody has taken: its lag.
        in_flight: jobs that workers have taken.
        parked: jobs that were set aside.
    """

    name: str
    waiting: int
    in_flight: int
    parked: int


class ResponderGroup(ABC):
    """The jobs of a group. Implementations are judged by ``kando.testing.groups.GroupContract``.

    A job is done at least once: what a worker lease when it died, or when its lease ran out, goes to
    another. So whatever a job brings about is to be safe when it is done twice: appends carry the
    expected length, and results go into an inbox under a key.
    """

    name: str

    @abstractmethod
    def offer(self, job: Job, delay: float = 0.0) -> None:
        """Have a job done, after so many seconds at the earliest.

        One that waits already is not added again. One that is in flight is done again afterwards:
        who does it may have looked too early. A parked one stays parked.
        """

    @abstractmethod
    def take(self, worker: Worker, seconds: float) -> Lease | None:
        """Return a job for a worker, or None if there is none for it now.

        While it is lease, nobody else gets the same job: two workers never go on with one run.

        Args:
            worker: who takes it.
            seconds: after which it goes to another, unless it is extended.
        """

    @abstractmethod
    def extend(self, lease: Lease, seconds: float) -> bool:
        """Keep a job for so many seconds from now; return False if it has gone to another."""

    @abstractmethod
    def finish(self, lease: Lease) -> None:
        """Be done with a job. Nothing happens if it has gone to another."""

    @abstractmethod
    def retry(self, lease: Lease, reason: str, delay: float = 0.0) -> bool:
        """Have a job tried again, or parked if that was its last attempt.

        Args:
            lease: the job.
            reason: why it came to nothing.
            delay: seconds to wait before.

        Returns:
            False if it was parked.
        """

    @abstractmethod
    def park(self, lease: Lease, reason: str) -> None:
        """Set a job aside."""

    @abstractmethod
    def parked(self) -> list[ParkedJob]:
        """Return what was set aside, in that order."""

    @abstractmethod
    def replay_parked(self) -> int:
        """Have all parked jobs tried anew, and return how many these are."""

    @abstractmethod
    def info(self) -> GroupInfo:
        """Return how the group stands."""

    def close(self) -> None:  # noqa: B027 - optional: most groups hold nothing open themselves
        """Release what the group holds open; what it has taken goes to others."""


def check_group(name: str) -> str:
    """Return the well-formed name of a group, or refuse it.

    Raises:
        ConfigurationError: it is not 1 to 60 letters, digits, ``.``, ``_`` or ``-`` that start with
            a letter or digit.
    """
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    if 1 <= len(name) <= _MAX_NAME_CHARS and set(name) <= allowed and name[0].isalnum():
        return name
    msg = f"{name[:80]!r} is not the name of a group."
    hint = f"Use 1 to {_MAX_NAME_CHARS} letters, digits, '.', '_' or '-'."
    raise ConfigurationError(msg, hint=hint)
