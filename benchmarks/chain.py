"""chain: each step is one firing of one responder, which creates the object of the next step."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from kando.emit import create
from kando.ledger.memory import MemoryLedgerStore
from kando.ledger.sqlite import SQLiteLedgerStore
from kando.responders.base import Responder, responder
from kando.runtime import Runtime, loop
from kando.schema.events import OBJECT_CREATED, KandoEvent, make_event
from measuring import Figure, Settings, fresh_folder, progress, repetition, timed
from peer import ACTIVEGRAPH
from syncs import QUANTITY, can_trace, traced
from table import Goal, Line, costs, missing, rates
from workload import data_of as long_data_of
from workload import short_data_of

__all__ = ["lines"]

#: Steps of the run that warms up.
_WARM = 20


class _Watched(SQLiteLedgerStore):
    """A ledger that remembers its length after each transaction."""

    def __init__(self, run_id: str, path: str) -> None:
        super().__init__(run_id, path)
        self.lengths: list[int] = []

    def append(self, events: list[KandoEvent], *, expected_length: int | None = None) -> int:
        return self._noted(super().append(events, expected_length=expected_length))

    def append_firings(self, items: Sequence[Any], *, expected_length: int | None = None) -> int:
        # A checkout that `against` compares with may lack it; then it is not called.
        append: Any = super()
        return self._noted(append.append_firings(items, expected_length=expected_length))

    def _noted(self, length: int) -> int:
        if self.lengths[-1:] != [length]:
            self.lengths.append(length)
        return length


def lines(settings: Settings) -> Iterator[Line]:
    """Compare Kando with the floor, with the peer, and with itself at other lengths."""
    count = 1_000 if settings.is_quick else 5_000
    yield from _comparison(count, settings.repetitions)
    yield from _synchronisations(count, settings.repetitions)
    lengths = (1_000, 10_000) if settings.is_quick else (1_000, 10_000, 100_000)
    yield from _growth(lengths, settings.repetitions)


def _comparison(count: int, repetitions: int) -> Iterator[Line]:
    ours: list[Figure] = []
    floor: list[Figure] = []
    peer: list[Figure] = []
    for number in range(repetitions):
        progress(f"chain {count:,}, {number + 1} of {repetitions}")
        with fresh_folder() as folder:
            ours.append(repetition("chain.py", count, *_files(folder)))
            floor.append(repetition("floor.py", *_floor_files(folder)))
            if ACTIVEGRAPH.is_installed:
                peer.append(ACTIVEGRAPH.repetition("chain", count, folder / "peer.db"))
    size = f"{count:,} steps"
    yield from costs("chain", size, ours, "bare sqlite3", floor, cpu_goal=Goal(most=4))
    if peer:
        goal = Goal(least=5)
        yield from rates("chain", size, count, ours, "activegraph", peer, wall_goal=goal)
    else:
        yield missing("chain", size, ACTIVEGRAPH.absence)


def _synchronisations(count: int, repetitions: int) -> Iterator[Line]:
    if not can_trace():
        yield missing("chain", f"{count:,} steps", "bare sqlite3: strace cannot run")
        return
    ours: list[float] = []
    floor: list[float] = []
    for number in range(repetitions):
        progress(f"chain {count:,}, {QUANTITY}, {number + 1} of {repetitions}")
        with fresh_folder() as folder:
            ours.append(traced(folder, "chain.py", count, *_files(folder)))
            floor.append(traced(folder, "floor.py", *_floor_files(folder)))
    size = f"{count:,} steps"
    yield Line("chain", size, QUANTITY, ours, "bare sqlite3", floor, Goal(most=1))


def _growth(lengths: tuple[int, ...], repetitions: int) -> Iterator[Line]:
    found: dict[int, list[Figure]] = {length: [] for length in lengths}
    for number in range(repetitions):
        for length in lengths:
            progress(f"chain growth {length:,}, {number + 1} of {repetitions}")
            with fresh_folder() as folder:
                found[length].append(repetition("chain.py", length, *_files(folder)))
    first, *others = lengths
    for length in others:
        for name, goal in (("cpu", Goal(0.8, 1.2)), ("wall", None)):
            yield Line(
                "chain",
                f"{length:,} steps",
                f"{name} us/step",
                [1e6 * getattr(figure, name) / length for figure in found[length]],
                f"{first:,} steps",
                [1e6 * getattr(figure, name) / first for figure in found[first]],
                goal,
            )


def _files(folder: Path) -> tuple[Path, Path]:
    return folder / "kando.db", folder / "lengths.json"


def _floor_files(folder: Path) -> tuple[Path, Path, Path]:
    return folder / "kando.db", folder / "floor.db", folder / "lengths.json"


def main(
    size: str, path: str, lengths: str, text_bytes: str | None = None, interval: str = "0.05"
) -> None:
    """Run the chain and report.

    Args:
        size: how many steps.
        path: of the new SQLite file.
        lengths: where to write, as a JSON list, the length of the ledger after each transaction.
        text_bytes: 100 for the short texts of `steps`; the long ones if omitted.
        interval: seconds after which recorded events are saved.
    """
    count = int(size)
    data_of = long_data_of
    if text_bytes is not None:
        data_of = short_data_of
        # Imports and caches, which happen once in a process, must not count.
        Runtime(MemoryLedgerStore("warm"), [_step(_WARM, data_of)]).run([_seed(data_of)])
    # 500 steps take about one interval, but fifty under callgrind, where they would look for messages
    # fifty times as often as a user's run does; with an interval of "never", they look at both ends.
    loop.POLL_INTERVAL = max(loop.POLL_INTERVAL, float(interval))
    ledger = _Watched("bench", path)
    runtime = Runtime(ledger, [_step(count, data_of)], save_interval=float(interval))
    seeds = [_seed(data_of)]
    with timed() as watch:
        world = runtime.run(seeds)
    ledger.close()
    if len(world.objects) != count:
        msg = f"Kando created {len(world.objects)} objects, not {count}."
        raise RuntimeError(msg)
    Path(lengths).write_text(json.dumps(ledger.lengths))
    watch.report(commits=len(ledger.lengths))


def _step(count: int, data_of: Callable[[int], dict[str, Any]]) -> Responder:
    @responder("step", {OBJECT_CREATED})
    def step(event: Any, world: Any) -> Iterator[KandoEvent]:
        number = event.data["data"]["number"] + 1
        if number < count:
            yield create("Step", data_of(number))

    return step


def _seed(data_of: Callable[[int], dict[str, Any]]) -> KandoEvent:
    data = {"id": "step-0", "type": "Step", "data": data_of(0)}
    return make_event(OBJECT_CREATED, "", "cli", [], data)


if __name__ == "__main__":
    main(*sys.argv[1:])
