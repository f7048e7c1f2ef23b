"""Opening a SQLite file: a store is opened, any other file refused, and reading changes nothing."""

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kando.errors import KandoError, StoreDamaged, StoreError
from kando.ledger import _sqlite_file
from kando.ledger.chain import digest_of
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.schema.events import RecordedEvent
from kando.testing.ledgers import event


def filled(path: Path, events: int = 3) -> Path:
    with SQLiteSubstrate(path) as substrate:
        substrate.create("r1").append([event(n) for n in range(events)])
    return path


def files_in(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def length(substrate: SQLiteSubstrate) -> int:
    return substrate.open("r1").length()


def test_reading_a_file_that_no_process_has_open_leaves_its_folder_unchanged(
    tmp_path: Path,
) -> None:
    path = filled(tmp_path / "store")
    before = files_in(tmp_path)

    with SQLiteSubstrate(path, read_only=True) as reader:
        assert length(reader) == len(list(reader.open("r1").read_all())) == 3
        assert files_in(tmp_path) == before

    assert files_in(tmp_path) == before


def test_a_reader_follows_writers_that_come_and_go(tmp_path: Path) -> None:
    path = filled(tmp_path / "store")

    with SQLiteSubstrate(path, read_only=True) as reader:
        ledger = reader.open("r1")
        lengths = [ledger.length()]
        for _ in range(3):
            with SQLiteSubstrate(path) as writer:
                writer.open("r1").append([event(0)])
                lengths.append(ledger.length())
                writer.open("r1").append([event(0)])
            lengths.append(ledger.length())

        assert lengths == [3, 4, 5, 6, 7, 8, 9]
        assert len(list(ledger.read_all())) == 9


def test_a_query_overtaken_by_a_writer_reads_one_consistent_state(tmp_path: Path) -> None:
    path = filled(tmp_path / "store", 2500)

    with SQLiteSubstrate(path, read_only=True) as reader:
        events = reader.open("r1").read_all()
        seen = [next(events).data["n"]]
        with SQLiteSubstrate(path) as writer:
            writer.open("r1").append([event(n) for n in range(5000)])
        seen += [e.data["n"] for e in events]

    assert seen == list(range(2500))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to every folder")
def test_a_file_in_a_read_only_folder_can_be_read(tmp_path: Path) -> None:
    path = filled(tmp_path / "store")
    path.chmod(0o400)
    tmp_path.chmod(0o500)
    try:
        with SQLiteSubstrate(path, read_only=True) as reader:
            assert length(reader) == 3
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("statement", ["SELECT 1", "PRAGMA application_id = 7"])
def test_opening_a_database_of_another_application_creates_no_files(
    tmp_path: Path, read_only: bool, statement: str
) -> None:
    path = tmp_path / "theirs"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE theirs (a)")
    connection.execute(statement)
    connection.close()
    before = files_in(tmp_path)

    with pytest.raises(StoreError, match="is not a Kando store"):
        SQLiteSubstrate(path, read_only=read_only)

    assert files_in(tmp_path) == before


def test_an_empty_file_becomes_a_store_only_if_it_is_opened_to_write(tmp_path: Path) -> None:
    path = tmp_path / "store"
    path.touch()
    # No process is creating it any more.
    os.utime(path, (0, 0))

    with pytest.raises(StoreError, match="empty"):
        SQLiteSubstrate(path, read_only=True)
    assert files_in(tmp_path) == {"store": b""}

    with SQLiteSubstrate(filled(path), read_only=True) as reader:
        assert length(reader) == 3


def test_a_reader_waits_for_the_process_that_creates_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sqlite_file, "_CREATION_SECONDS", 60)
    path = tmp_path / "store"
    path.touch()
    opened: list[bool] = []

    def read() -> None:
        with SQLiteSubstrate(path, read_only=True):
            opened.append(True)

    reads = threading.Thread(target=read)
    reads.start()
    filled(path)
    reads.join(60)

    assert opened == [True]


def test_an_interrupted_creation_of_a_store_is_completed(tmp_path: Path) -> None:
    path = tmp_path / "store"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    assert path.stat().st_size > 0

    with SQLiteSubstrate(filled(path), read_only=True) as reader:
        assert length(reader) == 3


def test_several_processes_may_create_the_same_store_at_once(tmp_path: Path) -> None:
    code = """
import sys
from kando.ledger.sqlite_substrate import SQLiteSubstrate
print(flush=True)
sys.stdin.readline()
with SQLiteSubstrate(sys.argv[1]) as substrate:
    substrate.create(sys.argv[2])
"""
    path = tmp_path / "store"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path), f"r{n}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(6)
    ]
    for child in children:
        assert child.stdout is not None
        child.stdout.readline()
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    errors = [child.communicate()[1] for child in children]

    assert errors == [""] * 6
    with SQLiteSubstrate(path, read_only=True) as substrate:
        assert {info.id for info in substrate.ledgers()} == {f"r{n}" for n in range(6)}


