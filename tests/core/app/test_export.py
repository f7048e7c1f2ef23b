"""Runs are exported and imported unchanged; a malformed file is refused and writes nothing."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from kando.app.export import FORMATS
from kando.app.store import Store, open_store
from kando.branch.fork import fork
from kando.errors import InvalidData, LedgerExists, PositionOutOfRange, StoreError
from kando.ledger.jsonl import lines_of
from kando.ledger.memory import MemoryLedgerStore
from kando.plugins import Plugins
from kando.runtime import Runtime
from kando.schema.events import OBJECT_CREATED, KandoEvent, make_event
from kando.testing.ledgers import all_fields


@pytest.fixture
def make_store(tmp_path: Path) -> Iterator[Callable[[str], Store]]:
    """Return ``make_store(name)``, which opens the SQLite store of that name."""
    from kando.app.builtin import installed_plugins

    opened: list[Store] = []

    def make_store(name: str) -> Store:
        plugins: Plugins = installed_plugins({"KANDO_PLUGINS": ""})
        opened.append(open_store(f"sqlite:{tmp_path / name}", plugins=plugins, environ={}))
        return opened[-1]

    yield make_store
    for store in opened:
        store.close()


def thing(id: str, **data: object) -> KandoEvent:
    return make_event(OBJECT_CREATED, "", "cli", [], {"id": id, "type": "T", "data": data})


@pytest.fixture
def here(make_store: Callable[[str], Store]) -> Store:
    """Return a store with a run ``r1``, its branch ``b1`` and a branch ``b2`` of that."""
    store = make_store("here")
    substrate = store.context.substrate(read_only=False)
    Runtime(substrate.create("r1"), [], edge_logic=()).run([thing("a", n=1), thing("b")])
    Runtime(fork(substrate, "r1", 1, "b1"), [], edge_logic=()).run([thing("c")])
    Runtime(fork(substrate, "b1", 2, "b2"), [], edge_logic=()).run([thing("d")])
    return store


def exported(store: Store, run: str, folder: Path) -> list[bytes]:
    named, at = store.run_at(run)
    named.export(folder / "out", at=at)
    return (folder / "out").read_bytes().splitlines(keepends=True)


def content(store: Store, run: str) -> list[Any]:
    return [all_fields(event) for event in store.context.ledger(run).read_all()]


@pytest.mark.parametrize("run", ["r1", "b1", "b2"])
def test_a_run_or_branch_is_restored_with_every_field_and_its_hash(
    here: Store, make_store: Callable[[str], Store], tmp_path: Path, run: str
) -> None:
    there = make_store("there")

    result = there.import_run(exported(here, run, tmp_path))

    assert content(there, run) == content(here, run)
    verdict = there.run(run).verify()
    assert verdict.is_intact
    assert verdict.digest == result.digest == here.run(run).verify().digest
    assert there.run(run).status().objects == here.run(run).status().objects
    assert result.missing_parent_id == {"r1": None, "b1": "r1", "b2": "b1"}[run]


def test_branches_whose_parents_exist_become_branches_again(
    here: Store, make_store: Callable[[str], Store], tmp_path: Path
) -> None:
    there = make_store("there")

    for run in ("r1", "b1", "b2"):
        result = there.import_run(exported(here, run, tmp_path))
        assert result.missing_parent_id is None

    infos = [store.context.substrate().info("b2") for store in (here, there)]
    assert infos[0].parent_id == infos[1].parent_id == "b1"
    assert infos[0].fork_position == infos[1].fork_position
    for run in ("r1", "b1", "b2"):
        assert content(there, run) == content(here, run)
        assert there.run(run).verify().is_intact


def test_a_run_with_the_parents_id_and_another_history_is_not_the_parent(
    here: Store, make_store: Callable[[str], Store], tmp_path: Path
) -> None:
    there = make_store("there")
    there.context.substrate(read_only=False).create("r1").append([thing("other"), thing("more")])

    result = there.import_run(exported(here, "b1", tmp_path))

    assert result.missing_parent_id == "r1"
    assert content(there, "b1") == content(here, "b1")


def test_an_imported_run_can_be_resumed(
    here: Store, make_store: Callable[[str], Store], tmp_path: Path
) -> None:
    there = make_store("there")
    there.import_run(exported(here, "b1", tmp_path))
    ledger = there.context.ledger("b1", read_only=False)

    Runtime(ledger, [], edge_logic=()).run([thing("later")])

    assert there.run("b1").verify().is_intact
    assert there.run("b1").status().objects == {"T": 3}


def test_an_existing_id_is_refused_and_its_run_stays_unchanged(here: Store, tmp_path: Path) -> None:
    before = content(here, "r1")

    with pytest.raises(LedgerExists, match="'r1' already"):
        here.import_run(exported(here, "r1@1", tmp_path))

    assert content(here, "r1") == before


def test_a_file_that_was_tampered_with_creates_nothing_not_even_a_store(
    here: Store, make_store: Callable[[str], Store], tmp_path: Path
) -> None:
    lines = exported(here, "r1", tmp_path)

    for bad in (lines[:-1], [lines[0], lines[1].replace(b'"n":1', b'"n":2'), *lines[2:]]):
        with pytest.raises(InvalidData, match=r"^Line 2 "):
            make_store("there").import_run(bad)

    assert not (tmp_path / "there").exists()


def test_an_import_that_was_killed_is_completed_by_the_next_one(
    here: Store, make_store: Callable[[str], Store], tmp_path: Path
) -> None:
    there = make_store("there")
    there.context.substrate(read_only=False).create("r1")

    there.import_run(exported(here, "r1", tmp_path))

    assert content(there, "r1") == content(here, "r1")


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (make_event("object.patched", "", "x", [], {"id": "ghost", "patch": {}}), "ghost"),
        (make_event("note", "", "x", ["ghost"], {}), "'ghost' does not exist"),
        (make_event("responder.failed", "", "x", [], {}), "does not contain the events of a run"),
        (make_event("kit.loaded", "", "x", [], {}), "does not contain the events of a run"),
        (
            make_event("kit.loaded", "", "x", [], {"name": [], "version": ""}),
            "does not contain the events of a run",
        ),
        (make_event("responder.fired", "", "x", [], {}), "does not contain the events of a run"),
        (
            make_event("responder.fired", "", "x", [], {"trigger": "x-1", "responder": "r"}),
            "'x-1', which does not exist",
        ),
    ],
)
def test_events_that_no_run_records_are_refused_despite_a_valid_chain(
    make_store: Callable[[str], Store], tmp_path: Path, event: KandoEvent, says: str
) -> None:
    forged = MemoryLedgerStore("r1")
    forged.append([thing("a"), event])

    with pytest.raises(InvalidData, match=says):
        make_store("there").import_run(lines_of(forged, 2))

    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize("name", ["run:demo", "run:../x", "other:r1", "r1", "run:"])
def test_a_ledger_with_an_invalid_name_is_refused(
    here: Store, make_store: Callable[[str], Store], tmp_path: Path, name: str
) -> None:
    head, *rest = exported(here, "r1", tmp_path)
    head = head.replace(b'"run:r1"', json.dumps(name).encode())

    with pytest.raises(ValueError, match=r"cannot be imported|not a valid run id"):
        make_store("there").import_run([head, *rest])

    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_is_written_as_a_whole_or_not_at_all(
    here: Store, tmp_path: Path, form: str
) -> None:
    target = tmp_path / "out"
    target.write_text("before")

    with pytest.raises(PositionOutOfRange):
        here.run("r1").export(target, format=form, at=9)
    assert target.read_text() == "before"
    result = here.run("r1").export(target, format=form, at=1)

    assert (result.events, result.digest) == (1, here.context.ledger("r1").digest(1).hex())
    assert target.read_text() != "before"
    assert {path.name for path in tmp_path.iterdir()} <= {"here", "here-wal", "here-shm", "out"}
    with pytest.raises(StoreError, match="cannot be written"):
        here.run("r1").export(tmp_path / "no" / "folder", format=form)


def test_each_format_contains_the_run(here: Store, tmp_path: Path) -> None:
    for form in FORMATS:
        here.run("b2").export(tmp_path / form, format=form)

    events = [json.loads(line) for line in (tmp_path / "cloudevents").read_text().splitlines()]
    ids = [event.id for event in here.context.ledger("b2").read_all()]
    assert [event["id"] for event in events] == ids
    assert events[-1]["kandohash"] == here.run("b2").verify().digest
    assert {event["kandoledger"] for event in events} == {"branch:b2"}
    assert (tmp_path / "dot").read_text().startswith('digraph "branch:b2" {\n')
    assert (tmp_path / "mermaid").read_text().startswith("flowchart LR\n")
    picture = ElementTree.parse(tmp_path / "svg")
    metadata = json.loads(picture.findtext("{http://www.w3.org/2000/svg}metadata") or "")
    assert metadata["digest"] == here.run("b2").verify().digest


def test_the_list_of_runs_contains_imported_runs(
    here: Store, make_store: Callable[[str], Store], tmp_path: Path
) -> None:
    there = make_store("there")
    there.import_run(exported(here, "r1", tmp_path))

    page = there.runs(limit=10)
    ((info, status),) = zip(page.infos, page, strict=True)
    assert (info.id, status.events) == ("r1", 2)
