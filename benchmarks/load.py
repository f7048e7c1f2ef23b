"""load: a ledger in a file becomes a runtime that could go on, in a process that is new to it."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator

import msgspec

from kando.ledger.sqlite import SQLiteLedgerStore
from kando.runtime import Runtime
from measuring import Figure, Settings, fresh_folder, progress, repetition, timed
from table import Line, costs

__all__ = ["lines"]


def lines(settings: Settings) -> Iterator[Line]:
    """Compare Kando with the floor at several lengths."""
    lengths = (1_000, 10_000) if settings.is_quick else (1_000, 10_000, 100_000)
    ours: dict[int, list[Figure]] = {length: [] for length in lengths}
    floor: dict[int, list[Figure]] = {length: [] for length in lengths}
    with fresh_folder() as folder:
        for length in lengths:
            progress(f"load: a ledger of {length:,} events")
            # A step is three events, but for the first, which is a seed.
            steps = (length + 2) // 3
            repetition("chain.py", steps, folder / f"{length}.db", folder / "sizes.json")
        for number in range(settings.repetitions):
            for length in lengths:
                progress(f"load {length:,}, {number + 1} of {settings.repetitions}")
                path = folder / f"{length}.db"
                ours[length].append(repetition("load.py", "kando", path, length))
                floor[length].append(repetition("load.py", "floor", path, length))
    for length in lengths:
        size = f"{length:,} events"
        yield from costs("load", size, ours[length], "read + decode", floor[length])


def main(who: str, path: str, length: str) -> None:
    """Load a ledger and report.

    Args:
        who: ``kando``, or ``floor`` for reading the rows and decoding the bodies only.
        path: of the SQLite file.
        length: number of events in it.
    """
    count = 0
    if who == "kando":
        with timed() as watch:
            ledger = SQLiteLedgerStore("bench", path)
            Runtime(ledger, []).load()
        count = ledger.length()
    else:
        decode = msgspec.json.Decoder(dict).decode
        with timed() as watch:
            connection = sqlite3.connect(path)
            query = (
                "SELECT address, id, type, source, actor, cause, at_us, key, version, hash, body "
                "FROM events ORDER BY address"
            )
            for row in connection.execute(query):
                decode(row[-1])
                count += 1
    if count != int(length):
        msg = f"{path} has {count} events, not {length}."
        raise RuntimeError(msg)
    watch.report()


if __name__ == "__main__":
    main(*sys.argv[1:])