@pytest.mark.parametrize("name", ["a?b#c%20 d", "কাণ্ড", "a'b\"c", "file:x"])
def test_a_path_may_contain_characters_that_a_uri_may_not(tmp_path: Path, name: str) -> None:
    filled(tmp_path / name)

    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_path_may_begin_with_two_slashes_or_be_a_link(tmp_path: Path) -> None:
    filled(tmp_path / "store")
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link"
    link.symlink_to(tmp_path / "store")

    for path in (Path(f"/{tmp_path}/store"), link):
        with SQLiteSubstrate(path, read_only=True) as reader, SQLiteSubstrate(path) as writer:
            writer.open("r1").append([event(0)])
            after = length(reader)
    assert after == 5


@pytest.mark.parametrize("read_only", [True, False])
def test_a_path_that_is_not_a_regular_file_is_refused_at_once(
    tmp_path: Path, read_only: bool
) -> None:
    os.mkfifo(tmp_path / "pipe")

    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(StoreError, match="is not a Kando store"):
            SQLiteSubstrate(path, read_only=read_only)


def test_a_full_disk_is_reported_and_loses_nothing(tmp_path: Path) -> None:
    with SQLiteSubstrate(filled(tmp_path / "store")) as substrate:
        ledger = substrate.open("r1")
        pages = substrate._query(lambda c: c.execute("PRAGMA page_count").fetchone())[0]
        substrate._query(lambda c: c.execute(f"PRAGMA max_page_count = {pages}").fetchone())

        with pytest.raises(StoreError, match="disk is full"):
            ledger.append([event(n) for n in range(500)])

        assert [e.data["n"] for e in ledger.read_all()] == [0, 1, 2]
        substrate._query(lambda c: c.execute(f"PRAGMA max_page_count = {2**30}").fetchone())
        assert ledger.append([event(3)], expected_length=3) == 4


def test_a_locked_store_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kando.ledger._sqlite_connection.PATIENCE_SECONDS", 0.2)
    path = filled(tmp_path / "store")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with SQLiteSubstrate(path) as substrate:
        with pytest.raises(StoreError, match="locked by another process") as caught:
            substrate.open("r1").append([event(3)])

        assert str(path) in str(caught.value)
        assert length(substrate) == 3
        other.execute("ROLLBACK")
        assert substrate.open("r1").append([event(3)]) == 4
    other.close()


def test_damaged_text_is_reported_as_damage(tmp_path: Path) -> None:
    path = filled(tmp_path / "store")
    connection = sqlite3.connect(path)
    connection.execute("UPDATE events SET actor = CAST(x'ff41' AS TEXT)")
    connection.commit()
    connection.close()

    with SQLiteSubstrate(path) as substrate, pytest.raises(StoreDamaged):
        list(substrate.open("r1").read_all())


def test_a_ledger_that_is_its_own_parent_is_reported(tmp_path: Path) -> None:
    path = filled(tmp_path / "store")
    connection = sqlite3.connect(path)
    connection.execute("UPDATE ledgers SET parent = number")
    connection.commit()
    connection.close()

    with (
        SQLiteSubstrate(path, read_only=True) as substrate,
        pytest.raises(StoreDamaged, match="descends from itself"),
    ):
        length(substrate)


def outcome_of_reading(path: Path, undamaged: list[RecordedEvent]) -> str:
    try:
        with SQLiteSubstrate(path, read_only=True) as substrate:
            ledger = substrate.open("r1")
            read = list(ledger.read_all())
            list(substrate.ledgers())
            is_sound = digest_of(read, len(read)) == ledger.digest(len(read))
    except KandoError:
        return "an error"
    # Only the end of a ledger may be lost unseen by a chain that begins at its start.
    assert not is_sound or read == undamaged[: len(read)]
    return "harmless" if is_sound else "shown by the chain"


@pytest.mark.parametrize("flip", [0x01, 0x80])
def test_a_flipped_byte_is_an_error_or_breaks_the_hash_chain_or_is_harmless(
    tmp_path: Path, flip: int
) -> None:
    path = filled(tmp_path / "store", 20)
    sound = path.read_bytes()
    with SQLiteSubstrate(path, read_only=True) as substrate:
        events = list(substrate.open("r1").read_all())
    outcomes = set()
    for offset in range(0, len(sound), 29):
        damaged = tmp_path / f"damaged-{offset}"
        damaged.write_bytes(sound[:offset] + bytes([sound[offset] ^ flip]) + sound[offset + 1 :])
        outcomes.add(outcome_of_reading(damaged, events))
        damaged.unlink()

    assert outcomes == {"an error", "harmless", "shown by the chain"}
