"""Writers of one SQLite file wait for each other, and none of them is passed over."""

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kando.errors import StoreError
from kando.ledger import _sqlite_connection
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.testing.ledgers import event

WRITER = """
import sys
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.testing.ledgers import event
with SQLiteSubstrate(sys.argv[1]) as substrate:
    ledger = substrate.open(sys.argv[2])
    for number in range(10):
        ledger.append([event(number)], expected_length=number)
"""


def locked(path: Path) -> sqlite3.Connection:
    """Return another connection that holds the lock of a file."""
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    return other


def test_a_writer_waits_until_another_connection_releases_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_waiting, sleep = threading.Event(), _sqlite_connection.time.sleep

    def noted(seconds: float) -> None:
        is_waiting.set()
        sleep(seconds)

    with SQLiteSubstrate(tmp_path / "store") as substrate:
        ledger = substrate.create("r1")
        other = locked(tmp_path / "store")
        monkeypatch.setattr("kando.ledger._sqlite_connection.time.sleep", noted)
        writer = threading.Thread(target=lambda: ledger.append([event(0)]))
        writer.start()
        assert is_waiting.wait(30)
        other.execute("ROLLBACK")
        other.close()
        writer.join(30)

        assert ledger.length() == 1


def test_a_writer_that_has_waited_too_long_names_the_file_and_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kando.ledger._sqlite_connection.PATIENCE_SECONDS", 0)
    with SQLiteSubstrate(tmp_path / "store") as substrate:
        ledger = substrate.create("r1")
        other = locked(tmp_path / "store")

        with pytest.raises(StoreError, match="store is locked by another process") as raised:
            ledger.append([event(0)])

        other.close()
        assert "retry" in raised.value.hint
        assert ledger.append([event(0)]) == 1


def test_a_long_waiting_writer_asks_more_often_than_one_that_came_later() -> None:
    intervals = [_sqlite_connection._interval(waited) for waited in (0, 0.01, 0.1, 0.4, 0.5, 5)]

    assert intervals == sorted(intervals[:4]) + intervals[4:]
    assert intervals[4] == intervals[5] < intervals[3]


def test_many_processes_that_commit_each_step_all_finish(tmp_path: Path) -> None:
    names = [f"r{number}" for number in range(6)]
    with SQLiteSubstrate(tmp_path / "store") as substrate:
        for name in names:
            substrate.create(name)
        path = str(tmp_path / "store")
        started = [subprocess.Popen([sys.executable, "-c", WRITER, path, name]) for name in names]

        assert [process.wait(300) for process in started] == [0] * len(names)
        assert [substrate.open(name).length() for name in names] == [10] * len(names)
