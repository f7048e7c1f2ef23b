"""The standard streams of a process whose readers may go away, stop reading or have no room."""

from __future__ import annotations

import io
import os
import select
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from kando.app.status_line import StatusLine
from kando.errors import KandoError

__all__ = ["OutputFailed", "ReaderGone", "is_utf8", "safe_streams", "status_line_of"]

#: How long a message waits for a reader that does not read, before it is dropped.
_PATIENCE_SECONDS = 2.0
# A pipe that can be written to takes this much without blocking.
_PIECE = 512


class OutputFailed(KandoError):
    """The output cannot be written: its device is full, or stdout is closed."""

    code = "output_failed"


class ReaderGone(Exception):
    """The reader of stdout closed it."""


@contextmanager
def safe_streams(*, as_json: bool = False) -> Iterator[None]:
    """Make stdout report by itself what it cannot write, and stderr fail nothing.

    A write to stdout raises `ReaderGone` or `OutputFailed`, which no code takes for another error.
    Stderr drops text that it cannot take. Streams that a program has put in place are left as
    they are.

    Args:
        as_json: whether both streams are for JSON, which is ASCII unless they are in UTF-8.
    """
    _fill_closed_descriptors()
    before, line = (sys.stdout, sys.stderr), StatusLine()
    sys.stdout = _wrapped(sys.stdout, sys.__stdout__, 1, _Data, line)
    sys.stderr = _wrapped(sys.stderr, sys.__stderr__, 2, _Messages, line)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Characters that the locale cannot encode are escaped: a goal may be in any script.
            encoding = "ascii" if as_json and not is_utf8(stream) else stream.encoding
            stream.reconfigure(encoding=encoding, errors="backslashreplace")
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            # Of the caller, who has handled the errors of stdout.
            with suppress(OutputFailed, ReaderGone, OSError, ValueError, AttributeError):
                stream.flush()
        sys.stdout, sys.stderr = before


def is_utf8(stream: object) -> bool:
    """Whether a text stream is in UTF-8. One without an encoding keeps all characters."""
    name = getattr(stream, "encoding", None) or "utf-8"
    return name.lower().replace("_", "-") in ("utf-8", "utf8")


def _fill_closed_descriptors() -> None:
    """Open closed standard descriptors, which the next opened file would otherwise receive."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)


def status_line_of(stream: object) -> StatusLine | None:
    """Return the status line of a terminal that `safe_streams` writes to; None for other streams."""
    raw = getattr(stream, "buffer", None)
    return raw.line if isinstance(raw, _Raw) and raw.isatty() else None


def _wrapped(
    stream: TextIO | None,
    original: TextIO | None,
    descriptor: int,
    kind: type[_Raw],
    line: StatusLine,
) -> Any:
    if stream is not original:
        return stream
    if stream is None:
        return io.TextIOWrapper(kind(None, descriptor, line), "utf-8", write_through=True)
    buffer = getattr(stream, "buffer", None)
    if buffer is None:
        return stream
    # Without a `BufferedWriter` in between: after an interruption it would repeat a write that it
    # does not know to be complete.
    return io.TextIOWrapper(
        kind(getattr(buffer, "raw", buffer), descriptor, line),
        stream.encoding,
        stream.errors,
        line_buffering=getattr(stream, "line_buffering", False),
        write_through=descriptor == 2 or getattr(stream, "write_through", False),
    )


class _Raw(io.RawIOBase):
    """The bytes of a standard stream; None stands for a closed one. A write takes all of them.

    A write to a terminal clears the status line first.
    """

    def __init__(self, inner: Any, descriptor: int, line: StatusLine) -> None:
        super().__init__()
        self._inner, self._descriptor = inner, descriptor
        self.line = line
        self._is_terminal = self.isatty()
        self.name = f"<{('stdin', 'stdout', 'stderr')[descriptor]}>"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, data: Any) -> int:
        body = memoryview(data).cast("B")
        if not self._is_terminal or not body:
            return self._take(body)
        with self.line.lock:
            self.line.give_way(body)
            return self._take(body)

    def _take(self, body: memoryview) -> int:
        raise NotImplementedError

    def isatty(self) -> bool:
        return self._inner is not None and bool(self._inner.isatty())


class _Data(_Raw):
    """Standard output: a failed write is reported once, as a separate error."""

    _has_failed = False

    def _take(self, body: memoryview) -> int:
        # An empty write only asks what kind of stream it is.
        if self._has_failed or not body:
            return len(body)
        try:
            if self._inner is None:
                msg = "stdout is closed"
                raise OSError(msg)
            self._write(body)
        except BrokenPipeError as error:
            self._has_failed = True
            raise ReaderGone from error
        except (OSError, ValueError) as error:
            self._has_failed = True
            reason = getattr(error, "strerror", None) or error
            msg = f"The output cannot be written: {reason}."
            raise OutputFailed(msg, hint="Write it to another file or pipe.") from error
        return len(body)

    def _write(self, body: memoryview) -> None:
        at = 0
        while at < len(body):
            while (written := self._inner.write(body[at:])) is None:
                # A pipe that its other owner has made non-blocking.
                select.select([], [self._descriptor], [])
            at += written


class _Messages(_Raw):
    """Standard error: text that it cannot take is dropped, and a stopped reader delays nothing."""

    _is_stuck = False

    def __init__(self, inner: Any, descriptor: int, line: StatusLine) -> None:
        super().__init__(inner, descriptor, line)
        try:
            kind = os.fstat(descriptor).st_mode
        except OSError:
            kind = 0
        # A person who stops the output of a terminal wants it to wait.
        self._may_block = os.name == "posix" and (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind))

    def _take(self, body: memoryview) -> int:
        if self._inner is not None:
            with suppress(OSError, ValueError):
                self._write(body)
        return len(body)

    def _write(self, body: memoryview) -> None:
        if not self._may_block:
            self._inner.write(body)
            return
        at = 0
        while at < len(body):
            patience = 0.0 if self._is_stuck else _PATIENCE_SECONDS
            self._is_stuck = not select.select([], [self._descriptor], [], patience)[1]
            if self._is_stuck:
                return
            at += self._inner.write(body[at : at + _PIECE]) or 0
