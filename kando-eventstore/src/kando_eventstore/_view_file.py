"""The SQLite file that holds views; a change and its position in the log are one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import attrs
import msgspec

from kando.errors import LedgerNotFound
from kando.schema.events import RecordedEvent
from kando.views.metrics import RunMetrics
from kando.world.graph import World

__all__ = ["ViewFile"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS checkpoint (
    source TEXT PRIMARY KEY,
    position INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS views (
    run TEXT PRIMARY KEY,
    length INTEGER NOT NULL,
    world_state TEXT NOT NULL,
    run_metrics TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS lineage_index (
    run TEXT NOT NULL,
    event TEXT NOT NULL,
    causes TEXT NOT NULL,
    PRIMARY KEY (run, event)
) STRICT, WITHOUT ROWID;
"""


class ViewFile:
    """The views of many runs, and the position in the server's log that they are current to.

    Args:
        path: of the file; created if it is missing.
        source: the server that the views are of.
    """

    def __init__(self, path: str | Path, source: str) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._source = source
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        # Content that is removed is overwritten.
        self._connection.execute("PRAGMA secure_delete = ON")
        self._connection.executescript(_SCHEMA)

    @property
    def position(self) -> int | None:
        """The position in the server's log that the views are current to; None if they are empty."""
        query = "SELECT position FROM checkpoint WHERE source = ?"
        row = self._connection.execute(query, (self._source,)).fetchone()
        return int(row[0]) if row is not None else None

    def length(self, run: str) -> int:
        """Return how many events of a run are in its views."""
        query = "SELECT length FROM views WHERE run = ?"
        row = self._connection.execute(query, (run,)).fetchone()
        return int(row[0]) if row is not None else 0

    def update(
        self,
        position: int,
        changed: Iterable[tuple[str, World, RunMetrics, Iterable[RecordedEvent]]],
        deleted: Collection[str] = (),
    ) -> None:
        """Update views to a position in the log, in one transaction.

        Args:
            position: that the views are then current to.
            changed: for each run with new events: its id, world and metrics, and the new events.
            deleted: ids of runs that were deleted; their views are removed.
        """
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            for run, world, metrics, events in changed:
                self._connection.executemany(
                    "INSERT OR REPLACE INTO lineage_index VALUES (?, ?, ?)",
                    ((run, e.id, msgspec.json.encode(e.cause).decode()) for e in events),
                )
                self._connection.execute(
                    "INSERT OR REPLACE INTO views VALUES (?, ?, ?, ?)",
                    (run, metrics.events, _json(_state(world)), _json(attrs.asdict(metrics))),
                )
            for table in ("views", "lineage_index") if deleted else ():
                self._connection.executemany(
                    f"DELETE FROM {table} WHERE run = ?", ((run,) for run in deleted)
                )
            self._connection.execute(
                "INSERT OR REPLACE INTO checkpoint VALUES (?, ?)", (self._source, position)
            )
        if deleted:
            # The log of the file does not keep them, either.
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def view(self, run: str) -> dict[str, Any]:
        """Return the views of a run: ``world_state``, ``lineage_index`` and ``run_metrics``.

        Raises:
            LedgerNotFound: the file has no views of this run.
        """
        query = "SELECT length, world_state, run_metrics FROM views WHERE run = ?"
        row = self._connection.execute(query, (run,)).fetchone()
        if row is None:
            msg = f"The file has no views of run {run!r}."
            raise LedgerNotFound(msg, hint="Run `kando views --once` to update it.")
        query = "SELECT event, causes FROM lineage_index WHERE run = ?"
        lineage = self._connection.execute(query, (run,)).fetchall()
        return {
            "run_id": run,
            "events": row[0],
            "world_state": msgspec.json.decode(row[1]),
            "lineage_index": {event: msgspec.json.decode(causes) for event, causes in lineage},
            "run_metrics": msgspec.json.decode(row[2]),
        }

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _state(world: World) -> dict[str, Any]:
    return {
        "objects": {o.id: {"type": o.type, "data": o.data} for o in world.objects.values()},
        "relations": {
            r.id: {
                "type": r.type,
                "source_id": r.source_id,
                "target_id": r.target_id,
                "data": r.data,
            }
            for r in world.relations.values()
        },
    }


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
