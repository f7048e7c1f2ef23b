"""The lines that a person types, or that a pipe holds: read when they are wanted."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Sequence
from typing import Any

from kando.cli.output import say_piece

__all__ = ["EditedLines", "Lines", "lines_of_stdin"]

_CHUNK = 65536


class Lines:
    """The lines of standard input.

    Attributes:
        is_terminal: whether a person types them.
        has_history: whether earlier lines can be called back.
    """

    has_history = False

    def __init__(self) -> None:
        self.is_terminal = sys.stdin is not None and sys.stdin.isatty()
        # Without the buffer of `sys.stdin`, which `select` does not see.
        self._can_poll = os.name == "posix"
        self._encoding = getattr(sys.stdin, "encoding", None) or "utf-8"
        self._bytes, self._has_ended = b"", False

    def read(self, prompt: str, default: str = "", history: Sequence[str] = ()) -> str | None:
        """Return the next line without its end, or None at the end of the input.

        Args:
            prompt: shown on a terminal.
            default: what the line holds at first, where lines can be edited.
            history: earlier lines, which can be called back there.
        """
        if self.is_terminal:
            say_piece(prompt)
        if not self._can_poll:
            line = sys.stdin.readline()
            return line.rstrip("\r\n") if line else None
        while (line := self._next()) is None and not self._has_ended:
            self._fill()
        return line

    def poll(self, seconds: float) -> str | None:
        """Return a line that a person has typed meanwhile, or wait at most so long and return None.

        The lines of a pipe stay there until `read` asks for them.
        """
        if not self.is_terminal or not self._can_poll or self._has_ended:
            time.sleep(seconds)
            return None
        if (line := self._next()) is None and select.select([0], [], [], seconds)[0]:
            self._fill()
            line = self._next()
        return line

    def _fill(self) -> None:
        try:
            piece = os.read(0, _CHUNK)
        except OSError:
            # The terminal was closed.
            piece = b""
        # After the end of a file a last line needs no line break.
        self._has_ended = not piece
        self._bytes += piece if piece or not self._bytes else b"\n"

    def _next(self) -> str | None:
        line, end, rest = self._bytes.partition(b"\n")
        if not end:
            return None
        self._bytes = rest
        return line.decode(self._encoding, "replace").rstrip("\r")


class EditedLines(Lines):
    """Lines that are edited on a terminal with prompt_toolkit, with a history.

    Raises:
        ImportError: prompt_toolkit is not installed.
    """

    has_history = True

    def __init__(self) -> None:
        super().__init__()
        from prompt_toolkit import PromptSession

        self._session: Any = PromptSession(output=_output())

    def read(self, prompt: str, default: str = "", history: Sequence[str] = ()) -> str | None:
        """Return the next line; see `Lines.read`."""
        from prompt_toolkit.history import InMemoryHistory

        if (line := self._next()) is not None:
            return line
        self._session.history = self._session.default_buffer.history = InMemoryHistory(history)
        try:
            typed: str = self._session.prompt(prompt, default=default)
        except EOFError:
            return None
        return typed


def _output() -> Any:
    """Return the terminal on stderr: standard output is for answers."""
    if os.name != "posix":
        from prompt_toolkit.output import create_output

        return create_output(sys.stderr)
    from prompt_toolkit.output.vt100 import Vt100_Output

    output = Vt100_Output.from_pty(sys.stderr)
    # The replies of the terminal to questions about its cursor would be read as lines.
    output.enable_cpr = False
    return output


def lines_of_stdin() -> Lines:
    """Return the lines of standard input: edited ones on a terminal with prompt_toolkit."""
    plain = Lines()
    is_dumb = os.environ.get("TERM", "").lower() in ("dumb", "unknown", "")
    if not plain.is_terminal or is_dumb:
        return plain
    try:
        return EditedLines()
    except ImportError:
        return plain
