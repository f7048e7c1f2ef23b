"""The jobs that one worker of a group has: it takes them, extends their leases, and ends each in its way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import attrs

from kando.app.claims import seconds_now
from kando.errors import ConcurrencyError, LedgerDeleted, LedgerNotFound, RunBusy, StoreError
from kando.ledger.claims import this_process
from kando.ledger.groups import HandOver, Job, Lease, ResponderGroup
from kando.ledger.substrate import Substrate
from kando.runtime.failure import lacks_handles, with_place

__all__ = ["Held", "JobLost", "Jobs", "LaneFull"]

# Delay before a failed call is retried: 1 s, 2 s, 4 s, ...
_RETRY_SECONDS = 1.0

# Delay before a job is tried again whose run a process outside the group works on.
_BUSY_SECONDS = 1.0

# Delay before a retry if another worker wrote to the ledger first.
_CONFLICT_SECONDS = 0.2

Result = TypeVar("Result")


class LaneFull(Exception):
    """As many calls of a tool or provider as it allows are in flight, here or elsewhere."""


class JobLost(Exception):
    """Another worker has taken the job, because its lease ended while this process was suspended."""


@attrs.frozen(eq=False)
class Held:
    """A job that this worker has taken.

    Attributes:
        lease: on the job.
        since: when its turn began.
    """

    lease: Lease
    since: float

    @property
    def job(self) -> Job:
        """The job itself."""
        return self.lease.job


class Jobs:
    """The jobs that a worker has. Several threads may use it at once.

    Args:
        group: that offers them.
        substrate: of the group.
        seconds: without a sign of life after which another worker takes a job.
        report: receives a line for each failed attempt and each parked job.
    """

    def __init__(
        self,
        group: ResponderGroup,
        substrate: Substrate,
        seconds: float,
        report: Callable[[str], None],
    ) -> None:
        self._group, self._substrate = group, substrate
        self._seconds = seconds
        self._report = report
        # By the token of the lease, with the time when each was known to be held.
        self._leases: dict[str, tuple[Lease, float]] = {}

    def take(self) -> Held | None:
        """Take the next job of the queue; None if none is due."""
        now = seconds_now()
        lease = self._group.take(this_process(), self._seconds)
        return self._held(lease, now, now) if lease is not None else None

    def _held(self, lease: Lease, now: float, since: float) -> Held:
        self._leases[lease.token] = lease, now
        return Held(lease, since)

    def hand_over(self, handed: HandOver, since: dict[str, float]) -> list[Held]:
        """Hand over what came of jobs, and return those that this worker has taken in the same step.

        It is repeated until the process has file handles again.

        Args:
            handed: the jobs that are done, and what follows from them.
            since: when the turn of each run began whose jobs are taken.
        """
        now = seconds_now()
        taken = self._handed_over(handed)
        found = [self._held(lease, now, since[lease.job.ledger_id]) for lease in taken]
        for lease in handed.done:
            self._leases.pop(lease.token, None)
        return found

    def _handed_over(self, handed: HandOver) -> list[Lease]:
        while True:
            try:
                return self._group.hand_over(handed, self._substrate, this_process(), self._seconds)
            except LedgerDeleted:
                left = self._without_deleted(handed)
                if left == handed:
                    raise
                handed = left
            except StoreError as error:
                if not lacks_handles(error):
                    raise
                time.sleep(_RETRY_SECONDS)

    def _without_deleted(self, handed: HandOver) -> HandOver:
        """Return what is handed over without the messages to runs that were deleted, and their jobs."""
        return attrs.evolve(
            handed,
            entries=[each for each in handed.entries if not self._is_deleted(each[0])],
            jobs=[each for each in handed.jobs if not self._is_deleted(each[0].ledger_id)],
        )

    def _is_deleted(self, run_id: str) -> bool:
        try:
            self._substrate.info(run_id)
        except LedgerNotFound as error:
            return isinstance(error, LedgerDeleted)
        return False

    def attempt(self, lease: Lease, do: Callable[[], Result]) -> Result | None:
        """Do a job, or a step of it; if it fails, put the job back, or park it, and return None."""
        job = lease.job
        try:
            return do()
        except RunBusy:
            # A process outside the group works on the run, and makes its calls.
            self.postpone(lease, _BUSY_SECONDS)
        except LaneFull:
            self.postpone(lease, _CONFLICT_SECONDS)
        except JobLost:
            self._leases.pop(lease.token, None)
        except LedgerDeleted:
            self._leases.pop(lease.token, None)
            self._group.finish(lease)
        except StoreError as error:
            if not lacks_handles(error):
                self._retry(lease, "the substrate could not be used")
                raise
            self.postpone(lease, _RETRY_SECONDS)
        except ConcurrencyError as error:
            self._retry(lease, error.message, _CONFLICT_SECONDS)
        except (Exception, SystemExit) as error:
            reason = with_place(f"{type(error).__name__}: {error}", error)
            if lacks_handles(error):
                self._report(f"{job.key} is tried again: {reason}")
                self.postpone(lease, _RETRY_SECONDS)
            else:
                self._fail(lease, reason)
        except KeyboardInterrupt:
            # Another worker takes it at once; without this it would count as a death in the job.
            self.postpone(lease, 0)
            raise
        return None

    def _fail(self, lease: Lease, reason: str) -> None:
        # A call may succeed later; a responder is deterministic, and its failure is recorded.
        delay = _RETRY_SECONDS * 2 ** (lease.attempt - 1)
        if lease.job.intent and self._retry(lease, reason, delay):
            self._report(f"{lease.job.key}: attempt {lease.attempt} failed: {reason}")
            return
        if not lease.job.intent:
            self._leases.pop(lease.token, None)
            self._group.park(lease, reason)
        self._report(f"{lease.job.key} is parked: {reason}")

    def _retry(self, lease: Lease, reason: str, delay: float = 0.0) -> bool:
        is_tried_again = self._group.retry(lease, reason, delay)
        self._leases.pop(lease.token, None)
        return is_tried_again

    def postpone(self, lease: Lease, seconds: float) -> None:
        """Put a job that cannot be done now back into the queue; it does not count as failed."""
        self._handed_over(HandOver([lease], jobs=[(lease.job, seconds)], lasts=False))
        self._leases.pop(lease.token, None)

    def require(self, lease: Lease) -> None:
        """Check that no other worker has taken a job, before its call is made.

        Raises:
            JobLost: another worker has taken it.
        """
        _, held_at = self._leases.get(lease.token, (lease, float("-inf")))
        if seconds_now() - held_at >= self._seconds / 3 and not self._extend(lease):
            raise JobLost

    def extend_until(self, is_over: threading.Event) -> None:
        """Extend the leases of the jobs until an event is set; the target of a thread."""
        while not is_over.wait(self._seconds / 3):
            for lease, _ in [*self._leases.values()]:
                # The next attempt may succeed. If the store is lost, the job itself fails.
                with suppress(StoreError):
                    self._extend(lease)

    def _extend(self, lease: Lease) -> bool:
        now = seconds_now()
        is_held = self._group.extend(lease, self._seconds)
        if not is_held:
            self._leases.pop(lease.token, None)
        elif lease.token in self._leases:
            self._leases[lease.token] = lease, now
        return is_held
