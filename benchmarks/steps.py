"""steps: what a durable step costs, with a text of 100 bytes: instructions, CPU time and bytes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import callgrind
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.schema.events import OBJECT_CREATED
from measuring import HERE, Figure, Settings, bytes_of, fresh_folder, progress, repetition
from peer import ACTIVEGRAPH, BURR, DBOS, EVENTSOURCING, LANGGRAPH, PEERS, Peer
from table import Goal, Line, missing
from workload import TEXT_BYTES

__all__ = ["lines"]

_GROUPED, _SEPARATE = "group commit", "commit each"

#: Seconds after which Kando saves; under callgrind, only the end of the run does.
_INTERVALS = {_GROUPED: "0.05", _SEPARATE: "0"}
_NEVER = "1000000"

#: Steps of which instructions are counted.
_COUNTED = 500

_CPU_GOALS = {EVENTSOURCING: Goal(most=1 / 5), BURR: Goal(most=1 / 5)}


def lines(settings: Settings) -> Iterator[Line]:
    """Compare Kando with the floor, with a minimal loop, and with each peer."""
    yield from _instruction_lines()
    yield from _peer_lines(500 if settings.is_quick else 2_000, settings.repetitions)


def _instruction_lines() -> Iterator[Line]:
    goals = {
        "bare sqlite3": Goal(most=3.3),
        "bare sqlite3, fast": None,
        "minimal loop": Goal(most=1.25),
    }
    size = f"{_COUNTED:,} steps"
    if not callgrind.can_count():
        for against in goals:
            yield missing("steps", size, f"{against}: {callgrind.ABSENCE}")
        return
    counts = _counted()
    for against, goal in goals.items():
        each = ([counts[name] / _COUNTED / 1000] for name in ("kando", against))
        yield Line(
            *("steps", size, f"{callgrind.QUANTITY}/step", next(each), against, next(each)), goal
        )


def _counted() -> dict[str, int]:
    """Return the instructions of Kando's chain, and of what it is compared with."""
    progress(f"steps {_COUNTED:,}, {callgrind.QUANTITY}")
    with fresh_folder() as folder:
        source, lengths, facts = (folder / name for name in ("kando.db", "lengths.json", "facts"))
        # All in one transaction: under callgrind, a moment is many moments.
        chain = ("chain.py", _COUNTED)
        repetition(*chain, source, lengths, TEXT_BYTES, _NEVER)
        facts.write_text(json.dumps(_facts(source)))
        scripts: dict[str, tuple[object, ...]] = {
            "kando": (*chain, folder / "again.db", folder / "again.json", TEXT_BYTES, _NEVER),
            "bare sqlite3": ("floor.py", source, folder / "plain.db", lengths, "plain"),
            "bare sqlite3, fast": ("floor.py", source, folder / "fast.db", lengths, "fast"),
            "minimal loop": ("minimal.py", source, folder / "minimal.db", facts),
        }
        commands = {
            name: [sys.executable, str(HERE / str(script)), *map(str, arguments)]
            for name, (script, *arguments) in scripts.items()
        }
        return callgrind.counted_at_once(commands, count=callgrind.of_block)


def _facts(path: Path) -> dict[str, Any]:
    """Return what the minimal loop makes the events of a Kando file from, and their last hash."""
    with SQLiteSubstrate(path, read_only=True) as substrate:
        ledger = substrate.open("bench")
        created = [event for event in ledger.read_all() if event.type == OBJECT_CREATED]
        return {
            "key": created[0].lineage_key,
            "steps": [event.data["data"] for event in created],
            "times": [event.timestamp.isoformat() for event in created],
            "digest": ledger.digest(ledger.length()).hex(),
        }


def _peer_lines(count: int, repetitions: int) -> Iterator[Line]:
    figures: dict[str, list[Figure]] = {}
    sizes: dict[str, list[float]] = {}
    payloads: list[float] = []
    for number in range(repetitions):
        progress(f"steps {count:,}, {number + 1} of {repetitions}")
        with fresh_folder() as folder:
            for name, interval in _INTERVALS.items():
                path = folder / f"{name}.db"
                sizes_path = folder / "lengths.json"
                figure = repetition("chain.py", count, path, sizes_path, TEXT_BYTES, interval)
                _keep(figures, sizes, name, figure, path, count)
            payloads.append(_payload(folder / f"{_GROUPED}.db"))
            for peer in PEERS:
                if peer.is_installed:
                    path = folder / f"{peer.name}.db"
                    figure = peer.repetition("steps", count, path)
                    _keep(figures, sizes, peer.name, figure, path, count)
    for peer in (EVENTSOURCING, BURR, LANGGRAPH, DBOS, ACTIVEGRAPH):
        yield from _against(peer, count, figures, sizes)
    ours = sizes[_GROUPED]
    size = f"{count:,} steps"
    beyond = [each - payload for each, payload in zip(ours, payloads, strict=True)]
    goal, limit = Goal(most=1), [200.0] * repetitions
    yield Line("steps", size, "bytes/step, payload apart", beyond, "200", limit, goal)
    beyond = [each - TEXT_BYTES for each in ours]
    yield Line("steps", size, "bytes/step, text apart", beyond, "200", limit)


def _payload(path: Path) -> float:
    """Return the mean bytes of the data of the steps in a Kando file, as their events hold it."""
    with SQLiteSubstrate(path, read_only=True) as substrate:
        events = substrate.open("bench").read_all()
        return mean(len(event.encoded) for event in events if event.type == OBJECT_CREATED)


def _keep(
    figures: dict[str, list[Figure]],
    sizes: dict[str, list[float]],
    name: str,
    figure: Figure,
    path: Path,
    count: int,
) -> None:
    figures.setdefault(name, []).append(figure)
    sizes.setdefault(name, []).append(bytes_of(path) / count)


def _against(
    peer: Peer, count: int, figures: dict[str, list[Figure]], sizes: dict[str, list[float]]
) -> Iterator[Line]:
    size = f"{count:,} steps"
    if not peer.is_installed:
        yield missing("steps", size, peer.absence)
        return

    def line(quantity: str, ours: list[float], theirs: list[float], goal: Goal | None) -> Line:
        return Line("steps", size, quantity, ours, peer.name, theirs, goal)

    theirs = _microseconds(figures[peer.name], count)
    for name in _INTERVALS:
        goal = _CPU_GOALS.get(peer) if name == _GROUPED else None
        yield line(f"cpu us/step, {name}", _microseconds(figures[name], count), theirs, goal)
    yield line("bytes/step", sizes[_GROUPED], sizes[peer.name], None)


def _microseconds(figures: list[Figure], count: int) -> list[float]:
    return [1e6 * figure.cpu / count for figure in figures]
