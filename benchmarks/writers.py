"""writers: processes that commit each step to one file at once; how long the unluckiest waits."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.schema.events import make_event
from measuring import Settings, fresh_folder, progress
from table import Goal, Line

__all__ = ["lines"]

_WRITERS = 48
_STEPS = 40
_QUICK_STEPS = 10


def lines(settings: Settings) -> Iterator[Line]:
    """Compare the longest append with the median of the slowest tenth."""
    steps = _QUICK_STEPS if settings.is_quick else _STEPS
    longest: list[float] = []
    slow: list[float] = []
    for number in range(settings.repetitions):
        progress(f"writers, {number + 1} of {settings.repetitions}")
        with fresh_folder() as folder:
            waits = sorted(_waits(folder / "kando.db", steps))
        longest.append(1000 * waits[-1])
        slow.append(1000 * median(waits[-len(waits) // 10 :]))
    size = f"{_WRITERS} writers, {steps} steps"
    goal = Goal(most=20)
    yield Line("longest append", size, "wall ms", longest, "slowest tenth", slow, goal)


def _waits(path: Path, steps: int) -> list[float]:
    """Return the seconds of each append of all processes, which start together."""
    with SQLiteSubstrate(path) as substrate:
        for number in range(_WRITERS):
            substrate.create(f"run-{number}")
    started = [
        subprocess.Popen(
            [sys.executable, __file__, str(path), f"run-{number}", str(steps)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(_WRITERS)
    ]
    for process in started:
        assert process.stdout is not None
        process.stdout.readline()
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [wait for process in started for wait in json.loads(process.communicate()[0])]


def write(path: str, run: str, steps: str) -> None:
    """Be one of the processes: append events one by one, and report the seconds of each append.

    Args:
        path: of the file.
        run: to append to.
        steps: how many events.
    """
    with SQLiteSubstrate(path) as substrate:
        ledger = substrate.open(run)
        print("ready", flush=True)
        input()
        waits = []
        for number in range(int(steps)):
            start = time.perf_counter()
            ledger.append([make_event("step.made", f"step-{number}", "bench", [], {})])
            waits.append(time.perf_counter() - start)
        print(json.dumps(waits))


if __name__ == "__main__":
    write(*sys.argv[1:])
