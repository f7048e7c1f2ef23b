"""A minimal loop: the ids, lineage keys, JSON and hash chain of a chain of steps, and its rows.

It makes what Kando's chain makes, with no check, no world and no limits, and inserts rows that it
was given. Its events are compared with the Kando file, so that both cannot drift apart.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from floor import content_of, fast, prepared, statement
from stopwatch import timed

__all__: list[str] = []

_json = msgspec.json.Encoder().encode
_msgpack = msgspec.msgpack.Encoder().encode

_SOURCE, _NAME = "run:bench", "step"
_POSITION_MASK = 2**32 - 1

_Row = tuple[Any, ...]


def main(source: str, target: str, expected: str) -> None:
    """Make everything, insert it in one transaction, and report.

    Args:
        source: path of the Kando file; its tables and indexes are made in the target as well.
        target: path of the new file.
        expected: path of a JSON object: the lineage key of the seed (``key``), the data of each
            object (``steps``), the time of each (``times``), and the last hash (``digest``).
    """
    known = json.loads(Path(expected).read_text())
    # Recorded times, so that the hashes are the same; the loop reads the clock all the same.
    times = [datetime.fromisoformat(each) for each in known["times"]]
    columns, rows, schema = content_of(source)
    groups, insert = _grouped(columns, fast(rows)), statement(columns)
    connection = prepared(target, schema)
    with timed() as watch:
        digest, made = _made(known["key"], known["steps"], times, groups)
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(insert, made)
        connection.execute("COMMIT")
    connection.close()
    if digest.hex() != known["digest"]:
        msg = "The minimal loop no longer makes what Kando writes."
        raise RuntimeError(msg)
    watch.report()


def _made(
    key: str, steps: list[dict[str, Any]], times: list[datetime], groups: list[list[_Row]]
) -> tuple[bytes, list[_Row]]:
    """Make the events of the chain; return their last hash, and the rows to insert."""
    trigger, position, made = "object.created-0", -1, list(groups[0])
    encoded = _json({"id": "step-0", "type": "Step", "data": steps[0]})
    head: tuple[Any, ...] = (
        0,
        trigger,
        "object.created",
        _SOURCE,
        "cli",
        [],
        times[0],
        key,
        1,
        encoded,
    )
    digest = sha256(bytes(32) + _msgpack(head)).digest()
    for number in range(1, len(steps)):
        datetime.now(UTC)
        at, position = times[number], position + 2 if number == 1 else position + 3
        digest, trigger, key = _firing(digest, trigger, key, position, at, steps[number])
        made += groups[number]
    return digest, made


def _firing(
    digest: bytes, trigger: str, key: str, position: int, at: datetime, step: dict[str, Any]
) -> tuple[bytes, str, str]:
    """Make the three events of a firing; return the last hash, and the id and key of its output."""
    fired = f"responder.fired-{position}"
    created = f"object.created-{position + 1}"
    completed = f"responder.completed-{position + 2}"
    keys = [
        sha256(f"{key}\0{_NAME}\0{ordinal}".encode()).hexdigest()[:32]
        for ordinal in ("fired", 0, "completed")
    ]
    data: dict[str, Any] = {"responder": _NAME, "trigger": trigger}
    encoded = _json(data)
    head = (position, fired, "responder.fired", _SOURCE, _NAME, [trigger], at, keys[0], 1, encoded)
    digest = sha256(digest + _msgpack(head)).digest()
    encoded = _json({"id": f"step-{keys[1][:8]}", "type": "Step", "data": step})
    position += 1
    head = (position, created, "object.created", _SOURCE, _NAME, [trigger], at, keys[1], 1, encoded)
    digest = sha256(digest + _msgpack(head)).digest()
    data["outputs"] = 1
    encoded, position, kind = _json(data), position + 1, "responder.completed"
    head = (position, completed, kind, _SOURCE, _NAME, [fired], at, keys[2], 1, encoded)
    return sha256(digest + _msgpack(head)).digest(), created, keys[1]


def _grouped(columns: list[str], rows: list[_Row]) -> list[list[_Row]]:
    """Return the rows of the seed, and those of each step: three positions."""
    address = columns.index("address")
    groups: list[list[_Row]] = []
    for row in rows:
        number = ((row[address] & _POSITION_MASK) + 2) // 3
        while len(groups) <= number:
            groups.append([])
        groups[number].append(row)
    return groups


if __name__ == "__main__":
    main(*sys.argv[1:])
