"""Ledgers of earlier versions can be read, verified, replayed and continued."""

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from kando.branch.fork import fork
from kando.emit import create
from kando.errors import StoreError
from kando.ledger._sqlite_file import FORMAT
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.ledger.verification import verify
from kando.schema.firing import flattened
from kando.world.projection import reproject
from ledger_fixtures import notes_kit, runtime_on

RECORDED = sorted((Path(__file__).parents[2] / "fixtures" / "ledgers").glob("*.sqlite"))

#: Of the run in each of them, as its version of Kando computed it.
DIGESTS = {
    1: "950ed5f76049f71b14013885cd1d14464639dcf58131b8c6c5dfae145784cc60",
    2: "3a23e8ea9485060158a672437ef012a3dc22bb51088578805d77e78c85c74749",
}


def test_every_format_has_a_recorded_ledger() -> None:
    assert [path.stem for path in RECORDED] == [f"format-{n}" for n in range(1, FORMAT + 1)]


def store_format(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    finally:
        connection.close()
    return found


@pytest.fixture(params=RECORDED, ids=lambda path: path.stem)
def store(request: Any, tmp_path: Path) -> Path:
    return Path(shutil.copyfile(request.param, tmp_path / "store.sqlite"))


def test_a_recorded_ledger_is_intact_and_replays_strictly(store: Path) -> None:
    with SQLiteSubstrate(store, read_only=True) as substrate:
        assert [info.id for info in substrate.ledgers()] == ["nested", "branch", "run"]
        for info in substrate.ledgers():
            ledger = substrate.open(info.id)
            assert verify(ledger).is_intact
            world = runtime_on(ledger).replay(strict=True)
            assert world == reproject(ledger)
            texts = [note.data["text"] for note in world.objects_of("Note")]
            assert texts == ["0?0?", "1?1?"] * world.count_of("Topic")
            name = "branches" if info.id == "branch" else "ledgers"
            assert world.objects["topic"].data == {"name": name}
        assert verify(substrate.open("run")).digest == DIGESTS[store_format(store)]


def test_reading_a_recorded_ledger_does_not_change_it(store: Path) -> None:
    before = store.read_bytes()

    with SQLiteSubstrate(store, read_only=True) as substrate:
        for info in substrate.ledgers():
            ledger = substrate.open(info.id)
            events = list(ledger.read_all())
            assert flattened(ledger.read_firings()) == events
            assert [ledger.at(n) for n in range(len(events))] == events
            assert [ledger.find(event.id) for event in events] == events
            assert [link.id for link in ledger.links(0, 99)] == [event.id for event in events]

    assert store.read_bytes() == before


def test_opening_a_recorded_ledger_to_write_upgrades_it(store: Path) -> None:
    with SQLiteSubstrate(store, read_only=True) as reader:
        ledger = reader.open("run")
        before = list(ledger.read_all())
        with SQLiteSubstrate(store) as writer:
            runtime_on(writer.open("run")).run([create("Topic", {"name": "late"})])
            # A reader that was opened before sees what is written in the new format.
            after = list(ledger.read_all())
            assert after == list(writer.open("run").read_all())
            assert after[: len(before)] == before
            assert verify(ledger).is_intact

    assert store_format(store) == FORMAT


def test_a_failed_upgrade_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    store = Path(shutil.copyfile(RECORDED[0], tmp_path / "store.sqlite"))
    connection = sqlite3.connect(store)
    # The second of the two new columns already exists.
    connection.execute("ALTER TABLE events ADD COLUMN trigger_key BLOB")
    connection.close()

    with pytest.raises(StoreError):
        SQLiteSubstrate(store)

    assert store_format(store) == 1
    with SQLiteSubstrate(store, read_only=True) as substrate:
        assert verify(substrate.open("run")).is_intact


@pytest.mark.parametrize("id", ["run", "branch", "nested"])
def test_a_recorded_ledger_can_be_forked_anywhere(store: Path, id: str) -> None:
    with SQLiteSubstrate(store) as substrate:
        length = substrate.open(id).length()
        for position in range(0, length + 1, 3):
            branch = fork(substrate, id, position, f"{id}-{position}")
            world = runtime_on(branch).run([])

            assert world == reproject(branch)
            assert verify(branch).is_intact


def test_a_recorded_ledger_is_continued(store: Path) -> None:
    with SQLiteSubstrate(store) as substrate:
        for id in ("run", "branch", "nested"):
            ledger = substrate.open(id)
            before = ledger.length()

            world = runtime_on(ledger).run([create("Topic", {"name": "late"})])

            assert ledger.length() > before
            assert world == reproject(ledger) == runtime_on(ledger).replay(strict=True)
            assert verify(ledger).is_intact


def test_a_recorded_ledger_is_upcast_by_a_later_kit(store: Path) -> None:
    kit = notes_kit()

    @kit.upcaster("object.created", 1)
    def with_language(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "data": {**data["data"], "language": "en"}}

    with SQLiteSubstrate(store) as substrate:
        ledger = substrate.open("nested")
        world = runtime_on(ledger, kit).load()

        assert {o.data["language"] for o in world.objects.values()} == {"en"}
        assert verify(ledger).is_intact
        assert {event.version for event in ledger.read_all()} == {1}
