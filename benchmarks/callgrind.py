"""Instructions of a process, counted by valgrind: the same on a busy machine and on a quiet one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

__all__ = ["ABSENCE", "QUANTITY", "can_count", "counted_at_once", "instructions", "of_block"]

#: The text of a row if instructions cannot be counted.
ABSENCE = "valgrind: not installed"

QUANTITY = "k instructions"

_TOTALS = re.compile(r"^totals: (\d+)", re.MULTILINE)


def can_count() -> bool:
    """Whether valgrind is installed."""
    return shutil.which("valgrind") is not None


def instructions(command: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """Run a command under callgrind and return how many instructions its process executed.

    Processes that it starts do not count. It takes about fifty times as long as the command alone.

    Args:
        command: a program and its arguments; a script needs its interpreter in front.
        environ: its environment; that of this process if omitted. Strings hash alike in every run.

    Raises:
        RuntimeError: the command failed.
    """
    return sum(_counted(command, environ))


def of_block(command: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """Run a command under callgrind and return how many instructions its timed block executed.

    Args:
        command: a program that uses `stopwatch.timed` once, and its arguments.
        environ: as for `instructions`.

    Raises:
        RuntimeError: the command failed.
    """
    # The block lies between the two calls of getppid.
    _, block, _ = _counted(command, environ, "--dump-before=getppid")
    return block


def counted_at_once(
    commands: Mapping[str, Sequence[str]],
    environ: Mapping[str, str] | None = None,
    count: Callable[[Sequence[str], Mapping[str, str] | None], int] = instructions,
) -> dict[str, int]:
    """Count the instructions of several commands, as many at once as there are processors.

    Args:
        commands: by name.
        environ: as for `instructions`.
        count: `instructions` or `of_block`.

    Raises:
        RuntimeError: a command failed.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda command: count(command, environ), commands.values())
        return dict(zip(commands, found, strict=True))


def _counted(command: Sequence[str], environ: Mapping[str, str] | None, *options: str) -> list[int]:
    """Return the instructions of each part of a process, in order."""
    environment = {**(os.environ if environ is None else environ), "PYTHONHASHSEED": "0"}
    with tempfile.TemporaryDirectory(prefix="kando-bench-") as folder:
        out = Path(folder) / "out"
        tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", *options]
        # A process that the command starts would write to the same file.
        under = [*tool, "--trace-children=no", *command]
        done = subprocess.run(under, capture_output=True, text=True, env=environment)
        # Parts are numbered from 1; the last has no number.
        parts = sorted(out.parent.glob("out.*"), key=lambda part: int(part.suffix[1:]))
        found = [_TOTALS.search(part.read_text()) for part in (*parts, out) if part.is_file()]
    if done.returncode or not found or None in found:
        msg = f"{' '.join(under)} failed with {done.returncode}:\n{done.stderr}"
        raise RuntimeError(msg)
    return [int(each[1]) for each in found if each is not None]
