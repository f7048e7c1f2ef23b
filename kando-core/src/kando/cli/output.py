"""Output of the command line: data to stdout, the rest to stderr, control characters escaped."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, BinaryIO, TextIO, TypeVar

import click

from kando.app.shapes import json_default
from kando.app.streams import OutputFailed, ReaderGone, is_utf8
from kando.ledger.files import own_descriptor
from kando.schema.visible import clean, truncate, visible

__all__ = [
    "DATA_STREAM",
    "binary_stdout",
    "clean",
    "columns",
    "is_stdout",
    "json_option",
    "print_json",
    "print_line",
    "print_list",
    "print_piece",
    "reminded",
    "say",
    "say_piece",
    "truncate",
    "warn",
]

_Function = TypeVar("_Function", bound=Callable[..., Any])

#: Key of the context's ``meta``: the stream for data, while kits print to stderr.
DATA_STREAM = "kando.data"


def json_option(function: _Function) -> _Function:
    """Give a command the option ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Write JSON.")(function)


def columns(rows: Sequence[Sequence[str]], head: Sequence[str] = ()) -> None:
    """Write rows in aligned columns, without truncating a cell."""
    table = [list(head), *map(list, rows)] if head else [list(row) for row in rows]
    if not table:
        return
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    for row in table:
        print_line("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())


def print_line(text: str = "") -> None:
    """Write one line of data to stdout, with control characters escaped.

    Raises:
        ReaderGone: the reader closed it.
        OutputFailed: it cannot be written to.
    """
    # Ids, too, may come from a stranger's ledger.
    line = text if text.isprintable() else "".join(map(visible, text))
    try:
        click.echo(line, file=_data_stream())
    except BrokenPipeError as error:
        raise ReaderGone from error
    except OSError as error:
        msg = f"The output cannot be written: {error.strerror or error}."
        raise OutputFailed(msg) from error


def _data_stream() -> TextIO | None:
    context = click.get_current_context(silent=True)
    found: TextIO | None = context.meta.get(DATA_STREAM) if context is not None else None
    return found if found is not None else sys.stdout


def is_stdout(file: str) -> bool:
    """Whether ``-o FILE`` names stdout: it is ``-``, or leads to stdout as /dev/stdout does."""
    return file == "-" or own_descriptor(file) == 1


def binary_stdout() -> BinaryIO:
    """Return stdout for bytes.

    Raises:
        OutputFailed: it takes only text.
    """
    stream = _data_stream()
    buffer: BinaryIO | None = getattr(stream, "buffer", None)
    if stream is None or buffer is None:
        msg = "Standard output takes no bytes."
        raise OutputFailed(msg, hint="Name a file with -o.")
    stream.flush()
    return buffer


def say(text: str) -> None:
    """Write a line to stderr, if that is possible: no command fails because it is not."""
    with suppress(OSError, ValueError):
        click.echo(text, err=True)


def print_piece(text: str) -> None:
    """Write a piece of a text to stdout at once, with control characters other than line breaks escaped.

    Raises:
        ReaderGone, OutputFailed: as for `print_line`.
    """
    try:
        click.echo(_lines(text), file=_data_stream(), nl=False)
    except BrokenPipeError as error:
        raise ReaderGone from error
    except OSError as error:
        msg = f"The output cannot be written: {error.strerror or error}."
        raise OutputFailed(msg) from error


def say_piece(text: str) -> None:
    """Write a piece of a text to stderr at once, if that is possible."""
    with suppress(OSError, ValueError):
        click.echo(_lines(text), err=True, nl=False)


def _lines(text: str) -> str:
    return "".join(c if c in "\n\t" else visible(c) for c in text)


def print_json(value: Any, *, to_stderr: bool = False) -> None:
    """Write one JSON value on one line to stdout, or to stderr."""
    if to_stderr:
        say(_to_json(value, is_ascii=not is_utf8(sys.stderr)))
    else:
        print_line(_to_json(value, is_ascii=not is_utf8(_data_stream())))


def _to_json(value: Any, *, is_ascii: bool) -> str:
    """Return a value as readable JSON on one line, with control characters escaped."""
    text = json.dumps(value, ensure_ascii=is_ascii, default=json_default)
    # JSON itself escapes only control characters below the space.
    is_plain = text.isascii() and "\x7f" not in text
    return text if is_plain else "".join(map(visible, text))


def print_list(items: Sequence[Any], next_cursor: str | None = None) -> None:
    """Write a list as JSON: one object with ``items`` and ``next_cursor``."""
    print_json({"items": items, "next_cursor": next_cursor})


def warn(text: str) -> None:
    """Write a line that is not data to stderr."""
    say(f"kando: {clean(text)}")


def reminded(times: int) -> str:
    """Return how often a person was reminded, as text."""
    return (
        "not reminded yet"
        if not times
        else f"reminded {'once' if times == 1 else f'{times} times'}"
    )
