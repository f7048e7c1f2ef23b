"""A client of the Model Context Protocol that reads and writes single lines of the wire format."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import IO, Any

from mcp_host import Place

REVISION = "2026-07-28"


class Wire:
    """A server's stdin and stdout, in revision 2026-07-28.

    Args:
        lines: its stdin.
        answers: its stdout, which holds nothing but messages, each on a line.
        pid: its process id.
    """

    def __init__(self, lines: IO[str], answers: IO[str], pid: int = 0) -> None:
        self.pid = pid
        self._lines = lines
        self._numbers = count(1)
        self._answers: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, args=(answers,), daemon=True)
        self._reader.start()

    def _read(self, answers: IO[str]) -> None:
        for line in answers:
            self._answers.put(line)

    def send(self, method: str, extensions: Any = None, **params: Any) -> int:
        """Send a request and return its number."""
        meta = {
            "io.modelcontextprotocol/protocolVersion": REVISION,
            "io.modelcontextprotocol/clientInfo": {"name": "wire", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {"extensions": extensions or {}},
        }
        number = next(self._numbers)
        body = {"jsonrpc": "2.0", "id": number, "method": method}
        message = {**body, "params": {**params, "_meta": meta}}
        self.write(json.dumps(message, ensure_ascii=False))
        return number

    def write(self, line: str) -> None:
        """Write a line, whatever it holds."""
        self._lines.write(line + "\n")
        self._lines.flush()

    def receive(self, seconds: float = 120.0) -> dict[str, Any]:
        """Return the next message; any other output is an error.

        Raises:
            queue.Empty: nothing came for so many seconds.
        """
        line = self._answers.get(timeout=seconds)
        message: dict[str, Any] = json.loads(line)
        assert message["jsonrpc"] == "2.0", line
        return message

    def ask(self, method: str, extensions: Any = None, **params: Any) -> dict[str, Any]:
        """Send a request and return its answer."""
        number = self.send(method, extensions, **params)
        while True:
            message = self.receive()
            if message.get("id") == number:
                return message

    def rest(self) -> list[str]:
        """Return the messages after the last received one, once stdout is closed."""
        self._reader.join()
        return list(self._answers.queue)


@contextmanager
def wire(place: Place, *options: str, stderr: Any = subprocess.DEVNULL) -> Iterator[Wire]:
    """Start a server, and check that it sends no more messages after its stdin is closed.

    Args:
        place: where.
        options: of kando-mcp.
        stderr: where it may complain.
    """
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "kando_mcp.main", *options],
        env=place.environ,
        cwd=place.root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        encoding="utf-8",
        errors="surrogateescape",
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            spoken = Wire(server.stdin, server.stdout, server.pid)
            yield spoken
        except BaseException:
            server.kill()
            raise
        server.stdin.close()
        assert server.wait() == 0
        assert spoken.rest() == []
