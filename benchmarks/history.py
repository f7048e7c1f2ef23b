"""history: what an existing ledger costs to read, fork, replay, compare and keep."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from measuring import Figure, Settings, fresh_folder, progress, repetition
from peer import ACTIVEGRAPH
from start_up import process
from table import Goal, Line, missing

__all__ = ["lines"]

_OURS = ("load", "snapshot", "floor", "strict", "rerun", "diff_half", "diff_near", "trace", "links")
_PEERS = ("load", "strict", "forking", "diff_half", "trace")
_PEERS_LONGEST = 10_000
_DEFAULT_VIEW_LONGEST = 1_000
_SHORT = 502

_Found = dict[tuple[str, int], list[Figure]]


def lines(settings: Settings) -> Iterator[Line]:
    """Measure every action at every length, the repetitions of all of them in turn."""
    lengths = (1_000, 10_000) if settings.is_quick else (1_000, 10_000, 100_000)
    found: _Found = {}
    with fresh_folder() as folder:
        for length in (_SHORT, *lengths):
            _prepare(folder, length, found)
        for number in range(settings.repetitions):
            for length in lengths:
                progress(f"history {length:,}, {number + 1} of {settings.repetitions}")
                _measure(folder, length, found)
        # A fork takes less than a millisecond, so one takes more of them to tell.
        for _ in range(3 * settings.repetitions):
            for length in (_SHORT, *lengths):
                _keep(found, "forking", length, repetition(*_kando("forking", folder, length)))
        status = list(_status_lines(folder, lengths, settings.repetitions))
    for length in lengths:
        yield from _lines_of(length, lengths[0], found)
    yield from status


def _prepare(folder: Path, length: int, found: _Found) -> None:
    progress(f"history: a ledger of {length:,} events")
    # A step is three events, but for the first, which is a seed.
    steps = (length + 2) // 3
    repetition("chain.py", steps, folder / f"{length}.db", folder / "lengths.json")
    before = (folder / f"{length}.db").stat().st_size
    done = repetition(*_kando("prepare", folder, length))
    done.facts["size"] = before
    found["prepare", length] = [done]
    if ACTIVEGRAPH.is_installed and length <= _PEERS_LONGEST:
        for view in _views(length):
            figure = ACTIVEGRAPH.repetition(*_peer("prepare", folder, length, view))
            found[f"peer {view} prepare", length] = [figure]


def _measure(folder: Path, length: int, found: _Found) -> None:
    for action in _OURS:
        _keep(found, action, length, repetition(*_kando(action, folder, length)))
    if not ACTIVEGRAPH.is_installed or length > _PEERS_LONGEST:
        return
    for action in _PEERS:
        for view in _views(length) if action == "strict" else ("fast",):
            figure = ACTIVEGRAPH.repetition(*_peer(action, folder, length, view))
            _keep(found, f"peer {view} {action}", length, figure)


def _views(length: int) -> tuple[str, ...]:
    return ("fast", "default") if length <= _DEFAULT_VIEW_LONGEST else ("fast",)


def _keep(found: _Found, name: str, length: int, figure: Figure) -> None:
    found.setdefault((name, length), []).append(figure)


def _kando(action: str, folder: Path, length: int) -> tuple[str, str, Path, int]:
    return "history_work.py", action, folder / f"{length}.db", length


def _peer(action: str, folder: Path, length: int, view: str) -> tuple[str, Path, int, str]:
    return action, folder / f"peer-{view}-{length}.db", length, view


def _lines_of(length: int, shortest: int, found: _Found) -> Iterator[Line]:
    def line(
        what: str, ours: str, against: str, theirs: str, goal: Goal | None = None, at: int = length
    ) -> Line:
        mine, others = found[ours, length], found.get((theirs, at), [])
        if not others:
            why = "not measured at this length" if ACTIVEGRAPH.is_installed else ACTIVEGRAPH.absence
            return missing(what, f"{length:,} events", f"{against}: {why}")
        count = min(len(mine), len(others))
        pairs = [[1000 * figure.cpu for figure in each[:count]] for each in (mine, others)]
        return Line(what, f"{length:,} events", "cpu ms", pairs[0], against, pairs[1], goal)

    is_long = length >= _PEERS_LONGEST
    yield line("load cold", "load", "read + decode", "floor", Goal(most=4))
    yield line("load cold", "load", "activegraph", "peer fast load")
    yield line(
        "load snapshot", "snapshot", "load cold", "load", Goal(most=1 / 3) if is_long else None
    )
    yield line(
        *("load snapshot", "snapshot", "activegraph", "peer fast load"),
        Goal(most=0.1) if is_long else None,
    )
    yield line("fork", "forking", f"{_SHORT} events", "forking", None, _SHORT)
    yield line("fork", "forking", "activegraph", "peer fast forking")
    yield _facts(
        "fork", "bytes added", found, length, "forking", "added", "4 KiB", 4096, Goal(most=1)
    )
    yield line("strict replay", "strict", "running it", "rerun", Goal(most=1.5))
    yield line("strict replay", "strict", "activegraph fast", "peer fast strict")
    yield line("strict replay", "strict", "activegraph default", "peer default strict")
    yield line("diff, half apart", "diff_half", "load cold", "load")
    yield line("diff, half apart", "diff_half", "activegraph", "peer fast diff_half")
    if length != shortest:
        against = f"{shortest:,} events"
        yield line("diff, 30 apart", "diff_near", against, "diff_near", None, shortest)
    yield line("trace", "trace", "read the causes", "links")
    yield line(
        *("trace", "trace", "activegraph", "peer fast trace"),
        Goal(most=1 / 50) if is_long else None,
    )
    yield _size_line(found, length)
    yield _facts(
        "load cold", "peak RSS KB", found, length, "load", "peak", "read + decode", "floor"
    )
    yield _facts(
        "load cold", "peak RSS KB", found, length, "load", "peak", "activegraph", "peer fast load"
    )


def _facts(
    what: str,
    quantity: str,
    found: _Found,
    length: int,
    name: str,
    fact: str,
    against: str,
    theirs: str | int,
    goal: Goal | None = None,
) -> Line:
    ours = [figure.facts[fact] for figure in found[name, length]]
    if isinstance(theirs, int):
        others: list[float] = [theirs] * len(ours)
    else:
        others = [figure.facts[fact] for figure in found.get((theirs, length), [])]
    if not others:
        return missing(what, f"{length:,} events", f"{against}: not measured at this length")
    return Line(what, f"{length:,} events", quantity, ours, against, others, goal)


def _size_line(found: _Found, length: int) -> Line:
    facts = found["prepare", length][0].facts
    peer = found.get(("peer fast prepare", length))
    ours = [facts["size"] / length]
    size = f"{length:,} events"
    if peer is None:
        return Line("file", size, "bytes/event", ours, "its data", [facts["data"] / length])
    theirs = [peer[0].facts["size"] / peer[0].facts["events"]]
    return Line("file", size, "bytes/event", ours, "activegraph", theirs)


def _status_lines(folder: Path, lengths: tuple[int, ...], repetitions: int) -> Iterator[Line]:
    kando = str(Path(sys.executable).with_name("kando"))
    for length in lengths:
        url = f"sqlite:{folder / f'{length}.db'}"
        commands = (
            [kando, "status", "bench", "--ledger", url],
            [sys.executable, "-c", "import click"],
        )
        walls: tuple[list[float], list[float]] = ([], [])
        # Once without counting, so that all bytecode is compiled and all files are in memory.
        for number in range(-1, repetitions):
            for command, times in zip(commands, walls, strict=True):
                wall = process(command, folder).wall
                if number >= 0:
                    times.append(1000 * wall)
        size = f"{length:,} events"
        yield Line("kando status", size, "wall ms", walls[0], "import click", walls[1])
