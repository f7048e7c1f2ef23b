"""The promises of the SQLite substrate beyond the conformance suites."""

import errno
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from kando.branch.fork import fork
from kando.errors import ConfigurationError, InvalidData, LedgerNotFound, StoreDamaged, StoreError
from kando.ledger.inbox import InboxEntry
from kando.ledger.sqlite import SQLiteLedgerStore
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.ledger.verification import verify
from kando.testing.ledgers import event


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def test_the_file_is_private_in_write_ahead_mode_and_waits_for_the_disk_itself(
    tmp_path: Path,
) -> None:
    path = tmp_path / "new folder" / "store"
    with SQLiteSubstrate(path) as substrate:
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 1), ("foreign_keys", 1)):
            statement = f"PRAGMA {pragma}"
            assert substrate._query(lambda c, s=statement: c.execute(s).fetchone()) == (value,)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_writer_waits_for_the_disk_without_the_lock_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store"
    with SQLiteSubstrate(path) as substrate, SQLiteSubstrate(path) as other:
        ledger, another = substrate.create("r1"), other.create("r2")
        waits = []

        def wait(file: int) -> None:
            waits.append(os.readlink(f"/proc/self/fd/{file}") if Path("/proc").exists() else "")
            if len(waits) == 1:
                another.append([event(0), event(1)])

        monkeypatch.setattr("kando.ledger._sqlite_connection._synchronise", wait)
        ledger.append([event(0)])

        assert (ledger.length(), another.length(), len(waits)) == (1, 2, 2)
        assert {*waits} <= {"", f"{path.resolve()}-wal"}


def test_an_append_fails_if_the_disk_does_not_confirm_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with SQLiteSubstrate(tmp_path / "store") as substrate:
        ledger = substrate.create("r1")
        monkeypatch.setattr("kando.ledger._sqlite_connection._synchronise", fail)

        with pytest.raises(StoreError, match="its log was not synchronised: Input/output error"):
            ledger.append([event(0)])


def test_a_commit_waits_for_the_disk_itself_if_the_log_cannot_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_file = os.open

    def refuse(path: str | Path, *rest: int) -> int:
        if str(path).endswith("-wal"):
            raise OSError(errno.EMFILE, "Too many open files")
        return open_file(path, *rest)

    path = tmp_path / "store"
    SQLiteSubstrate(path).close()
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        substrate = SQLiteSubstrate(path)
    levels = []
    with substrate:
        with substrate._writing() as connection:
            levels.append(connection.execute("PRAGMA synchronous").fetchone())
        substrate.create("r1").append([event(0)])
        assert substrate.open("r1").length() == 1

    assert levels == [(2,)]


