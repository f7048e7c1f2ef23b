"""start-up: what it takes until the command line answers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from measuring import Figure, Settings, fresh_folder, progress
from table import Line, costs

__all__ = ["lines"]


def lines(settings: Settings) -> Iterator[Line]:
    """Compare with a Python process that imports click and ends."""
    kando = str(Path(sys.executable).with_name("kando"))
    commands = {
        "floor": [sys.executable, "-c", "import click"],
        "kando --help": [kando, "--help"],
        "kando --version": [kando, "--version"],
    }
    found: dict[str, list[Figure]] = {name: [] for name in commands}
    with fresh_folder() as home:
        # Once without counting, so that all bytecode is compiled and all files are in memory.
        for number in range(-1, 3 * settings.repetitions):
            if number >= 0:
                progress(f"start-up, {number + 1} of {3 * settings.repetitions}")
            for name, command in commands.items():
                figure = _process(command, home)
                if number >= 0:
                    found[name].append(figure)
    for name in ("kando --help", "kando --version"):
        yield from costs("start-up", name, found[name], "import click", found["floor"])


def _process(command: list[str], home: Path) -> Figure:
    environment = {**os.environ, "HOME": str(home)}
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        msg = f"{' '.join(command)} failed with {process.returncode}."
        raise RuntimeError(msg)
    return Figure(usage.ru_utime + usage.ru_stime, wall)
