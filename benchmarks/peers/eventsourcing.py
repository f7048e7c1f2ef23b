"""eventsourcing: an aggregate whose events are saved one by one, and its state from a snapshot."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from stopwatch import timed
from workload import short_data_of

__all__: list[str] = []


class Steps(Aggregate):
    """A chain of steps; its state is the data of all of them."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []

    @event("Stepped")
    def step(self, number: int, text: str) -> None:
        """Take a step."""
        self.steps.append({"number": number, "text": text})


class Bench(Application[UUID]):
    """An application with snapshots."""

    is_snapshotting_enabled = True


def _open(path: str) -> Bench:
    module = "eventsourcing.sqlite"
    return Bench(env={"PERSISTENCE_MODULE": module, "SQLITE_DBNAME": path})


def steps(size: str, path: str) -> None:
    """Run a chain, each event saved for itself, and report.

    Args:
        size: how many steps.
        path: of the new SQLite file; the id of the aggregate is kept next to it.
    """
    application, aggregate = _open(path), Steps()
    with timed() as watch:
        application.save(aggregate)
        for number in range(1, int(size) + 1):
            aggregate.step(**short_data_of(number))
            application.save(aggregate)
    Path(f"{path}.id").write_text(str(aggregate.id))
    application.close()
    watch.report()


def snapshot(size: str, path: str) -> None:
    """Take a snapshot of the chain that `steps` made, and report."""
    application = _open(path)
    with timed() as watch:
        application.take_snapshot(UUID(Path(f"{path}.id").read_text()))
    application.close()
    watch.report()


def state(size: str, path: str) -> None:
    """Open the file and get the state from the snapshot, and report."""
    id = UUID(Path(f"{path}.id").read_text())
    with timed() as watch:
        application = _open(path)
        found: Any = application.repository.get(id)
    if len(found.steps) != int(size):
        msg = f"eventsourcing found {len(found.steps)} steps, not {size}."
        raise RuntimeError(msg)
    watch.report()


if __name__ == "__main__":
    actions = {"steps": steps, "snapshot": snapshot, "state": state}
    actions[sys.argv[1]](*sys.argv[2:])