def test_a_name_with_its_kind_opens_a_ledger_of_that_kind_only(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with SQLiteSubstrate(path) as substrate:
        substrate.create("r1").append([event(0)])
        fork(substrate, "r1", 1, "b1")

    for name, stream in [("run:r1", "run:r1"), ("branch:b1", "branch:b1"), ("b1", "branch:b1")]:
        ledger = SQLiteLedgerStore(name, path)
        assert ledger.stream_name() == stream
        ledger.close()
    for name in ("branch:r1", "run:b1", "branch:b2"):
        with pytest.raises(LedgerNotFound, match=name.partition(":")[2]):
            SQLiteLedgerStore(name, path)
    with pytest.raises(ConfigurationError, match="is not a valid run id"):
        SQLiteLedgerStore("run:../r1", path)
    assert rows(path, "SELECT id FROM ledgers") == [("b1",), ("r1",)]


def test_an_append_that_was_acknowledged_survives_sigkill(tmp_path: Path) -> None:
    code = """
import sys
from kando.ledger.sqlite import SQLiteLedgerStore
from kando.testing.ledgers import event
ledger = SQLiteLedgerStore("r1", sys.argv[1])
n = 0
while True:
    n = ledger.append([event(n), event(n)], expected_length=n)
    print(n, flush=True)
"""
    path = tmp_path / "store"
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    acknowledged = [int(child.stdout.readline()) for _ in range(20)]
    os.kill(child.pid, signal.SIGKILL)
    acknowledged += [int(line) for line in child.stdout.read().split()]
    child.wait()
    child.stdout.close()

    ledger = SQLiteLedgerStore("r1", path)
    length = ledger.length()
    assert length >= acknowledged[-1]
    assert length % 2 == 0
    assert len(list(ledger.read_all())) == length
    ledger.close()


def test_a_fork_writes_one_row_and_no_event(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with SQLiteSubstrate(path) as substrate:
        substrate.create("r1").append([event(n) for n in range(50)])
        substrate.fork("r1", 25, "b1")

    assert rows(path, "SELECT count(*) FROM events") == [(50,)]
    assert rows(path, "SELECT count(*) FROM ledgers") == [(2,)]


def test_default_ids_and_sources_are_not_stored(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with SQLiteSubstrate(path) as substrate:
        substrate.create("r1").append([event(0), event(1, id="named")])

    assert rows(path, "SELECT id, source, cause FROM events") == [
        (None, None, None),
        ("named", None, None),
    ]


def test_a_parent_of_a_branch_cannot_be_deleted(tmp_path: Path) -> None:
    with SQLiteSubstrate(tmp_path / "store") as substrate:
        substrate.create("r1")
        substrate.fork("r1", 0, "b1")
        with pytest.raises(StoreError), substrate._writing() as connection:
            connection.execute("DELETE FROM ledgers WHERE id = 'r1'")


def test_writers_that_append_in_turn_or_fail_continue_one_hash_chain(tmp_path: Path) -> None:
    path = tmp_path / "store"
    first = SQLiteLedgerStore("r1", path)
    second = SQLiteLedgerStore("r1", path)
    for number in range(3):
        for ledger in (first, second, second):
            ledger.append([event(number)])
            with pytest.raises(InvalidData):
                ledger.append([event(number), event(number, id="bad \ud800")])

    verdict = verify(first)
    assert verdict.is_intact
    assert verdict.events == 9
    first.close()
    second.close()


def test_a_ledger_that_was_not_created_after_all_is_unknown(tmp_path: Path) -> None:
    with SQLiteSubstrate(tmp_path / "store") as substrate:
        with suppress(KeyboardInterrupt), substrate._writing() as connection:
            substrate._insert(connection, "r1", None, 0)
            assert substrate._line(connection, "r1")
            raise KeyboardInterrupt
        with pytest.raises(LedgerNotFound):
            substrate.inbox("r1")


def test_a_long_ledger_is_read_page_by_page_even_across_a_fork(tmp_path: Path) -> None:
    with SQLiteSubstrate(tmp_path / "store") as substrate:
        substrate.create("r1").append([event(n) for n in range(2500)])
        branch = substrate.fork("r1", 1500, "b1")
        branch.append([event(n) for n in range(9000, 10200)])

        read = [e.data["n"] for e in branch.read(999)]

    assert read == [*range(999, 1500), *range(9000, 10200)]


def test_reading_a_closed_ledger_is_an_error(tmp_path: Path) -> None:
    ledger = SQLiteLedgerStore("r1", tmp_path / "store")
    ledger.close()

    with pytest.raises(StoreError, match="is closed"):
        ledger.length()


def test_a_read_only_substrate_reads_and_refuses_to_write(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with SQLiteSubstrate(path) as writer:
        writer.create("r1").append([event(0)])
        with SQLiteSubstrate(path, read_only=True) as reader:
            writer.open("r1").append([event(1)])
            assert reader.open("r1").length() == 2
            for write in (
                lambda: reader.create("r2"),
                lambda: reader.fork("r1", 0, "b1"),
                lambda: reader.open("r1").append([event(2)]),
                lambda: reader.cache("r1", "k", b"v"),
            ):
                with pytest.raises(StoreError, match="read-only"):
                    write()


def test_reading_a_missing_file_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        SQLiteSubstrate(tmp_path / "missing", read_only=True)

    assert list(tmp_path.iterdir()) == []


def not_a_database(path: Path) -> None:
    path.write_bytes(b"this is a text, and not a short one " * 50)


def foreign_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (a)")
    connection.commit()
    connection.close()


def newer_format(path: Path) -> None:
    SQLiteSubstrate(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def half_a_file(path: Path) -> None:
    with SQLiteSubstrate(path) as substrate:
        substrate.create("r1").append([event(n) for n in range(500)])
    path.write_bytes(path.read_bytes()[:3000])


@pytest.mark.parametrize("make", [not_a_database, foreign_database, newer_format, half_a_file])
@pytest.mark.parametrize("read_only", [True, False])
def test_a_file_that_is_not_a_store_is_refused_and_not_changed(
    tmp_path: Path, make: Callable[[Path], None], read_only: bool
) -> None:
    path = tmp_path / "store"
    make(path)
    before = path.read_bytes()

    def read_all() -> None:
        with SQLiteSubstrate(path, read_only=read_only) as substrate:
            list(substrate.open("r1").read_all())

    with pytest.raises(StoreError) as caught:
        read_all()

    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        SQLiteSubstrate(tmp_path)


def test_an_undecodable_event_is_named(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with SQLiteSubstrate(path) as substrate:
        substrate.create("r1").append([event(n) for n in range(3)])
    connection = sqlite3.connect(path)
    connection.execute("UPDATE events SET body = x'7b22' WHERE address & 3 = 1")
    connection.commit()
    connection.close()

    with SQLiteSubstrate(path) as substrate, pytest.raises(StoreDamaged, match="position 1"):
        list(substrate.open("r1").read_all())


def test_a_missing_event_is_reported_as_damage(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with SQLiteSubstrate(path) as substrate:
        substrate.create("r1").append([event(n) for n in range(3)])
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM events WHERE address & 3 = 1")
    connection.commit()
    connection.close()

    with SQLiteSubstrate(path) as substrate, pytest.raises(StoreDamaged, match="lacks 1"):
        list(substrate.open("r1").read_all())


def test_a_response_to_be_cached_soon_is_stored_with_the_next_change_or_by_close(
    tmp_path: Path,
) -> None:
    path, query = tmp_path / "store", "SELECT key FROM cache ORDER BY key"
    with SQLiteSubstrate(path) as substrate:
        ledger = substrate.create("r1")
        substrate.cache_soon("r1", "a", b"1")
        assert rows(path, query) == []
        ledger.append([event(0)])
        assert rows(path, query) == [("a",)]
        substrate.cache_soon("r1", "b", b"2")
        with pytest.raises(LedgerNotFound):
            substrate.cache("r2", "c", b"3")
        # A transaction that fails does not store it.
        assert substrate.cached("r1", "b") == b"2"
    assert rows(path, query) == [("a",), ("b",)]


def test_an_entry_to_be_acknowledged_soon_is_stored_with_the_next_change_or_by_close(
    tmp_path: Path,
) -> None:
    path, query = tmp_path / "store", "SELECT key FROM inbox WHERE body IS NOT NULL ORDER BY key"
    with SQLiteSubstrate(path) as substrate:
        ledger = substrate.create("r1")
        for key in ("a", "b"):
            substrate.deliver("r1", InboxEntry(key, event(0)))
        substrate.acknowledge_soon("r1", "a")
        assert rows(path, query) == [("a",), ("b",)]
        ledger.append([event(0)])
        assert rows(path, query) == [("b",)]
        substrate.acknowledge_soon("r1", "b")
    assert rows(path, query) == []


def test_many_responses_to_be_cached_soon_do_not_wait(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with SQLiteSubstrate(path) as substrate:
        substrate.create("r1")
        for number in range(1_000):
            substrate.cache_soon("r1", f"k{number}", b"1")
        (count,) = rows(path, "SELECT count(*) FROM cache")[0]
        assert count > 900


@pytest.mark.parametrize("length", [500, 5_000])
def test_a_fork_writes_less_than_4_kib_however_long_its_parent_is(
    tmp_path: Path, length: int
) -> None:
    path = tmp_path / "store.db"
    files = (path, tmp_path / "store.db-wal")
    with SQLiteSubstrate(path) as substrate:
        substrate.create("parent").append([event(n) for n in range(length)])
    with SQLiteSubstrate(path) as substrate:
        before = sum(file.stat().st_size for file in files if file.exists())
        branch = fork(substrate, "parent", length // 2, "branch")

        added = sum(file.stat().st_size for file in files if file.exists()) - before
        assert 0 < added < 4096
        assert branch.length() == length // 2 + 1
