"""The display of progress: a status line on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import os
import stat
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import cycle

from kando.app.activities import Activities, Activity
from kando.app.status_line import StatusLine
from kando.app.streams import is_utf8, status_line_of
from kando.app.termination import LastWords
from kando.cli.output import warn
from kando.schema.visible import clean

__all__ = ["progress_shown"]

#: A command that ends within this time draws nothing.
_DELAY_SECONDS = 0.5
_DRAW_SECONDS = 0.2
#: Between two plain lines.
_LINE_SECONDS = 10.0

#: A narrower terminal, or one that does not know its width, has no status line.
_MIN_COLUMNS = 20

_FRAMES, _ASCII_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "|/-\\"


@contextmanager
def progress_shown(
    activities: Activities,
    command: str,
    *,
    as_json: bool,
    is_paged: bool,
) -> Iterator[None]:
    """Show on stderr what a store is doing, until the block ends.

    A thread asks for the activities now and then; the work itself does not know of it. A display that
    fails ends by itself.

    Args:
        activities: of the store.
        command: shown while there is no activity.
        as_json: whether stderr is for JSON: then nothing is shown unless it is a terminal.
        is_paged: whether data is written to stdout bit by bit. A pager that reads it uses the
            terminal itself.
    """
    line = status_line_of(sys.stderr)
    if (line is None and as_json) or (line is not None and is_paged and _is_pipe(1)):
        yield
        return
    display = _Display(activities, command, line)
    with LastWords(display.clear):
        display.start()
        try:
            yield
        finally:
            display.stop()


def _is_pipe(descriptor: int) -> bool:
    with suppress(OSError):
        return stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    return False


class _Display:
    """Shows activities in a thread of its own, on the status line of a terminal or as plain lines."""

    def __init__(self, activities: Activities, command: str, line: StatusLine | None) -> None:
        self._activities, self._command = activities, command
        self._line, self._stream = line, sys.stderr
        self._began = time.monotonic()
        self._is_over = threading.Event()
        # A daemon: a terminal that hangs must not keep the process alive.
        self._thread = threading.Thread(target=self._show, name="kando-progress", daemon=True)

    def start(self) -> None:
        # A process that can start no thread works without a display.
        with suppress(RuntimeError):
            self._thread.start()

    def clear(self) -> None:
        if self._line is not None:
            self._line.clear()

    def stop(self) -> None:
        self._is_over.set()
        if self._line is not None:
            self._line.close()

    def _show(self) -> None:
        # A display never fails a command.
        with suppress(Exception):
            if self._line is None or not self._draw(self._line):
                self._report()

    def _draw(self, line: StatusLine) -> bool:
        """Draw until the end; return False if the terminal has no status line."""
        if self._is_over.wait(_DELAY_SECONDS):
            return True
        if os.environ.get("TERM", "").lower() in ("dumb", "unknown"):
            return False
        from kando.cli._drawing import Pen

        pen = Pen(self._stream)
        if not pen.can_draw:
            return False
        for frame in cycle(_FRAMES if is_utf8(self._stream) else _ASCII_FRAMES):
            if (columns := pen.columns()) >= _MIN_COLUMNS:
                line.show(pen.drawn(frame, self._text(self._activities.now()), columns - 1))
            if self._is_over.wait(_DRAW_SECONDS):
                break
        return True

    def _report(self) -> None:
        reported = None
        while not self._is_over.wait(_LINE_SECONDS):
            activities = self._activities.now()
            # A worker may wait for days.
            if not activities or not activities[-1].is_waiting or activities != reported:
                warn(self._text(activities))
            reported = activities

    def _text(self, activities: Sequence[Activity]) -> str:
        """Return the elapsed time and the activities. Ids and names may be a stranger's."""
        shown = "; ".join(map(str, activities)) or self._command
        return clean(f"{_elapsed(time.monotonic() - self._began)} {shown}")


def _elapsed(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
