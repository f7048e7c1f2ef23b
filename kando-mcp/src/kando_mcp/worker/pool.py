"""The processes that work on runs: each outlives the request, and the server, that started it."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading

import attrs

from kando.app.store import Store
from kando.errors import ConfigurationError
from kando.ledger.notice import Worker
from kando_mcp.worker.order import Order, Report, decode_report, encode

__all__ = ["Workers", "is_at_work"]

# Of its own dependencies only: a host may start the server in a folder of somebody else's code.
_COMMAND = (sys.executable, "-P", "-m", "kando_mcp.worker.process")


@attrs.define
class _Job:
    process: subprocess.Popen[bytes]
    report: Report | None = None
    is_over: threading.Event = attrs.field(factory=threading.Event)


@attrs.define
class Workers:
    """The processes that this server has started."""

    _jobs: dict[str, _Job] = attrs.field(factory=dict, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def start(self, app: Store, order: Order) -> bool:
        """Start a process that works on a run, unless one does.

        Args:
            app: where the run is.
            order: what to do.

        Returns:
            False if a process is at work on it already.

        Raises:
            ConfigurationError: no other process can see the run.
        """
        if order.ledger_url.startswith("memory:"):
            msg = "Runs in memory: cannot be worked on in a process of their own."
            raise ConfigurationError(msg, hint="Start kando-mcp with --ledger sqlite:PATH.")
        with self._lock:
            # A process of ours without its notice has done its work and is about to end.
            if is_at_work(app, order.run_id):
                return False
            process = subprocess.Popen(
                _COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env=dict(app.context.environ),
            )
            # On its behalf, so that nobody takes the run for a stopped one while it starts.
            notice = Worker(socket.gethostname(), process.pid)
            app.context.substrate(read_only=False).register_worker(order.run_id, notice)
            self._jobs[order.run_id] = _Job(process)
        thread = threading.Thread(
            target=_attend, args=(self._jobs[order.run_id], encode(order)), daemon=True
        )
        thread.start()
        return True

    def is_over(self, run_id: str) -> bool:
        """Whether no process of this server is at work on a run."""
        job = self._jobs.get(run_id)
        return job is None or job.is_over.is_set()

    def report_of(self, run_id: str) -> Report | None:
        """Return why the last process of this server ended too early, or None if it did not."""
        job = self._jobs.get(run_id)
        return job.report if job is not None else None


def is_at_work(app: Store, run_id: str) -> bool:
    """Whether any process is at work on a run."""
    worker = app.context.substrate().worker(run_id)
    return worker is not None and worker.may_be_alive()


def _attend(job: _Job, order: bytes) -> None:
    """Give a process its order and wait for its end, so that it does not stay as a zombie."""
    process = job.process
    try:
        said, _ = process.communicate(order)
    except OSError:
        said = b""
        process.wait()
    job.report = decode_report(said)
    job.is_over.set()
