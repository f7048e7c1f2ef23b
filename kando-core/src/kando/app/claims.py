"""The claim of this process on a run, which a heartbeat renews while the process works on it."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from kando.app.context import Context
from kando.errors import ConcurrencyError, KandoError, RunBusy
from kando.ledger.claims import Claim, calls_lane, this_process
from kando.settings import LEASE_SECONDS, value_of

__all__ = ["HEARTBEAT", "RunClaim", "busy", "lease_seconds", "seconds_now"]

# A check asks the substrate only if the last renewal is older than this, or than a third of the
# lease. So a process detects within a second that another has taken over.
_TRUSTED_SECONDS = 1.0

#: A part of the lease: between two heartbeats.
HEARTBEAT = 1 / 5


class RunClaim:
    """The claim on a run, held in a ``with`` block, which may be entered again afterwards.

    Entering it raises RunBusy if another process, or another thread of this one, works on the run.

    Args:
        context: the settings and the substrate.
        run_id: id of the run or branch.
        group: whose workers make the calls of the run; empty if this process makes them.
        seconds: until the claim ends without a heartbeat; those of `lease_seconds` if None.
        take_over: take the run over, the first time, if another process works on it.
        inherits: continue, the first time, a claim that the parent process made for this one.

    Raises:
        ConfigurationError: ``KANDO_LEASE_SECONDS`` is invalid.
    """

    def __init__(
        self,
        context: Context,
        run_id: str,
        *,
        group: str = "",
        seconds: float | None = None,
        take_over: bool = False,
        inherits: bool = False,
    ) -> None:
        #: The claim as the substrate granted it; None outside the ``with`` block.
        self.held: Claim | None = None
        self._substrate = context.substrate(read_only=False)
        self._run_id = run_id
        self.group = group
        self._seconds = lease_seconds(context) if seconds is None else seconds
        self._take_over = take_over
        self._inherits = inherits
        self._renewed_at = 0.0
        self._is_lost = False
        self._is_over = threading.Event()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        # Taken before the call: from then on the lease runs.
        now, last = seconds_now(), self._substrate.claim_of(self._run_id)
        claim = self._inherited(last) or self._substrate.claim(
            self._run_id, this_process(self.group), self._seconds, take_over=self._take_over
        )
        if claim is None:
            raise busy(self._run_id, self._substrate.claim_of(self._run_id))
        takes_over, self._take_over, self._inherits = self._take_over, False, False
        self.held, self._renewed_at, self._is_lost = claim, now, False
        self._is_over = threading.Event()
        keep = threading.Thread(
            target=self._keep, args=(self._is_over,), name="kando-claim", daemon=True
        )
        keep.start()
        try:
            if not takes_over:
                self._refuse_calls_of_others()
            elif last is not None and last.is_live():
                # By then the other process has detected it, and the ledger is as it left it.
                time.sleep(_TRUSTED_SECONDS)
        except BaseException:
            self._release()
            raise
        return self

    def _refuse_calls_of_others(self) -> None:
        """Refuse a run if a worker of another group, or of any for this process, makes its calls."""
        for slot in self._substrate.slots(calls_lane(self._run_id)):
            if slot.worker.group != self.group:
                msg = f"{self._run_id} is running: {slot.worker} makes a call of it."
                raise RunBusy(msg, hint="Wait until the worker has made it.")

    def _inherited(self, last: Claim | None) -> Claim | None:
        is_mine = self._inherits and last is not None and last.worker == this_process(self.group)
        return last if last and is_mine and self._substrate.renew(last, self._seconds) else None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if isinstance(error, ConcurrencyError) and not isinstance(error, RunBusy):
                # The process that has taken over wrote before the next check.
                self.require(trusts=False)
        finally:
            self._release()

    def require(self, *, trusts: bool = True) -> None:
        """Check that the claim still holds: the runtime does so before each call and each append.

        Args:
            trusts: do not ask the substrate again shortly after a renewal.

        Raises:
            RunBusy: another process has taken the run over.
            StoreError: the substrate cannot be asked.
        """
        with self._lock:
            trusted = min(self._seconds / 3, _TRUSTED_SECONDS)
            is_recent = trusts and seconds_now() - self._renewed_at < trusted
            if not self._is_lost and (is_recent or self._renew()):
                return
        raise self._lost()

    def _lost(self) -> RunBusy:
        taken = self._substrate.claim_of(self._run_id)
        by = f"{taken.worker}, at {_time(taken)}" if taken is not None else "another process"
        msg = f"{self._run_id} was taken over by {by}; this process has stopped working on it."
        return RunBusy(msg, hint=f"`kando status {self._run_id}` shows its state.")

    def _renew(self) -> bool:
        now = seconds_now()
        self._is_lost = self.held is None or not self._substrate.renew(self.held, self._seconds)
        self._renewed_at = now
        return not self._is_lost

    def _keep(self, is_over: threading.Event) -> None:
        while not is_over.wait(self._seconds * HEARTBEAT):
            # If a heartbeat fails, the next may succeed; `require` reports the error.
            with self._lock, suppress(KandoError):
                if is_over.is_set() or self._is_lost or not self._renew():
                    return

    def _release(self) -> None:
        with self._lock:
            self._is_over.set()
            # If it cannot be released, it ends with its lease.
            with suppress(KandoError):
                if self.held is not None and not self._is_lost:
                    self._substrate.release(self.held)
            self.held, self._is_lost = None, True


def lease_seconds(context: Context) -> float:
    """Return the seconds after which a claim without a heartbeat ends.

    Raises:
        ConfigurationError: ``KANDO_LEASE_SECONDS`` is not a number of at least 1.
    """
    return value_of(LEASE_SECONDS, context.environ)


def busy(run_id: str, by: Claim | None) -> RunBusy:
    """Return the error for a run that another process works on: the holder of the claim `by`."""
    who = f"{by.worker} has worked on it since {_time(by)}" if by else "another process works on it"
    msg = f"{run_id} is running: {who}."
    hint = f"Wait until it stops; `kando resume {run_id} --take-over` takes it over."
    return RunBusy(msg, hint=hint)


def _time(claim: Claim) -> str:
    return claim.since.strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_now() -> float:
    """Return a time that advances while the machine is suspended, where the system has one."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)
