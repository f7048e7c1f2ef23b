"""Every kind of tampering with a stored ledger is found, and its position reported."""

import sqlite3
from pathlib import Path

import attrs
import pytest

from kando.ledger.memory import MemoryLedgerStore
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.ledger.verification import verify
from kando.schema.exact_json import encode
from kando.testing.ledgers import conversation, event, with_parts

SWAP = """
UPDATE events SET body = CASE address & 7
    WHEN 2 THEN (SELECT body FROM events WHERE address & 7 = 3)
    ELSE (SELECT body FROM events WHERE address & 7 = 2) END
WHERE address & 7 IN (2, 3)
"""
COPY = """
INSERT INTO events SELECT address + 4, id, type, source, actor, cause, at_us, key, version, body,
hash, firing, trigger_key FROM events WHERE address & 7 = 2
"""


#: Exchanges two neighbours in every column, their hashes included.
REORDER = """
UPDATE events SET address = CASE address & 7 WHEN 2 THEN -1 ELSE -2 END WHERE address & 7 IN (2, 3);
UPDATE events SET address = (1 << 32) + 3 WHERE address = -1;
UPDATE events SET address = (1 << 32) + 2 WHERE address = -2
"""
#: Moves the events from 3 on one place back, and puts a copy of event 2 there.
INSERT = """
UPDATE events SET address = -address WHERE address & 7 >= 3;
UPDATE events SET address = 1 - address WHERE address < 0;
INSERT INTO events SELECT address + 1, 'again', type, source, actor, cause, at_us, key, version,
body, hash, firing, trigger_key FROM events WHERE address & 7 = 2;
UPDATE ledgers SET length = 7 WHERE id = 'r1'
"""
#: Moves the events from 3 on one place forward over event 2.
REMOVE = """
DELETE FROM events WHERE address & 7 = 2;
UPDATE events SET address = -address WHERE address & 7 >= 3;
UPDATE events SET address = -address - 1 WHERE address < 0;
UPDATE ledgers SET length = 5 WHERE id = 'r1'
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with SQLiteSubstrate(tmp_path / "store") as substrate:
        substrate.create("r1").append(
            [event(0), *(event(n, cause=[f"thing.happened-{n - 1}"]) for n in range(1, 6))]
        )
        substrate.fork("r1", 3, "b1").append([event(9)])
    return tmp_path / "store"


def verdict_on(path: Path, ledger: str = "r1"):
    with SQLiteSubstrate(path, read_only=True) as substrate:
        return verify(substrate.open(ledger))


@pytest.mark.parametrize(
    ("tampering", "problem"),
    [
        ("DELETE FROM blobs WHERE number = 5", "is missing"),
        ("UPDATE blobs SET body = x'7b7d' WHERE number = 5", "does not match its digest"),
        ("DROP TABLE blobs", "is missing"),
    ],
)
def test_a_missing_or_changed_blob_is_reported_with_position_and_digest(
    tmp_path: Path, tampering: str, problem: str
) -> None:
    path = tmp_path / "store"
    with SQLiteSubstrate(path) as substrate:
        substrate.create("r1").append([event(0), with_parts(conversation(9)), event(1)])
    with sqlite3.connect(path) as file:
        (digest,) = file.execute("SELECT hex(digest) FROM blobs WHERE number = 5").fetchone()
        file.execute(tampering)

    verdict = verdict_on(path)

    assert verdict.events == 1
    assert verdict.problem is not None
    assert verdict.problem.startswith("position 1: llm.request-1 is not whole: the blob ")
    assert verdict.problem.endswith(problem)
    assert "DROP" in tampering or digest.lower() in verdict.problem


def test_an_unchanged_ledger_is_intact_and_its_digest_identifies_its_history(path: Path) -> None:
    verdict = verdict_on(path)

    assert verdict.is_intact
    assert verdict.events == 6
    with SQLiteSubstrate(path, read_only=True) as substrate:
        assert verdict.digest == substrate.open("r1").digest(6).hex()


@pytest.mark.parametrize(
    ("tampering", "first"),
    [
        ("UPDATE events SET body = x'7b7d' WHERE address & 7 = 2", 2),
        ("UPDATE events SET type = 'other' WHERE address & 7 = 1", 1),
        ("UPDATE events SET actor = 'somebody' WHERE address & 7 = 5", 5),
        ("UPDATE events SET cause = NULL WHERE address & 7 = 4", 4),
        ("UPDATE events SET at_us = at_us + 1 WHERE address & 7 = 0", 0),
        ("UPDATE events SET key = zeroblob(16) WHERE address & 7 = 3", 3),
        ("UPDATE events SET id = 'mine' WHERE address & 7 = 3", 3),
        ("UPDATE events SET source = 'run:r2' WHERE address & 7 = 3", 3),
        ("UPDATE events SET hash = zeroblob(32) WHERE address & 7 = 2", 2),
        ("UPDATE events SET body = x'7b22' WHERE address & 7 = 2", 2),
        ("UPDATE events SET body = CAST(body || x'20' AS BLOB) WHERE address & 7 = 2", 2),
        ("UPDATE events SET version = 2 WHERE address & 7 = 4", 4),
        ("UPDATE events SET address = address + 9 WHERE address & 7 = 4", 4),
        ("UPDATE events SET hash = zeroblob(32) WHERE address & 7 = 5", 5),
        ("UPDATE events SET firing = 2 WHERE address & 7 = 4", 4),
        ("UPDATE events SET firing = -1 WHERE address & 7 = 4", 4),
        (REORDER, 2),
        (INSERT, 3),
        (REMOVE, 2),
        ("UPDATE ledgers SET length = 9 WHERE id = 'r1'", 6),
        ("UPDATE ledgers SET length = 0 WHERE id = 'r1'", 0),
        ("UPDATE ledgers SET id = 'r9' WHERE id = 'r1'", 0),
        (SWAP, 2),
        ("DELETE FROM events WHERE address & 7 = 2", 2),
        ("DELETE FROM events WHERE address & 7 = 5", 5),
        (COPY, 6),
        (COPY.replace("address + 4", "address + 40"), 6),
        ("UPDATE ledgers SET length = 5 WHERE id = 'r1'", 5),
    ],
)
def test_tampering_is_found_at_the_first_position_that_does_not_match(
    path: Path, tampering: str, first: int
) -> None:
    connection = sqlite3.connect(path)
    # The parent's rows only: the branch has the next number.
    scoped = tampering.replace("address & 7", "address < (2 << 32) AND address & 7")
    connection.executescript(scoped.replace("CASE address < (2 << 32) AND address", "CASE address"))
    connection.commit()
    connection.close()

    verdict = verdict_on(path, "r9" if "'r9'" in tampering else "r1")

    assert not verdict.is_intact
    assert verdict.events == first
    assert str(first) in verdict.problem


def test_tampering_with_any_column_of_an_event_is_found(path: Path) -> None:
    connection = sqlite3.connect(path)
    columns = {row[1] for row in connection.execute("PRAGMA table_info(events)")}
    connection.close()

    (parameters,) = [
        mark.args[1]
        for mark in test_tampering_is_found_at_the_first_position_that_does_not_match.pytestmark
    ]
    # This one belongs to firings; see test_firings.
    columns.remove("trigger_key")
    tampered = {column for column in columns for sql, _ in parameters if f"SET {column} =" in sql}
    assert tampered == columns


@pytest.mark.parametrize(
    ("tampering", "fitting"),
    [
        ("UPDATE ledgers SET fork_position = 2 WHERE id = 'b1'", 2),
        ("UPDATE ledgers SET fork_position = 4 WHERE id = 'b1'", 4),
        ("UPDATE ledgers SET parent = NULL, fork_position = 0 WHERE id = 'b1'", 0),
        ("UPDATE ledgers SET id = 'b9' WHERE id = 'b1'", 3),
        ("UPDATE events SET actor = 'x' WHERE address >= (2 << 32)", 3),
        ("DELETE FROM events WHERE address >= (2 << 32)", 3),
    ],
)
def test_tampering_with_the_fork_position_of_a_branch_is_found(
    path: Path, tampering: str, fitting: int
) -> None:
    connection = sqlite3.connect(path)
    connection.execute(tampering)
    connection.commit()
    connection.close()

    verdict = verdict_on(path, "b9" if "'b9'" in tampering else "b1")

    assert not verdict.is_intact
    assert verdict.events == fitting


def test_rewriting_the_whole_chain_is_found_by_comparing_a_noted_hash(path: Path) -> None:
    noted = verdict_on(path).digest
    with SQLiteSubstrate(path) as substrate:
        events = list(substrate.open("r1").read_all())
    data = {"n": 7}
    events[2] = attrs.evolve(events[2], data=data, encoded=encode(data))
    with SQLiteSubstrate(path.with_name("forged")) as substrate:
        substrate.create("r1").append([*events])

    forged = verdict_on(path.with_name("forged"))

    assert forged.is_intact
    assert forged.digest != noted


def test_tampering_with_a_shared_prefix_is_found_on_the_branch(path: Path) -> None:
    assert verdict_on(path, "b1").is_intact
    connection = sqlite3.connect(path)
    connection.execute("UPDATE events SET actor = 'x' WHERE address = (1 << 32) + 1")
    connection.commit()
    connection.close()

    assert verdict_on(path, "b1").events == verdict_on(path, "r1").events == 1


def test_a_ledger_in_memory_can_be_verified() -> None:
    ledger = MemoryLedgerStore("r1")
    ledger.append([event(n) for n in range(3)])

    assert verify(ledger).is_intact
