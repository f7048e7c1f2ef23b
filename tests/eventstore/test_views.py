"""Views of many runs are folds over their ledgers, even after the process that updates them is killed."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest

from kando.branch.fork import fork
from kando.emit import create, patch, relate
from kando.errors import LedgerNotFound, StoreError
from kando.ledger.interface import LedgerStore
from kando.runtime import Runtime
from kando.trace.lineage import build_lineage_index
from kando.views.metrics import measure
from kando.world.projection import project
from kando_eventstore._connection import Connection
from kando_eventstore._view_file import ViewFile
from kando_eventstore.substrate import EventStoreSubstrate, open_eventstore
from kando_eventstore.testing import FakeEventStoreServer
from kando_eventstore.views import ViewKeeper


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeEventStoreServer]:
    with FakeEventStoreServer(tmp_path / "store") as started:
        yield started


@pytest.fixture
def substrate(server: FakeEventStoreServer) -> Iterator[EventStoreSubstrate]:
    with open_eventstore(server.url) as opened:
        yield opened


def record(ledger: LedgerStore, *steps: int) -> None:
    """Record some objects, changes and relations."""
    for n in steps:
        Runtime(ledger, [], edge_logic=()).run(
            [
                create("Part", {"n": n}, id=f"part{n}"),
                patch(f"part{n}", {"seen": True}),
                relate("follows", f"part{n}", "part0", id=f"relation{n}"),
            ]
        )


def expected(ledger: LedgerStore) -> dict[str, Any]:
    """Return the views that a ledger should have."""
    events = list(ledger.read_all())
    world = project(events)
    return {
        "run_id": ledger.stream_name().partition(":")[2],
        "events": len(events),
        "objects": {o.id: o.data for o in world.objects.values()},
        "relations": {r.id: [r.source_id, r.target_id] for r in world.relations.values()},
        "lineage_index": build_lineage_index(events),
        "run_metrics": msgspec.json.decode(msgspec.json.encode(attrs.asdict(measure(events)))),
    }


def stored(file: ViewFile, run: str) -> dict[str, Any]:
    """Return the stored views of a run, in the form of `expected`."""
    view = file.view(run)
    world = view.pop("world_state")
    view["objects"] = {id: o["data"] for id, o in world["objects"].items()}
    view["relations"] = {
        id: [r["source_id"], r["target_id"]] for id, r in world["relations"].items()
    }
    return view


def test_the_views_of_runs_and_branches_match_their_ledgers(
    substrate: EventStoreSubstrate, server: FakeEventStoreServer, tmp_path: Path
) -> None:
    for n in range(3):
        record(substrate.create(f"r{n}"), *range(n + 2))
    record(fork(substrate, "r2", 4, "b1"), 7)
    file = ViewFile(tmp_path / "views", server.url)

    assert ViewKeeper(substrate, file).keep(once=True) == 4

    for info in substrate.ledgers():
        assert stored(file, info.id) == expected(substrate.open(info.id))
    with pytest.raises(LedgerNotFound, match="--once"):
        file.view("missing")
    file.close()


def test_the_views_of_a_deleted_run_are_removed(
    substrate: EventStoreSubstrate, server: FakeEventStoreServer, tmp_path: Path
) -> None:
    for run in ("r0", "r1", "r2"):
        record(substrate.create(run), 0, 1)
    path = tmp_path / "views"
    file = ViewFile(path, server.url)
    ViewKeeper(substrate, file).keep(once=True)
    assert stored(file, "r1") == expected(substrate.open("r1"))

    substrate.delete("r1")
    ViewKeeper(substrate, file).keep(once=True)

    with pytest.raises(LedgerNotFound):
        file.view("r1")
    for run in ("r0", "r2"):
        assert stored(file, run) == expected(substrate.open(run))
    with sqlite3.connect(path) as other:
        rows = other.execute("SELECT DISTINCT run FROM lineage_index").fetchall()
    other.close()
    assert sorted(rows) == [("r0",), ("r2",)]
    file.close()


def test_a_damaged_run_is_reported_and_the_other_runs_have_views(
    substrate: EventStoreSubstrate, server: FakeEventStoreServer, tmp_path: Path
) -> None:
    for n in range(3):
        record(substrate.create(f"r{n}"), 0)
    substrate.connection.client().set_stream_metadata("run:r1", metadata={"$tb": 2})
    file, reports = ViewFile(tmp_path / "views", server.url), list[str]()

    ViewKeeper(substrate, file, reports.append).keep(once=True)

    assert reports
    reason = "r1 is skipped: run:r1 is missing 2 of its events"
    assert all(line.startswith(reason) for line in reports)
    for run in ("r0", "r2"):
        assert stored(file, run) == expected(substrate.open(run))
    with pytest.raises(LedgerNotFound):
        file.view("r1")
    file.close()


def test_views_are_updated_after_a_cluster_had_no_leader(
    substrate: EventStoreSubstrate, server: FakeEventStoreServer, tmp_path: Path
) -> None:
    record(substrate.create("r0"), 0)
    file = ViewFile(tmp_path / "views", server.url)
    server.faults.leaderless_calls = server.faults.redirected_calls = 2

    assert ViewKeeper(substrate, file).keep(once=True) == 1

    assert server.faults.leaderless_calls == server.faults.redirected_calls == 0
    assert stored(file, "r0") == expected(substrate.open("r0"))
    file.close()


def test_views_name_the_right_that_the_user_lacks(
    substrate: EventStoreSubstrate, server: FakeEventStoreServer, tmp_path: Path
) -> None:
    file = ViewFile(tmp_path / "views", server.url)
    server.faults.denied = frozenset(["$all"])

    with pytest.raises(StoreError, match=r"denies access: .*read \$all, which .*\$admins"):
        ViewKeeper(substrate, file).keep(once=True)
    file.close()


def test_views_are_updated_after_a_node_dropped_the_subscription(
    server: FakeEventStoreServer, tmp_path: Path
) -> None:
    connection = Connection(server.url, confirm_seconds=0.3)
    with EventStoreSubstrate(connection) as substrate:
        record(substrate.create("r0"), 0)
        file = ViewFile(tmp_path / "views", server.url)
        server.faults.dropped_connects = 2

        assert ViewKeeper(substrate, file).keep(once=True) == 1

        assert server.faults.dropped_connects == 0
        assert stored(file, "r0") == expected(substrate.open("r0"))
        file.close()


def test_runs_without_new_events_are_not_read_again(
    substrate: EventStoreSubstrate, server: FakeEventStoreServer, tmp_path: Path
) -> None:
    for n in range(3):
        record(substrate.create(f"r{n}"), 0)
    file = ViewFile(tmp_path / "views", server.url)
    ViewKeeper(substrate, file).keep(once=True)
    before = file.position
    record(substrate.open("r1"), 1)

    assert ViewKeeper(substrate, file).keep(once=True) == 1
    assert ViewKeeper(substrate, file).keep(once=True) == 0

    assert stored(file, "r1") == expected(substrate.open("r1"))
    assert before is not None
    assert (file.position or 0) > before
    file.close()


def test_a_killed_process_resumes_where_it_stopped_and_misses_nothing(
    substrate: EventStoreSubstrate, server: FakeEventStoreServer, tmp_path: Path
) -> None:
    path = tmp_path / "views"
    command = [sys.executable, "-m", "kando.cli.main", "--ledger", server.url]
    command += ["views", "--file", str(path)]
    environ = {**os.environ, "HOME": str(tmp_path)}
    ledgers = [substrate.create(f"r{n}") for n in range(6)]
    for round in range(3):
        with subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL) as process:
            for ledger in ledgers:
                record(ledger, round)
            # Killed at an arbitrary point after its start.
            deadline = time.monotonic() + 30
            while not path.exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)

    subprocess.run([*command, "--once"], env=environ, check=True, capture_output=True)

    file = ViewFile(path, substrate.connection.display_url)
    for ledger in ledgers:
        run = ledger.stream_name().partition(":")[2]
        assert stored(file, run) == expected(ledger)
    file.close()
    done = subprocess.run([*command, "--show", "r1"], env=environ, check=True, capture_output=True)
    assert json.loads(done.stdout)["events"] == ledgers[1].length()


def test_a_sqlite_substrate_has_no_subscriptions_to_update_views_from(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kando.cli.main", "--ledger", "sqlite:x.sqlite", "views"]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode != 0
    assert "Set EVENTSTORE_URL" in done.stderr
