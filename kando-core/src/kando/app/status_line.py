"""A line at the bottom of a terminal that other output of the process does not tear."""

from __future__ import annotations

import os
import select
import threading
from contextlib import suppress

__all__ = ["StatusLine"]

#: Moves the cursor to the first column, and clears its line.
_CLEAR = b"\r\x1b[2K"

_LINE_BREAK = 0x0A


class StatusLine:
    """The status line of a terminal, which is stderr. Any thread may call any method.

    It is drawn on the line of the cursor, only where other output has ended with a line break. The cursor
    stays visible, so a process that is killed leaves a terminal that needs no reset. Nothing here raises
    or waits: a terminal that does not take the line remains without it.

    Attributes:
        lock: held while anything is written to the terminal.
    """

    def __init__(self) -> None:
        # A signal handler may write a line while the same thread writes one.
        self.lock = threading.RLock()
        self._descriptor = 2
        self._is_open = True
        self._is_shown = False
        self._is_at_start = True

    def show(self, text: bytes) -> None:
        """Draw a line in place of the last one.

        Args:
            text: in the encoding of the terminal, without control characters other than colors, and
                narrower than the terminal.
        """
        with self.lock:
            if self._is_open and self._is_at_start and self._can_write():
                self._is_shown = True
                self._write(_CLEAR + text)

    def clear(self) -> None:
        """Clear the line."""
        with self.lock:
            if self._is_shown:
                self._is_shown = False
                self._write(_CLEAR)

    def close(self) -> None:
        """Clear the line, and draw none from now on."""
        with self.lock:
            self._is_open = False
            self.clear()

    def give_way(self, body: memoryview) -> None:
        """Clear the line before other output is written to the terminal, under `lock`.

        Args:
            body: the output, which is not empty.
        """
        self.clear()
        self._is_at_start = body[-1] == _LINE_BREAK

    def _can_write(self) -> bool:
        """Whether the terminal takes output now; a person may have stopped it."""
        if os.name != "posix":
            return True
        with suppress(OSError, ValueError):
            return bool(select.select([], [self._descriptor], [], 0)[1])
        return False

    def _write(self, body: bytes) -> None:
        with suppress(OSError):
            os.write(self._descriptor, body)
