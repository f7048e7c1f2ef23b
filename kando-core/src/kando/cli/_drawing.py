"""Draws the status line; imported only where there is a terminal, since it imports rich."""

from __future__ import annotations

import os
from typing import TextIO

from rich.console import Console
from rich.text import Text

__all__ = ["Pen"]


class Pen:
    """Turns a text into what a terminal shows: colored if it has colors, and as wide as it is.

    Args:
        terminal: the stream.
    """

    def __init__(self, terminal: TextIO) -> None:
        self._terminal, self._encoding = terminal, terminal.encoding or "utf-8"
        self._console = Console(file=terminal, force_terminal=True, highlight=False, emoji=False)

    @property
    def can_draw(self) -> bool:
        """Whether the terminal obeys escape sequences; an old console of Windows does not."""
        return not self._console.legacy_windows

    def columns(self) -> int:
        """Return the width of the terminal; 0 if it is unknown."""
        try:
            return os.get_terminal_size(self._terminal.fileno()).columns
        except (OSError, ValueError):
            return 0

    def drawn(self, frame: str, text: str, width: int) -> bytes:
        """Return the bytes of a line.

        Args:
            frame: of the spinner.
            text: without control characters; it is not markup.
            width: in columns, after which the text is cut off.
        """
        # An escaped character is wider than the character.
        shown = text.encode(self._encoding, "backslashreplace").decode(self._encoding)
        line = Text.assemble((frame, "cyan"), " ", shown)
        line.truncate(width)
        with self._console.capture() as drawn:
            self._console.print(line, end="", soft_wrap=True)
        return drawn.get().encode(self._encoding, "backslashreplace")
