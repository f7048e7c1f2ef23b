"""Measuring: a repetition is a fresh process that times one block and prints what it found."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

__all__ = ["Figure", "Settings", "Stopwatch", "fresh_folder", "progress", "repetition", "timed"]

_HERE = Path(__file__).resolve().parent


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


@attrs.define
class Stopwatch:
    """The measurement of `timed`; filled in at the end of its block."""

    cpu: float = 0.0
    wall: float = 0.0

    def report(self, **facts: Any) -> None:
        """Print the figure and further facts for the process that asked for a repetition."""
        print(json.dumps({"cpu": self.cpu, "wall": self.wall, "facts": facts}))


@contextmanager
def timed() -> Iterator[Stopwatch]:
    """Time a block. A call of getppid before and after it marks it in a trace of system calls."""
    watch = Stopwatch()
    gc.collect()
    os.getppid()
    wall, cpu = time.perf_counter(), time.process_time()
    yield watch
    watch.cpu, watch.wall = time.process_time() - cpu, time.perf_counter() - wall
    os.getppid()


def repetition(script: str, *arguments: object, under: Sequence[str] = ()) -> Figure:
    """Run a script of this folder in a fresh process, and return the figure it reports.

    Args:
        script: its file name.
        arguments: of its command line.
        under: a command that runs it, such as a tracer.

    Raises:
        RuntimeError: the script failed.
    """
    command = [*under, sys.executable, str(_HERE / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        msg = f"{' '.join(command)} failed with {done.returncode}:\n{done.stderr}"
        raise RuntimeError(msg)
    return Figure(**json.loads(done.stdout.splitlines()[-1]))


@contextmanager
def fresh_folder() -> Iterator[Path]:
    """A new folder; gone, with all that is in it, after the block."""
    with tempfile.TemporaryDirectory(prefix="kando-bench-") as folder:
        yield Path(folder)


def progress(message: str) -> None:
    """Report on stderr what is being measured."""
    print(f"... {message}", file=sys.stderr, flush=True)
