"""Worker processes, which outlive the request and the server that started them."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import attrs

from kando.app.claims import HEARTBEAT, lease_seconds
from kando.app.store import Store
from kando.errors import ConfigurationError, KandoError
from kando.ledger.claims import Claim, local_worker
from kando_mcp.worker.order import Order, Report, decode_report, encode

__all__ = ["RUNS_LANE", "Workers", "has_worker", "require_place", "runs_limit_reached"]

#: Lane in which each worker process has a slot, if parallel runs are limited.
RUNS_LANE = "mcp/runs"

# With -P: the host may start the server in a folder with untrusted code.
_COMMAND = (sys.executable, "-P", "-m", "kando_mcp.worker.process")


@attrs.define
class _Job:
    process: subprocess.Popen[bytes]
    report: Report | None = None
    is_done: threading.Event = attrs.field(factory=threading.Event)


@attrs.define
class Workers:
    """The worker processes started by this server."""

    _jobs: dict[str, _Job] = attrs.field(factory=dict, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def start(self, store: Store, order: Order) -> bool:
        """Start a worker process for a run, unless the run has one.

        Args:
            store: the store of the run.
            order: the order for the worker.

        Returns:
            False if the run already has a worker.

        Raises:
            ConfigurationError: the run is in memory, where no other process can read it; or as
                many runs are running as may.
        """
        if order.ledger_url.startswith("memory:"):
            msg = "Runs in memory: cannot run in a separate process."
            raise ConfigurationError(msg, hint="Start kando-mcp with --ledger sqlite:PATH.")
        with self._lock:
            # A process of ours that has released its claim is only about to exit.
            if has_worker(store, order.run_id):
                return False
            process = subprocess.Popen(
                _COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env=dict(store.context.environ),
            )
            claim = _claim_for(process, store, order)
            if claim is None:
                return False
            self._jobs[order.run_id] = _Job(process)
        arguments = (self._jobs[order.run_id], encode(order), store, claim)
        threading.Thread(target=_supervise, args=arguments, daemon=True).start()
        return True

    def end(self, seconds: float) -> None:
        """End the worker processes of this server as SIGTERM does, and wait for them.

        Args:
            seconds: how long to wait for all of them.
        """
        until = time.monotonic() + seconds
        for job in [*self._jobs.values()]:
            if not job.is_done.is_set():
                job.process.terminate()
        for job in [*self._jobs.values()]:
            job.is_done.wait(max(0.0, until - time.monotonic()))

    def is_done(self, run_id: str) -> bool:
        """Whether this server has no worker process for the run."""
        job = self._jobs.get(run_id)
        return job is None or job.is_done.is_set()

    def report_of(self, run_id: str) -> Report | None:
        """Return the report of the last worker process; None if it did not end early."""
        job = self._jobs.get(run_id)
        return job.report if job is not None else None


def has_worker(store: Store, run_id: str) -> bool:
    """Whether the run has a worker process that may be alive."""
    claim = store.context.substrate().claim_of(run_id)
    return claim is not None and claim.is_live()


def runs_limit_reached(limit: int, run_id: str | None = None) -> ConfigurationError:
    """Return the error for a run that must not start, because as many are running as may."""
    msg = f"{limit} runs are running, the limit of this server (--max-parallel-runs)."
    hint = "Wait until one stops (get_run with wait_s), or cancel_run one; list_runs lists them."
    if run_id is not None:
        hint += f" Then resume_run(run_id={run_id}) continues this run, with all that it was sent."
    return ConfigurationError(msg, hint=hint)


def require_place(store: Store, limit: int | None) -> None:
    """Check that another run may start.

    Raises:
        ConfigurationError: as many are running as may.
    """
    if limit is not None and len(store.context.substrate().slots(RUNS_LANE)) >= limit:
        raise runs_limit_reached(limit)


def _claim_for(process: subprocess.Popen[bytes], store: Store, order: Order) -> Claim | None:
    """Claim a run on behalf of a new process, so that the run is `running` while that one starts.

    Returns:
        None if another process has claimed the run in the meantime; the new one is ended.

    Raises:
        ConfigurationError: as many runs are running as may.
    """
    claim = None
    try:
        seconds, worker = lease_seconds(store.context), local_worker(process.pid)
        substrate = store.context.substrate(read_only=False)
        limit = order.max_parallel_runs
        if limit is not None:
            slot = substrate.acquire_slot(RUNS_LANE, limit, worker, seconds)
            if slot is None:
                raise runs_limit_reached(limit, order.run_id)
        # If it is not granted, the slot ends with the process.
        claim = substrate.claim(order.run_id, worker, seconds)
    finally:
        if claim is None:
            process.kill()
            process.communicate()
    return claim


def _supervise(job: _Job, order: bytes, store: Store, claim: Claim) -> None:
    """Send a process its order and wait for its exit, so that it does not become a zombie."""
    process = job.process
    try:
        output = _output_of(process, order, store, claim)
    except OSError:
        output = b""
        process.wait()
    job.report = decode_report(output)
    job.is_done.set()


def _output_of(process: subprocess.Popen[bytes], order: bytes, store: Store, claim: Claim) -> bytes:
    """Send a process its order and return its output; keep its claim alive while it starts."""
    seconds = lease_seconds(store.context)
    unsent: bytes | None = order
    starting: Claim | None = claim
    while True:
        try:
            wait = seconds * HEARTBEAT if starting is not None else None
            return process.communicate(unsent, wait)[0]
        except subprocess.TimeoutExpired:
            unsent = None
            starting = starting and _renewed(store, starting, seconds)


def _renewed(store: Store, claim: Claim, seconds: float) -> Claim | None:
    """Renew the claim of a process that has not done so itself; None if it has, or has ended.

    On a busy machine a process may take longer than its lease to start.
    """
    substrate = store.context.substrate(read_only=False)
    try:
        if substrate.claim_of(claim.ledger_id) == claim and substrate.renew(claim, seconds):
            return substrate.claim_of(claim.ledger_id)
    except KandoError:
        # The next attempt may succeed.
        return claim
    return None
