"""workers: research runs worked on by the workers of a group, against one process on its own."""

from __future__ import annotations

import os
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from kando.app.group_worker import GroupWorker
from kando.app.store import Store, open_store
from kando.ledger.groups import Job
from measuring import Figure, Settings, Stopwatch, fresh_folder, progress, repetition
from syncs import QUANTITY, can_trace
from table import Goal, Line

__all__ = ["lines"]

_RUNS = 200
_QUICK_RUNS = 40
_GROUP = "bench"

_STRACE = ("strace", "-f", "--seccomp-bpf", "-e", "trace=fsync,fdatasync", "-o")
_SYNC = re.compile(r"\b(fsync|fdatasync)\(")


def lines(settings: Settings) -> Iterator[Line]:
    """Compare one, two and four workers with a process that makes the same runs in turn."""
    runs = _QUICK_RUNS if settings.is_quick else _RUNS
    size = f"{runs} research runs"
    found: dict[int, list[Figure]] = {0: [], 1: [], 2: [], 4: []}
    with fresh_folder() as prepared:
        progress(f"workers, start of {runs} runs")
        prepare(runs, prepared)
        for number in range(settings.repetitions):
            progress(f"workers, {number + 1} of {settings.repetitions}")
            for workers, figures in found.items():
                with fresh_folder() as folder:
                    shutil.copytree(prepared, folder, dirs_exist_ok=True)
                    figures.append(repetition("workers.py", "measure", workers, runs, folder))
    if len({figure.facts["events"] for figures in found.values() for figure in figures}) != 1:
        msg = "Workers recorded another number of events than one process."
        raise RuntimeError(msg)
    alone, one = found[0], found[1]
    walls = {workers: [figure.wall for figure in figures] for workers, figures in found.items()}
    yield Line("1 worker", size, "wall s", walls[1], "no group", walls[0], Goal(most=1.5))
    for workers, goal in ((2, Goal(most=1 / 1.7)), (4, None)):
        yield Line(f"{workers} workers", size, "wall s", walls[workers], "1 worker", walls[1], goal)
    cpu = [figure.cpu for figure in one]
    yield Line("1 worker", size, "cpu s", cpu, "no group", [figure.cpu for figure in alone])
    commits = [figure.facts["commits"] / runs for figure in one]
    yield Line(
        "1 worker", size, "transactions/run", commits, "no group",
        [figure.facts["commits"] / runs for figure in alone],
    )  # fmt: skip
    if can_trace():
        with fresh_folder() as folder:
            prepare(_QUICK_RUNS, folder)
            synced = repetition("workers.py", "measure", 1, _QUICK_RUNS, folder, "traced").facts
        each = synced["syncs"] / _QUICK_RUNS
        yield Line(
            "1 worker",
            f"{_QUICK_RUNS} research runs",
            QUANTITY,
            [each],
            "a run",
            [1.0],
            Goal(most=6),
        )


def prepare(runs: int, folder: Path) -> None:
    """Start runs that no process works on: it takes longer than to work on them."""
    with open_store(f"sqlite:{folder}/kando.db", environ={}) as store:
        for number in range(runs):
            store.start("research", f"goal {number}", demo=True, work=False)


def measure(workers: str, runs: str, folder: str, traced: str = "") -> None:
    """Have started runs worked on by processes that start together, and report.

    Args:
        workers: how many; 0 for a process that works without a group.
        runs: how many there are.
        folder: of the store.
        traced: count synchronisations if not empty, which makes everything slower.
    """
    store = open_store(f"sqlite:{folder}/kando.db", environ={})
    if int(workers):
        group = store.context.substrate(read_only=False).group(_GROUP)
        for info in [*store.context.substrate().ledgers()][::-1]:
            group.offer(Job(info.id))
    trace = Path(folder) / "trace"
    under = [*_STRACE, str(trace)] if traced else []
    command = [*under, sys.executable, __file__, "work" if int(workers) else "alone", folder]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(int(workers) or 1)
    ]
    _answers(started)
    already = len(_SYNC.findall(trace.read_text())) if traced else 0
    wall = time.perf_counter()
    done = _answers(started)
    watch = Stopwatch()
    watch.wall = time.perf_counter() - wall
    watch.cpu = sum(each["cpu"] for each in done)
    syncs = len(_SYNC.findall(trace.read_text())) - already if traced else None
    for process in started:
        process.communicate()
    finished = [each for each in store.runs(limit=1000).items if each.state == "finished"]
    if len(finished) != int(runs):
        msg = f"Only {len(finished)} of {runs} runs are finished."
        raise RuntimeError(msg)
    events = sum(each.events for each in finished)
    store.close()
    watch.report(events=events, commits=sum(e["commits"] for e in done), syncs=syncs)


def _answers(started: Sequence[subprocess.Popen[str]]) -> list[dict[str, Any]]:
    """Have every process take its next step, and return what each reports of it."""
    found = []
    for process in started:
        assert process.stdin is not None
        process.stdin.write("next\n")
        process.stdin.flush()
    for process in started:
        assert process.stdout is not None
        cpu, commits = process.stdout.readline().split()
        found.append({"cpu": float(cpu), "commits": int(commits)})
    return found


class _Counting(sqlite3.Connection):
    """A connection that counts the commits of its process."""

    commits = 0

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        if sql == "COMMIT":
            _Counting.commits += 1
        return super().execute(sql, *arguments)


def work(role: str, folder: str) -> None:
    """Be one of the processes: prepare, then work when the parent says so.

    Args:
        role: ``work`` for a worker of the group, ``alone`` for a process without one.
        folder: of the store.
    """
    connect = sqlite3.connect
    sqlite3.connect = lambda *a, **k: connect(*a, factory=_Counting, **k)  # type: ignore[misc,assignment]
    store = open_store(f"sqlite:{folder}/kando.db", environ={})
    warm_up(store)
    if role == "work":
        worker = GroupWorker(store.context, _GROUP)
    input()
    print(0, 0, flush=True)
    input()
    cpu, commits = _cpu(), _Counting.commits
    if role == "work":
        worker.work(until_idle=True)
    else:
        for item in reversed(store.runs(limit=1000).items):
            store.run(item.run_id).resume()
    print(_cpu() - cpu, _Counting.commits - commits, flush=True)
    store.close()


def warm_up(store: Store) -> None:
    """Import everything that the work needs, as a process does once."""
    with open_store("memory:", environ={}) as other:
        other.start("research", "warm up", demo=True)
    with suppress(StopIteration):
        next(iter(store.runs(limit=1).items))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    os.environ.pop("KANDO_LEDGER", None)
    if sys.argv[1] == "measure":
        measure(*sys.argv[2:])
    else:
        work(sys.argv[1], sys.argv[2])
