"""DBOS: a workflow of steps with its system database in a SQLite file, and a fork of it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from dbos import DBOS, SetWorkflowID

from stopwatch import timed
from workload import short_data_of

__all__: list[str] = []


@DBOS.step()
def step(number: int) -> dict[str, Any]:
    """Return the data of a step."""
    return short_data_of(number)


@DBOS.workflow()
def work(count: int) -> int:
    """Take the steps."""
    number = 0
    for each in range(1, count + 1):
        number = step(each)["number"]
    return number


def _launch(path: str) -> None:
    DBOS(
        config={
            "name": "bench",
            "system_database_url": f"sqlite:///{path}",
            "log_level": "ERROR",
            "console_log_level": "ERROR",
            "application_version": "1",
            "executor_id": "bench",
        }
    )
    DBOS.launch()


def steps(size: str, path: str) -> None:
    """Run a workflow, and report.

    Args:
        size: how many steps.
        path: of the new SQLite file.
    """
    count = int(size)
    _launch(path)
    with timed() as watch, SetWorkflowID("bench"):
        done = work(count)
    DBOS.destroy()
    if done != count:
        msg = f"DBOS made {done} steps, not {count}."
        raise RuntimeError(msg)
    watch.report()


def fork(size: str, path: str) -> None:
    """Fork the workflow at its middle, and report how many bytes are added.

    Args:
        size: how many steps it has.
        path: of the file that `steps` made.
    """
    _launch(path)
    before = _bytes_of(path)
    with timed() as watch:
        DBOS.fork_workflow("bench", int(size) // 2 + 1, application_version="never")
    added = _bytes_of(path) - before
    # The threads that look for queued workflows are of no interest here.
    watch.report(added=added)
    sys.stdout.flush()
    os._exit(0)


def _bytes_of(path: str) -> int:
    files = (Path(path), Path(f"{path}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


if __name__ == "__main__":
    {"steps": steps, "fork": fork}[sys.argv[1]](*sys.argv[2:])
