"""The worker process of a server: `python -m kando_inspector.worker_process`, with an order on stdin.

It works on the runs of a group like `kando worker`, within the limits of the operator, and writes the
texts of answers as they stream in to stdout, one JSON object a line. It ends when stdin ends, which it
does with the server: after SIGTERM, and after SIGKILL of the server, calls in flight may still return.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import attrs

from kando.app.group_worker import GroupWorker
from kando.app.operator import OperatorLimits
from kando.app.store import open_store
from kando.app.termination import Termination
from kando.responders.budget import Budget
from kando.responders.idempotency import idempotency_key
from kando.responders.tool_context import ledger_of_call
from kando.settings import GRACE_SECONDS, value_of

__all__ = ["Order", "main"]

_POLL_SECONDS = 1.0


@attrs.frozen
class Order:
    """The order of a server for a worker.

    Attributes:
        ledger_url: URL of the substrate.
        group: of the worker.
        limits: of the operator, by the fields of `OperatorLimits`.
    """

    ledger_url: str
    group: str
    limits: dict[str, Any]

    @classmethod
    def of(cls, ledger_url: str, group: str, limits: OperatorLimits) -> Order:
        """Return the order of a server with these limits."""
        fields = attrs.asdict(limits, recurse=False) | {"budget": limits.budget.limits()}
        return cls(ledger_url, group, fields)

    def encode(self) -> bytes:
        """Return the order as a line of JSON."""
        return json.dumps(attrs.asdict(self)).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> Order:
        """Return the order in a line.

        Raises:
            ValueError: the line is truncated, because the server has ended.
        """
        return cls(**json.loads(line))

    def operator(self) -> OperatorLimits:
        """Return the limits of the operator."""
        return OperatorLimits(**{**self.limits, "budget": Budget(**self.limits["budget"])})


def main() -> None:
    """Work until stdin ends, or SIGTERM."""
    # Ctrl-C in a terminal reaches the server, too, which then ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()
    stdin = os.fdopen(os.dup(0), "rb", buffering=0)
    texts = os.fdopen(os.dup(1), "wb", buffering=0)
    # Kits and plugins may print, which must not end up among the texts.
    os.dup2(2, 1)
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    try:
        order = Order.decode(_line(stdin))
    except ValueError:
        return
    try:
        _work(order, stdin, parent, texts)
    except KeyboardInterrupt:
        # The grace has passed; other workers make the calls again.
        sys.exit(130)


def _line(stream: BinaryIO) -> bytes:
    found = bytearray()
    while not found.endswith(b"\n"):
        part = stream.read(1)
        if not part:
            break
        found += part
    return bytes(found)


def _work(order: Order, stdin: BinaryIO, parent: int, texts: BinaryIO) -> None:
    limits = order.operator()
    options = {} if limits.max_tokens is None else {"max_tokens": limits.max_tokens}
    with open_store(order.ledger_url, listen=_Listener(texts).listen, llm_options=options) as store:
        worker = GroupWorker(store.context, order.group, operator=limits, report=_report)
        watch = threading.Thread(target=_watch, args=(stdin, parent, worker.stop), daemon=True)
        with Termination(value_of(GRACE_SECONDS, os.environ), worker.stop):
            watch.start()
            worker.work()


def _watch(stream: BinaryIO, parent: int, stop: Callable[[], None]) -> None:
    """End the work as SIGTERM does when the server has ended.

    The parent is asked for, too: another process may hold the pipe open.
    """
    while os.getppid() == parent:
        # On Windows, pipes have no select.
        if os.name == "posix" and not select.select([stream], [], [], _POLL_SECONDS)[0]:
            continue
        if not stream.read(1):
            break
    if os.name == "posix":
        os.kill(os.getpid(), signal.SIGTERM)
    else:
        stop()


def _report(line: str) -> None:
    # stderr is that of the server, which may have ended.
    try:
        print(f"kando worker: {line}", file=sys.stderr, flush=True)
    except OSError:
        return


class _Listener:
    """Writes the texts of answers as they stream in, a line for each piece."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    @contextmanager
    def listen(self, request: dict[str, Any]) -> Iterator[Callable[[str], None]]:
        """Yield the function that receives the pieces of one answer."""
        # The key of a call begins with the run that sent the request, and the request.
        request_id = idempotency_key().split("/")[1]
        run_id = ledger_of_call().partition(":")[2]
        about = {"run_id": run_id, "request_id": request_id}
        self._write({**about, "text": "", "is_first": True})
        try:
            yield lambda piece: self._write({**about, "text": piece}) if piece else None
        finally:
            self._write({**about, "text": ""})

    def _write(self, piece: dict[str, Any]) -> None:
        line = json.dumps(piece).encode() + b"\n"
        with self._lock:
            try:
                self._stream.write(line)
            except OSError:
                # The server has ended; the answer itself goes into the ledger.
                return


if __name__ == "__main__":
    main()
