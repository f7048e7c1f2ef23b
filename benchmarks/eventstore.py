"""eventstore: the same work on a SQLite file, on the fake server, and on a real one if there is one.

Run as a program: ``python benchmarks/eventstore.py [--repetitions N] [--events N]``. A real server is
measured if EVENTSTORE_URL names it; what is written there stays there. The fake server exists for
tests and synchronises no commit, so its figures say what the protocol and the client cost, and nothing
about EventStoreDB or KurrentDB.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

from kando.branch.fork import fork
from kando.ledger.claims import this_process
from kando.ledger.groups import Job
from kando.ledger.interface import LedgerStore
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.ledger.substrate import Substrate
from kando.schema.events import KandoEvent, make_event
from measuring import fresh_folder, progress

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))
from eventstore_process import FakeEventStoreProcess

#: Bytes of text in an event, so that its data is about half a kilobyte.
_TEXT = "x" * 450

_JOBS = 50
_FORKS = 20


def _events(count: int) -> list[KandoEvent]:
    return [make_event("thing.happened", "", "bench", [], {"text": _TEXT}) for _ in range(count)]


def _appending(ledger: LedgerStore, count: int, at_once: int) -> float:
    """Return how many events are appended a second."""
    batches = [_events(at_once) for _ in range(max(count // at_once, 1))]
    length = ledger.length()
    begun = time.perf_counter()
    for batch in batches:
        length = ledger.append(batch, expected_length=length)
    return len(batches) * at_once / (time.perf_counter() - begun)


def _reading(substrate: Substrate, id: str) -> float:
    """Return how many events are read a second, from a ledger that is opened anew."""
    begun = time.perf_counter()
    count = sum(1 for _ in substrate.open(id).read_all())
    return count / (time.perf_counter() - begun)


def _forking(substrate: Substrate, id: str) -> float:
    """Return how many forks are made a second, each in the middle."""
    middle = substrate.open(id).length() // 2
    begun = time.perf_counter()
    for _ in range(_FORKS):
        fork(substrate, id, middle, f"b{uuid4().hex}")
    return _FORKS / (time.perf_counter() - begun)


def _sharing(substrate: Substrate) -> float:
    """Return how many jobs one worker of a group takes and does a second."""
    group = substrate.group(f"bench{uuid4().hex[:8]}")
    try:
        begun = time.perf_counter()
        for number in range(_JOBS):
            group.offer(Job(f"r{number}"))
        done = 0
        while done < _JOBS:
            lease = group.take(this_process(), 60.0)
            if lease is not None:
                group.finish(lease)
                done += 1
        return _JOBS / (time.perf_counter() - begun)
    finally:
        group.close()


def measured(substrate: Substrate, count: int) -> dict[str, float]:
    """Return what one repetition finds, by what was measured."""
    id = f"r{uuid4().hex}"
    ledger = substrate.create(id)
    return {
        "events/s, 1 an append": _appending(ledger, max(count // 20, 50), 1),
        "events/s, 100 an append": _appending(ledger, count, 100),
        "events/s read": _reading(substrate, id),
        "forks/s": _forking(substrate, id),
        "jobs/s of a group": _sharing(substrate),
    }


def _places(folder: Path, stack: ExitStack) -> Iterator[tuple[str, Callable[[], Substrate]]]:
    from kando_eventstore.substrate import open_eventstore

    yield "SQLite file", lambda: SQLiteSubstrate(folder / "store.sqlite")
    fake = stack.enter_context(FakeEventStoreProcess(folder / "store"))
    yield "fake server", lambda: open_eventstore(fake.url)
    real = os.environ.get("EVENTSTORE_URL")
    if real:
        yield "EVENTSTORE_URL", lambda: open_eventstore(real)


def main(arguments: list[str] | None = None) -> None:
    """Measure and print a table: median, least and most of the repetitions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5, metavar="N", help="at least 5")
    parser.add_argument("--events", type=int, default=4000, metavar="N", help="of each ledger")
    given = parser.parse_args(arguments)
    if given.repetitions < 5:
        parser.error("a median of fewer than 5 repetitions says nothing")
    found: dict[str, dict[str, list[float]]] = {}
    with fresh_folder() as folder, ExitStack() as stack:
        places = dict(_places(folder, stack))
        # By turns, so that a busy moment of the machine hits all of them.
        for number in range(given.repetitions):
            for name, open_it in places.items():
                progress(f"eventstore on {name}, {number + 1} of {given.repetitions}")
                with open_it() as substrate:
                    for what, figure in measured(substrate, given.events).items():
                        found.setdefault(what, {}).setdefault(name, []).append(figure)
    print(f"{'':<26}" + "".join(f"{name:>28}" for name in places))
    for what, by_place in found.items():
        cells = (
            f"{statistics.median(each):,.0f} ({min(each):,.0f}-{max(each):,.0f})"
            for each in by_place.values()
        )
        print(f"{what:<26}" + "".join(f"{cell:>28}" for cell in cells))


if __name__ == "__main__":
    main()
