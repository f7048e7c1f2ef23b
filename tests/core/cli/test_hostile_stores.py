"""A store of a stranger is refused, or harmless: it runs nothing, never ends in a loop and writes no escapes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

DEEP = "[" * 100_000 + "]" * 100_000
ENDLESS = """
    CREATE VIEW events AS
    WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number)
    SELECT n AS address, NULL AS id, 'a' AS type, NULL AS source, 'a' AS actor, NULL AS cause,
        1 AS at_us, x'00' AS key, 0 AS version, x'7b7d' AS body, x'00' AS hash FROM number
"""

#: Statements that a stranger might have run on a store, by what they do.
CHANGES: dict[str, list[tuple[str, tuple[Any, ...]]]] = {
    "a branch is its own parent": [("UPDATE ledgers SET parent = number WHERE number = 2", ())],
    "two ledgers descend from each other": [
        ("UPDATE ledgers SET parent = 3 - number WHERE number < 3", ())
    ],
    "a parent is lost": [("UPDATE ledgers SET parent = 9 WHERE number = 2", ())],
    "an endless view takes the place of the events": [
        ("ALTER TABLE events RENAME TO others", ()),
        (ENDLESS, ()),
    ],
    "a trigger deletes events": [
        ("CREATE TRIGGER t AFTER INSERT ON events BEGIN DELETE FROM events; END", ())
    ],
    "data nests without end": [
        ("UPDATE events SET body = ?", (f'{{"a": {DEEP}}}'.encode(),)),
    ],
    "causes nest without end": [("UPDATE events SET cause = ?", (DEEP,))],
    "a message nests without end": [
        ("INSERT INTO inbox (ledger, key, body) VALUES (2, 'k', ?)", (DEEP.encode(),))
    ],
    "an id holds an escape sequence": [
        ("UPDATE ledgers SET id = ? WHERE number = 2", ("\x1b[2Jx\nfake",))
    ],
    "a type and an actor hold escape sequences": [
        ("UPDATE events SET type = ?, actor = ?", ("\x1b[31mx", "\x1b[0mx")),
    ],
    "the length is negative": [("UPDATE ledgers SET length = -5", ())],
    "the length is immense": [("UPDATE ledgers SET length = 1 << 60", ())],
    "a branch shares more than its parent has": [("UPDATE ledgers SET fork_position = 999", ())],
}

COMMANDS = [
    ("runs",),
    ("status", "@last"),
    ("events", "@last"),
    ("world", "@last"),
    ("verify", "@last"),
    ("resume", "@last"),
    ("fork", "@last", "--at", "2"),
]


@pytest.fixture
def damage(
    kando: Run, tiny: Path, environ: dict[str, str], monkeypatch: Any
) -> Callable[..., None]:
    """Return a function that changes a store of a run and its branch by SQL."""
    path = Path(environ["HOME"]) / "store.sqlite"
    monkeypatch.setenv("KANDO_LEDGER", f"sqlite:{path}")
    run_id = kando("run", "tiny", "--goal", "x").stdout.strip()
    assert kando("fork", run_id, "--at", "2").returncode == 0

    def change(statements: list[tuple[str, tuple[Any, ...]]]) -> None:
        connection = sqlite3.connect(path)
        for statement, parameters in statements:
            connection.execute(statement, parameters)
        connection.commit()
        connection.close()

    return change


@pytest.mark.parametrize("what", CHANGES)
def test_a_hostile_store_is_refused_or_harmless(
    what: str, damage: Callable[..., None], kando: Run
) -> None:
    damage(CHANGES[what])

    results = {command: kando(*command) for command in COMMANDS}

    for done in results.values():
        assert "\x1b" not in done.stdout + done.stderr
        assert "did not expect this error" not in done.stderr
        assert "out of range. Use 0 to -" not in done.stderr
    refusals = {done.returncode for done in results.values()} - {0}
    assert refusals
    assert refusals <= {1, 2, 3, 4, 6}
