"""objects: many seeds through a runtime whose one responder does nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from kando.ledger.sqlite import SQLiteLedgerStore
from kando.responders.base import responder
from kando.runtime import Runtime
from kando.schema.events import OBJECT_CREATED, make_event
from measuring import Figure, Settings, fresh_folder, progress, repetition, timed
from peer import ACTIVEGRAPH
from table import Goal, Line, costs, missing, rates
from workload import data_of

__all__ = ["lines"]

_ROWS_PER_TRANSACTION = 100


def lines(settings: Settings) -> Iterator[Line]:
    """Compare Kando with the floor and the peer."""
    count = 2_000 if settings.is_quick else 10_000
    ours: list[Figure] = []
    floor: list[Figure] = []
    peer: list[Figure] = []
    for number in range(settings.repetitions):
        progress(f"objects {count:,}, {number + 1} of {settings.repetitions}")
        with fresh_folder() as folder:
            ours.append(repetition("objects.py", count, folder / "kando.db"))
            lengths = folder / "lengths.json"
            full = range(_ROWS_PER_TRANSACTION, count, _ROWS_PER_TRANSACTION)
            lengths.write_text(json.dumps([*full, count]))
            floor.append(repetition("floor.py", folder / "kando.db", folder / "floor.db", lengths))
            if ACTIVEGRAPH.is_installed:
                peer.append(ACTIVEGRAPH.repetition("objects", count, folder / "peer.db"))
    size = f"{count:,} objects"
    yield from costs("objects", size, ours, "bare sqlite3", floor, cpu_goal=Goal(most=4))
    if peer:
        goal = Goal(least=10)
        yield from rates("objects", size, count, ours, "activegraph", peer, wall_goal=goal)
    else:
        yield missing("objects", size, ACTIVEGRAPH.absence)


def main(size: str, path: str) -> None:
    """Run the seeds and report.

    Args:
        size: how many.
        path: of the new SQLite file.
    """

    @responder("nothing", {OBJECT_CREATED})
    def nothing(event: Any, world: Any) -> None:
        return None

    ledger = SQLiteLedgerStore("bench", path)
    runtime = Runtime(ledger, [nothing])
    seeds = [
        make_event(OBJECT_CREATED, "", "cli", [], {"id": f"item-{n}", "type": "Item", "data": data})
        for n, data in ((n, data_of(n)) for n in range(int(size)))
    ]
    with timed() as watch:
        world = runtime.run(seeds)
    ledger.close()
    if len(world.objects) != len(seeds):
        msg = f"Kando created {len(world.objects)} objects, not {len(seeds)}."
        raise RuntimeError(msg)
    watch.report()


if __name__ == "__main__":
    main(*sys.argv[1:])
