"""Processes on a pseudo-terminal, and what a person sees there in the end."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["Terminal", "screen"]

_LIMIT_SECONDS = 60.0

_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A process whose standard streams are a terminal, except those that are given.

    Args:
        command: with its arguments.
        environ: of the process.
        folder: where it works.
        columns: width of the terminal.
        stdout: a file descriptor for stdout; the terminal if None.
    """

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        folder: Path,
        *,
        columns: int = 100,
        stdout: int | None = None,
    ) -> None:
        self._own, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environ),
            stdin=theirs,
            stdout=theirs if stdout is None else stdout,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._written = b""

    @property
    def written(self) -> str:
        """Everything that the process has written so far."""
        return self._written.decode("utf-8", "replace")

    def type(self, text: str) -> None:
        """Type a text; a line ends with ``\\r``, as the key Enter sends it."""
        os.write(self._own, text.encode())

    def until(self, text: str, *, times: int = 1) -> None:
        """Read until the process has written a text, so many times.

        Raises:
            AssertionError: it ended, or the time was over, before that.
        """
        end = time.monotonic() + _LIMIT_SECONDS
        while self.written.count(text) < times:
            assert time.monotonic() < end, self.written[-500:]
            assert self._read() or self.written.count(text) >= times, self.written[-500:]

    def end(self) -> int:
        """Read until the process has ended, and return its exit code."""
        end = time.monotonic() + _LIMIT_SECONDS
        while self._read():
            assert time.monotonic() < end, self.written[-500:]
        return self.process.wait(timeout=_LIMIT_SECONDS)

    def hang_up(self) -> None:
        """Close the terminal, as a window that is closed does."""
        os.close(self._own)
        self._own = -1

    def close(self) -> None:
        """End the process if it runs, and close the terminal."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self._own >= 0:
            self.hang_up()

    def _read(self) -> bool:
        """Read for a moment, and return False at the end."""
        if not select.select([self._own], [], [], 0.1)[0]:
            return True
        try:
            piece = os.read(self._own, 65536)
        except OSError:
            # On Linux the end of the other side is an error.
            return False
        self._written += piece
        return bool(piece)


def screen(written: str) -> list[str]:
    """Return the lines that a terminal shows, without blanks at their ends."""
    lines = [""]
    column = 0
    for piece in re.split(r"(\x1b\[[0-9;?]*[A-Za-z]|\r|\n)", written):
        if piece == "\r":
            column = 0
        elif piece == "\n":
            lines.append("")
        elif piece == "\x1b[2K":
            lines[-1] = ""
        elif not _SEQUENCE.fullmatch(piece):
            kept = lines[-1].ljust(column)
            lines[-1] = kept[:column] + piece + kept[column + len(piece) :]
            column += len(piece)
    return [line.rstrip() for line in lines if line.strip()]
