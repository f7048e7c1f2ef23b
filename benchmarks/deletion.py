"""Delete runs from a SQLite file: how the cost grows with the run, and with the rest of the file.

Run as a program: ``python benchmarks/deletion.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from kando.app.store import open_store
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.schema.events import make_event

_BATCH = 1000


def main() -> None:
    """Print the CPU time of deletions."""
    for count in (1_000, 10_000, 100_000):
        print(f"a run of {count:,} events of 300 bytes: {_of_length(count):.3f} s")
    for count in (10, 100, 1000):
        first, second = _of_blobs(count)
        print(
            f"a run with 100 long texts, of {count:,} such runs: {first:.3f} s for the first that is "
            f"deleted, {second:.3f} s for the second"
        )


def _of_length(count: int) -> float:
    with TemporaryDirectory() as folder, open_store(_url(folder), environ={}) as store:
        ledger = store.context.substrate(read_only=False).create("r1")
        for first in range(0, count, _BATCH):
            ledger.append(
                [
                    make_event("note", "", "bench", [], {"n": number, "text": "x" * 300})
                    for number in range(first, first + _BATCH)
                ]
            )
        return _seconds(lambda: store.delete("r1"))


def _of_blobs(runs: int) -> tuple[float, float]:
    with TemporaryDirectory() as folder:
        with SQLiteSubstrate(Path(folder) / "runs.db") as substrate:
            for run in range(runs):
                # Half of the texts are those of other runs.
                texts = [f"{run * (number % 2)} {number} " * 300 for number in range(100)]
                substrate.create(f"r{run}").append(
                    [make_event("note", "", "bench", [], {"text": text}) for text in texts]
                )
        with open_store(_url(folder), environ={}) as store:
            return tuple(_seconds(lambda id=id: store.delete(id)) for id in ("r0", "r1"))


def _url(folder: str) -> str:
    return f"sqlite:{folder}/runs.db"


def _seconds(do: Callable[[], object]) -> float:
    begun = time.process_time()
    do()
    return time.process_time() - begun


if __name__ == "__main__":
    main()
