"""Distribute runs over worker processes, kill one every second, and compare every ledger.

Run as a program. A server can be killed and restarted at the same time. The kit is ``diligence`` with
the provider ``echo``; each run must end with the ledger that one process produces, and no answer may
be recorded twice.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from kando.app.store import Store, open_store

GROUP = "spread"
GOAL = "Evaluate Acme"


def facts(store: Store, run: str) -> list[Any]:
    """Return the fields of a run's events that must be equal."""
    return [
        (e.id, e.type, e.actor, e.cause, e.lineage_key, {**e.data, "observed": None})
        for e in store.context.ledger(run).read_all()
    ]


def started(url: str) -> subprocess.Popen[str]:
    """Start a worker process."""
    command = [sys.executable, "-m", "kando.cli.main", "--ledger", url, "worker"]
    command += ["--group", GROUP, "--kit", "diligence", "--llm", "echo", "--lease", "5"]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
    )


def restarted(process: subprocess.Popen[str], url: str) -> subprocess.Popen[str]:
    """Return a worker in place of one that ended by itself: its first call met a server that restarts.

    Raises:
        SystemExit: it ended for another reason.
    """
    said = process.communicate()[1]
    if "did not answer for 3 s" not in said:
        msg = f"a worker ended by itself: {said}"
        raise SystemExit(msg)
    return started(url)


def distribute(
    url: str,
    runs: int,
    workers: int,
    kills: int,
    seconds: float,
    chance: random.Random,
    restart: Callable[[], None] = lambda: None,
) -> str:
    """Distribute runs over workers, kill workers as they work, and compare the ledgers.

    Args:
        url: of the substrate.
        runs: number of runs.
        workers: number of processes.
        kills: maximum number of kills.
        seconds: between two kills.
        chance: chooses the worker to kill.
        restart: called at each kill.
    """
    with open_store("memory:", environ={}) as alone:
        run = alone.start("diligence", GOAL, llm="echo").result.status.run_id
        expected = facts(alone, run)
    with open_store(url, environ={}) as store:
        ids: list[str] = []
        for _ in range(runs):
            store.start("diligence", GOAL, group=GROUP, on_started=ids.append)
        group = store.context.substrate(read_only=False).group(GROUP)
        begun, killed = time.monotonic(), 0
        processes = [started(url) for _ in range(workers)]
        try:
            due = time.monotonic() + seconds
            while (info := group.info()).waiting or info.in_flight:
                if killed < kills and time.monotonic() > due:
                    victim = chance.randrange(workers)
                    processes[victim].send_signal(signal.SIGKILL)
                    processes[victim].communicate()
                    processes[victim] = started(url)
                    restart()
                    killed, due = killed + 1, time.monotonic() + seconds
                for place, process in enumerate(processes):
                    if process.poll() is not None:
                        processes[place] = restarted(process, url)
                time.sleep(0.02)
        finally:
            for process in processes:
                process.kill()
                process.communicate()
        took = time.monotonic() - begun
        group.close()
        if parked := group.parked():
            raise SystemExit(f"parked: {parked}")
        for run in ids:
            found = facts(store, run)
            if found != expected:
                at = next(
                    (
                        n
                        for n, pair in enumerate(zip(found, expected, strict=False))
                        if len({*map(str, pair)}) > 1
                    ),
                    min(len(found), len(expected)),
                )
                raise SystemExit(f"{run} has {len(found)} events and differs at {at}")
    return f"{runs} runs over {workers} workers, {killed} killed: equal, in {took:.1f} s"


def main() -> None:
    """Run with the given options, print a summary, and fail at the first difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--kills", type=int, default=10**9, help="at most so many")
    parser.add_argument("--seconds", type=float, default=1.0, help="between two kills")
    parser.add_argument("--server", action="store_true", help="on a fake server, not in a file")
    parser.add_argument("--restarts", action="store_true", help="kill the server as often, too")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as open_things:
        url, restart = f"sqlite:{Path(folder, 'store.sqlite')}", lambda: None
        if options.server:
            from eventstore_process import FakeEventStoreProcess

            server = open_things.enter_context(FakeEventStoreProcess(Path(folder, "store")))
            url, restart = server.url, server.restart if options.restarts else restart
        chance = random.Random(options.seed)
        sizes = (options.runs, options.workers, options.kills, options.seconds)
        print(distribute(url, *sizes, chance, restart), flush=True)


if __name__ == "__main__":
    main()
