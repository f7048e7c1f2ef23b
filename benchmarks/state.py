"""state: the state of 2,000 steps from a snapshot, in a new process, against an aggregate's."""

from __future__ import annotations

from collections.abc import Iterator

from measuring import Figure, Settings, fresh_folder, progress, repetition
from peer import EVENTSOURCING
from table import Goal, Line, missing
from workload import TEXT_BYTES

__all__ = ["lines"]

_STEPS = 2_000
#: A step is three events, but for the first, which is a seed.
_EVENTS = 3 * _STEPS - 2


def lines(settings: Settings) -> Iterator[Line]:
    """Compare the time from opening the file to the whole state."""
    size = f"{_STEPS:,} steps"
    if not EVENTSOURCING.is_installed:
        yield missing("state", size, EVENTSOURCING.absence)
        return
    ours: list[Figure] = []
    theirs: list[Figure] = []
    with fresh_folder() as folder:
        path, other = folder / "kando.db", folder / "eventsourcing.db"
        progress(f"state: {size}")
        repetition("chain.py", _STEPS, path, folder / "lengths.json", TEXT_BYTES)
        repetition("history_work.py", "prepare", path, _EVENTS)
        EVENTSOURCING.repetition("steps", _STEPS, other)
        EVENTSOURCING.repetition("snapshot", _STEPS, other)
        # A few milliseconds each: more of them.
        repetitions = settings.repetitions * (1 if settings.is_quick else 3)
        for number in range(repetitions):
            progress(f"state, {number + 1} of {repetitions}")
            ours.append(repetition("history_work.py", "snapshot", path, _EVENTS))
            theirs.append(EVENTSOURCING.repetition("state", _STEPS, other))
    milliseconds = [[1000 * figure.cpu for figure in side] for side in (ours, theirs)]
    yield Line(
        "state",
        f"{size}, snapshot",
        "cpu ms",
        milliseconds[0],
        "eventsourcing",
        milliseconds[1],
        Goal(most=5),
    )
