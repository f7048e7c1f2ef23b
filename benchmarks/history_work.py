"""The work that the benchmark `history` times: one action on a ledger in a file, in one process."""

from __future__ import annotations

import resource
import secrets
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from kando.app.builtin import installed_plugins
from kando.app.opened import OpenedRun
from kando.app.store import Store, open_store
from kando.branch.comparison import compare
from kando.branch.fork import fork
from kando.emit import create
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.responders.base import Responder, responder
from kando.runtime import Runtime
from kando.schema.events import OBJECT_CREATED, KandoEvent
from measuring import timed
from workload import data_of

__all__: list[str] = []

_APART = 30


def _step(count: int) -> Responder:
    @responder("step", {OBJECT_CREATED})
    def step(event: Any, world: Any) -> Iterator[KandoEvent]:
        number = event.data["data"]["number"] + 1
        if number < count:
            yield create("Step", data_of(number))

    return step


def _store(path: str) -> Store:
    return open_store(
        f"sqlite:{path}", plugins=installed_plugins({"KANDO_PLUGINS": ""}), environ={}
    )


def prepare(path: str, length: int) -> None:
    """Keep a snapshot, fork at the middle, and fork where two tails of 30 events are left."""
    with _store(path) as store:
        ledger = store.context.ledger("bench", read_only=False)
        snapshots = OpenedRun(store.context, ledger).snapshots(read_only=False)
        with timed() as watch:
            Runtime(ledger, [_step(0)], snapshots=snapshots, edge_logic=()).run([])
        substrate = store.context.substrate(read_only=False)
        fork(substrate, "bench", length // 2, "half")
        near = fork(substrate, "bench", length - _APART, "near")
        near.append([create("Item", data_of(n), id=f"item-{n}") for n in range(_APART)])
    encoded = sum(len(event.encoded) for event in ledger_of(path).read_all())
    size = Path(path).stat().st_size
    watch.report(size=size, data=encoded)


def ledger_of(path: str, id: str = "bench") -> Any:
    """Return a ledger of a file, opened for reading."""
    return SQLiteSubstrate(path, read_only=True).open(id)


def load(path: str, length: int) -> None:
    """Load the world, and all that a run resumes from, without a snapshot."""
    with timed() as watch:
        world = Runtime(ledger_of(path), []).load()
    _report(watch, len(world.objects) == _steps(length))


def snapshot(path: str, length: int) -> None:
    """Load the world from the snapshot that the run kept at its end."""
    with _store(path) as store, timed() as watch:
        ledger = store.context.ledger("bench")
        world = Runtime(ledger, [], snapshots=OpenedRun(store.context, ledger).snapshots()).load()
    _report(watch, len(world.objects) == _steps(length))


def floor(path: str, length: int) -> None:
    """Read all rows and decode their bodies; the result is discarded."""
    decode, count = msgspec.json.Decoder(dict).decode, 0
    with timed() as watch:
        connection = sqlite3.connect(path)
        query = (
            "SELECT address, id, type, source, actor, cause, at_us, key, version, body "
            "FROM events WHERE address >> 32 = 1 ORDER BY address"
        )
        for row in connection.execute(query):
            decode(row[-1])
            count += 1
    # A firing takes a row for each of its outputs.
    _report(watch, count == _steps(length))


def strict(path: str, length: int) -> None:
    """Replay strictly: re-fire, and compare every event."""
    with timed() as watch:
        runtime = Runtime(ledger_of(path), [_step(_steps(length))], edge_logic=())
        world = runtime.replay(strict=True)
    _report(watch, len(world.objects) == _steps(length))


def rerun(path: str, length: int) -> None:
    """Run the same in a new file."""
    with SQLiteSubstrate(f"{path}.again") as substrate, timed() as watch:
        runtime = Runtime(substrate.create("bench"), [_step(_steps(length))], edge_logic=())
        world = runtime.run([create("Step", data_of(0))])
    for file in Path(path).parent.glob(f"{Path(path).name}.again*"):
        file.unlink()
    _report(watch, len(world.objects) == _steps(length))


def forking(path: str, length: int) -> None:
    """Fork at the middle."""
    with SQLiteSubstrate(path) as substrate:
        before, name = _bytes_of(path), f"b{secrets.token_hex(4)}"
        with timed() as watch:
            branch = fork(substrate, "bench", length // 2, name)
        # While it is open: closing it moves pages from the log to the file.
        _report(watch, branch.length() == length // 2 + 1, added=_bytes_of(path) - before)


def diff_half(path: str, length: int) -> None:
    """Compare the run with its branch at the middle, of which nothing followed."""
    with timed() as watch:
        found = compare(ledger_of(path), ledger_of(path, "half"))
    _report(watch, len(found.world.removed_objects) > length // 7)


def diff_near(path: str, length: int) -> None:
    """Compare two ledgers that part 30 events before their ends."""
    with _store(path) as store, timed() as watch:
        found = store.run("bench").diff(store.run("near"))
    _report(watch, len(found.world.added_objects) == _APART)


def trace(path: str, length: int) -> None:
    """Trace the last event up to the seed."""
    with _store(path) as store, timed() as watch:
        found = store.run("bench").trace(f"responder.completed-{length - 1}")
    _report(watch, len(found.steps) > length // 3)


def links(path: str, length: int) -> None:
    """Read the causes of all events; the result is discarded."""
    decode, count = msgspec.json.Decoder(list[str]).decode, 0
    with timed() as watch:
        connection = sqlite3.connect(path)
        query = "SELECT address, id, type, cause FROM events WHERE address >> 32 = 1"
        for row in connection.execute(query):
            decode(row[-1] or "[]")
            count += 1
    _report(watch, count == length)


def _steps(length: int) -> int:
    return (length + 2) // 3


def _bytes_of(path: str) -> int:
    files = (Path(path), Path(f"{path}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def _report(watch: Any, is_right: bool, **facts: int) -> None:
    if not is_right:
        msg = "The action did not have the expected result."
        raise RuntimeError(msg)
    watch.report(peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, **facts)


_ACTIONS: dict[str, Callable[[str, int], None]] = {
    each.__name__: each
    for each in (
        *(prepare, load, snapshot, floor, strict, rerun),
        *(forking, diff_half, diff_near, trace, links),
    )
}


if __name__ == "__main__":
    _ACTIONS[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
