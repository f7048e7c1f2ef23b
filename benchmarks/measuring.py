"""Measuring: a repetition is a fresh process that times one block and prints what it found."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import attrs

from stopwatch import Stopwatch, timed

__all__ = [
    "HERE",
    "Figure",
    "Settings",
    "Stopwatch",
    "bytes_of",
    "fresh_folder",
    "progress",
    "repetition",
    "repetition_of",
    "timed",
]

#: The folder of the benchmarks.
HERE = Path(__file__).resolve().parent


@attrs.frozen
class Settings:
    """How much to measure.

    Attributes:
        repetitions: of everything that is compared; at least 5.
        is_quick: leave out what takes longest; the ratios of small sizes are less steady.
    """

    repetitions: int = attrs.field(default=5, validator=attrs.validators.ge(5))
    is_quick: bool = False


@attrs.frozen
class Figure:
    """The result of one repetition.

    Attributes:
        cpu: seconds of processor time, user and system, of all threads.
        wall: seconds on the clock.
        facts: anything else that the repetition reported.
    """

    cpu: float
    wall: float
    facts: dict[str, Any] = attrs.field(factory=dict)


def repetition(script: str, *arguments: object, under: Sequence[str] = ()) -> Figure:
    """Run a script of this folder in a fresh process, and return the figure it reports.

    Args:
        script: its file name.
        arguments: of its command line.
        under: a command that runs it, such as a tracer.

    Raises:
        RuntimeError: the script failed.
    """
    return repetition_of([*under, sys.executable, str(HERE / script), *map(str, arguments)])


def repetition_of(command: Sequence[str], environ: Mapping[str, str] | None = None) -> Figure:
    """Run a command and return the figure it reports.

    Args:
        command: a program and its arguments.
        environ: its environment; that of this process if omitted.

    Raises:
        RuntimeError: the command failed.
    """
    environment = None if environ is None else dict(environ)
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        msg = f"{' '.join(command)} failed with {done.returncode}:\n{done.stderr}"
        raise RuntimeError(msg)
    return Figure(**json.loads(done.stdout.splitlines()[-1]))


def bytes_of(path: Path) -> int:
    """Return the bytes of a SQLite file, after moving its log into it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return sum(
        os.stat(each).st_size for each in (path, f"{path}-wal", f"{path}-journal") if _is_file(each)
    )


def _is_file(path: str | Path) -> bool:
    return Path(path).is_file()


@contextmanager
def fresh_folder() -> Iterator[Path]:
    """A new folder; gone, with all that is in it, after the block."""
    with tempfile.TemporaryDirectory(prefix="kando-bench-") as folder:
        yield Path(folder)


def progress(message: str) -> None:
    """Report on stderr what is being measured."""
    print(f"... {message}", file=sys.stderr, flush=True)
