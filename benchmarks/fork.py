"""fork: a branch off the middle of a short ledger and of a long one, in time and in bytes."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from kando.branch.fork import fork
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from measuring import Figure, Settings, fresh_folder, progress, repetition, timed
from table import Goal, Line, costs

__all__ = ["lines"]

_SHORT = 500


def lines(settings: Settings) -> Iterator[Line]:
    """Compare forking a long ledger with forking a short one."""
    long = 10_000 if settings.is_quick else 100_000
    found: dict[int, list[Figure]] = {_SHORT: [], long: []}
    with fresh_folder() as folder:
        for length in found:
            progress(f"fork: a ledger of {length:,} events")
            repetition("objects.py", length, folder / f"{length}.db")
        # A fork takes less than a millisecond, so one takes more of them to tell.
        repetitions = 3 * settings.repetitions
        for number in range(repetitions):
            progress(f"fork, {number + 1} of {repetitions}")
            for length, figures in found.items():
                copy = folder / "copy.db"
                shutil.copyfile(folder / f"{length}.db", copy)
                figures.append(repetition("fork.py", copy, length // 2))
                copy.unlink()
    size, against = f"{long:,} events", f"{_SHORT} events"
    yield from costs("fork", size, found[long], against, found[_SHORT])
    yield Line(
        "fork",
        size,
        "bytes added",
        [figure.facts["added"] for figure in found[long]],
        against,
        [figure.facts["added"] for figure in found[_SHORT]],
        Goal(most=1.1),
    )


def main(path: str, position: str) -> None:
    """Fork and report.

    Args:
        path: of a SQLite file with a ledger ``bench``, which nobody has open.
        position: where to fork.
    """
    with SQLiteSubstrate(path) as substrate:
        before = _bytes_of(path)
        with timed() as watch:
            fork(substrate, "bench", int(position), "branch")
        # While it is open: closing it moves pages from the log to the file.
        watch.report(added=_bytes_of(path) - before)


def _bytes_of(path: str) -> int:
    files = (Path(path), Path(f"{path}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


if __name__ == "__main__":
    main(*sys.argv[1:])
