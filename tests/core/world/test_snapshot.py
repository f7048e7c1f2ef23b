"""Snapshots are an optimisation: whenever one disagrees with its ledger, the ledger wins."""

from pathlib import Path

import pytest

from kando.ledger.memory import MemoryLedgerStore
from kando.schema.events import OBJECT_CREATED, KandoEvent, make_event
from kando.world.projection import apply, reproject
from kando.world.snapshot import load_snapshot, save_snapshot


def thing(id: str) -> KandoEvent:
    return make_event(
        OBJECT_CREATED, "", "cli", [], {"id": id, "type": "T", "data": {"é": [1, 2.5]}}
    )


def ledger_of(*ids: str) -> MemoryLedgerStore:
    ledger = MemoryLedgerStore("r")
    ledger.append([thing(id) for id in ids])
    return ledger


def test_a_snapshot_and_the_tail_after_it_are_the_world(tmp_path: Path) -> None:
    ledger = ledger_of("a", "b")
    save_snapshot(reproject(ledger), ledger, tmp_path)
    ledger.append([thing("c")])

    loaded = load_snapshot(ledger, tmp_path)

    assert loaded is not None
    assert loaded.position == 2
    for event in ledger.read(loaded.position):
        apply(loaded.world, event)
    assert loaded.world == reproject(ledger)


def test_a_newer_snapshot_replaces_the_older_and_leaves_no_litter(tmp_path: Path) -> None:
    ledger = ledger_of("a")
    first = save_snapshot(reproject(ledger), ledger, tmp_path)
    ledger.append([thing("b")])
    save_snapshot(reproject(ledger), ledger, tmp_path)

    assert list(tmp_path.iterdir()) == [first]
    assert load_snapshot(ledger, tmp_path).position == 2


def test_without_a_snapshot_there_is_none(tmp_path: Path) -> None:
    assert load_snapshot(ledger_of("a"), tmp_path / "missing") is None


@pytest.mark.parametrize("damage", ["foreign history", "shorter ledger", "half a file", "no json"])
def test_a_snapshot_that_does_not_fit_its_ledger_is_ignored_with_a_warning(
    tmp_path: Path, damage: str
) -> None:
    ledger = ledger_of("a", "b")
    path = save_snapshot(reproject(ledger), ledger, tmp_path)
    if damage == "foreign history":
        ledger = ledger_of("a", "x")
    elif damage == "shorter ledger":
        ledger = ledger_of("a")
    elif damage == "half a file":
        path.write_bytes(path.read_bytes()[:40])
    else:
        path.write_bytes(b"[1, 2]")

    with pytest.warns(UserWarning, match="is ignored"):
        assert load_snapshot(ledger, tmp_path) is None
