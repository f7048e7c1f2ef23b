"""The worker processes of a server, which are started again when they die."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import attrs

from kando_inspector.texts import Piece
from kando_inspector.worker_process import Order

__all__ = ["Workers"]

# With -P: the server may be started in a folder with untrusted code.
_COMMAND = (sys.executable, "-P", "-m", "kando_inspector.worker_process")

# A worker that dies sooner counts as failed.
_FAILED_SECONDS = 10.0


@attrs.define(eq=False)
class Workers:
    """The workers of a server. Any thread may call any method.

    Attributes:
        count: how many processes work.
        order: that each gets.
        environ: of each.
        on_text: called with each piece of an answer that streams in.
        max_failures: a worker that has failed so often in a row is not started again.
        wait_seconds: after the first failure; twice as long after each further one.
    """

    count: int
    order: Order
    environ: Mapping[str, str] = attrs.field(repr=False)
    on_text: Callable[[Piece], None]
    max_failures: int = 6
    wait_seconds: float = 1.0
    _processes: set[subprocess.Popen[bytes]] = attrs.field(factory=set, init=False)
    _threads: list[threading.Thread] = attrs.field(factory=list, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)
    _is_ending: threading.Event = attrs.field(factory=threading.Event, init=False)

    def start(self) -> None:
        """Start the processes, unless they have been started."""
        with self._lock:
            if self._threads or self._is_ending.is_set():
                return
            for number in range(self.count):
                name = f"kando-worker-{number}"
                self._threads.append(threading.Thread(target=self._keep, name=name, daemon=True))
        for thread in self._threads:
            thread.start()

    def end(self, seconds: float) -> None:
        """Ask the processes to end, and wait for them; those that do not end in time are killed.

        Args:
            seconds: how long calls in flight have to return.
        """
        until = time.monotonic() + seconds
        self._is_ending.set()
        with self._lock:
            for process in self._processes:
                process.terminate()
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        with self._lock:
            for process in self._processes:
                process.kill()

    def _keep(self) -> None:
        """Have one process work, and start it again when it dies."""
        failures = 0
        while not self._is_ending.is_set():
            begun = time.monotonic()
            code = self._work()
            if self._is_ending.is_set():
                return
            failures = failures + 1 if time.monotonic() - begun < _FAILED_SECONDS else 0
            if failures >= self.max_failures:
                command = f"`kando worker --group {self.order.group}`"
                _report(
                    f"a worker failed {failures} times in a row, and is not started again. "
                    f"{command} does its work elsewhere, and shows the error."
                )
                return
            _report(f"a worker ended with {code}, and is started again")
            self._is_ending.wait(self.wait_seconds * 2 ** (failures - 1) if failures else 0)

    def _work(self) -> int:
        """Have one process work until it ends, and return its exit code."""
        with self._lock:
            if self._is_ending.is_set():
                return 0
            process = subprocess.Popen(
                _COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
                env=dict(self.environ),
            )
            self._processes.add(process)
        assert process.stdin is not None
        assert process.stdout is not None
        open_texts: set[tuple[str, str]] = set()
        try:
            with suppress(OSError):
                process.stdin.write(self.order.encode())
                process.stdin.flush()
            for line in process.stdout:
                self._show(line, open_texts)
            return process.wait()
        finally:
            with self._lock:
                self._processes.discard(process)
            for run_id, request_id in open_texts:
                self.on_text(Piece(run_id, request_id, ""))
            with suppress(OSError):
                process.stdin.close()
            process.stdout.close()

    def _show(self, line: bytes, open_texts: set[tuple[str, str]]) -> None:
        try:
            piece = Piece(**json.loads(line))
        except (ValueError, TypeError):
            # The process was killed while it wrote.
            return
        address = (piece.run_id, piece.request_id)
        if piece.text or piece.is_first:
            open_texts.add(address)
        else:
            open_texts.discard(address)
        self.on_text(piece)


def _report(line: str) -> None:
    with suppress(OSError, ValueError):
        print(f"kando serve: {line}", file=sys.stderr, flush=True)
