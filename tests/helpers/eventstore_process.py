"""The fake server in a separate process, so that it can be killed and restarted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["FakeEventStoreProcess"]


class FakeEventStoreProcess:
    """A fake server that can be killed.

    Args:
        path: of its SQLite file.
        port: on the loopback interface; a free one if 0. It stays the same after a restart.
    """

    def __init__(self, path: str | Path, *, port: int = 0) -> None:
        self.path = Path(path)
        self.port = port
        self._process: subprocess.Popen[str] | None = None
        self.start()

    @property
    def url(self) -> str:
        """The server's URL, in the form of ``EVENTSTORE_URL``."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and return when it listens.

        Raises:
            RuntimeError: it could not be started; its error is on stderr.
        """
        command = [sys.executable, "-m", "kando_eventstore.testing", "--path", str(self.path)]
        command += ["--port", str(self.port), "--parent", str(os.getpid())]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        url = self._process.stdout.readline().strip()
        if not url:
            self.kill()
            msg = f"No fake server on port {self.port}."
            raise RuntimeError(msg)
        self.port = int(url.rpartition(":")[2])

    def kill(self) -> None:
        """Kill it (SIGKILL), if it is running."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def suspend(self) -> None:
        """Suspend it (SIGSTOP): its connections stay open, and it answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def restart(self) -> None:
        """Kill it, and start it again on the same file and port."""
        self.kill()
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()
