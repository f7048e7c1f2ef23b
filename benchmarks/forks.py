"""forks: the bytes and the time of a fork in the middle of a run, against those of DBOS and LangGraph."""

from __future__ import annotations

from collections.abc import Iterator

from measuring import Figure, Settings, fresh_folder, progress, repetition
from peer import DBOS, LANGGRAPH
from table import Line, missing
from workload import TEXT_BYTES

__all__ = ["lines"]

_STEPS = 500
#: A step is three events, but for the first, which is a seed.
_EVENTS = 3 * _STEPS - 2


def lines(settings: Settings) -> Iterator[Line]:
    """Fork once in each repetition; none of the forks runs."""
    ours: list[Figure] = []
    theirs: dict[str, list[Figure]] = {}
    size = f"{_STEPS:,} steps"
    peers = [peer for peer in (DBOS, LANGGRAPH) if peer.is_installed]
    with fresh_folder() as folder:
        path = folder / "kando.db"
        progress(f"forks: {size}")
        repetition("chain.py", _STEPS, path, folder / "lengths.json", TEXT_BYTES)
        for peer in peers:
            peer.repetition("steps", _STEPS, folder / f"{peer.name}.db")
        for number in range(settings.repetitions):
            progress(f"forks, {number + 1} of {settings.repetitions}")
            ours.append(repetition("history_work.py", "forking", path, _EVENTS))
            for peer in peers:
                figure = peer.repetition("fork", _STEPS, folder / f"{peer.name}.db")
                theirs.setdefault(peer.name, []).append(figure)
    for peer in (DBOS, LANGGRAPH):
        if peer not in peers:
            yield missing("forks", size, peer.absence)
            continue
        found = theirs[peer.name]
        added = [[figure.facts["added"] for figure in side] for side in (ours, found)]
        times = [[1000 * figure.cpu for figure in side] for side in (ours, found)]
        yield Line("forks", size, "bytes added", added[0], peer.name, added[1])
        yield Line("forks", size, "cpu ms", times[0], peer.name, times[1])
