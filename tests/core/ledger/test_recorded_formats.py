"""Ledgers of earlier versions can be read, verified, replayed and continued."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from kando.emit import create
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.ledger.verification import verify
from kando.world.projection import reproject
from ledger_fixtures import notes_kit, runtime_on

RECORDED = sorted((Path(__file__).parents[2] / "fixtures" / "ledgers").glob("*.sqlite"))


def test_every_format_has_a_recorded_ledger() -> None:
    assert [path.stem for path in RECORDED] == ["format-1"]


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
        assert verify(substrate.open("run")).digest == (
            "950ed5f76049f71b14013885cd1d14464639dcf58131b8c6c5dfae145784cc60"
        )


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
