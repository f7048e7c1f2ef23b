"""Runs leave as files and come back as they were; what is not as it was leaves nothing behind."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from kando.app.context import App
from kando.app.export import FORMATS, export_run, import_run
from kando.app.reading import list_runs, run_status, verify_run
from kando.branch.fork import fork
from kando.errors import InvalidData, LedgerExists, PositionOutOfRange, StoreError
from kando.ledger.jsonl import lines_of
from kando.ledger.memory import MemoryLedgerStore
from kando.plugins import Plugins
from kando.runtime import Runtime
from kando.schema.events import OBJECT_CREATED, KandoEvent, make_event
from kando.testing.ledgers import full


@pytest.fixture
def open_app(tmp_path: Path) -> Iterator[Callable[[str], App]]:
    """Return ``open_app(name)``, which opens the SQLite store of that name."""
    from kando.app.builtin import installed_plugins

    opened: list[App] = []

    def open_app(name: str) -> App:
        plugins: Plugins = installed_plugins({"KANDO_PLUGINS": ""})
        opened.append(App(plugins, {}, f"sqlite:{tmp_path / name}"))
        return opened[-1]

    yield open_app
    for app in opened:
        app.close()


def thing(id: str, **data: object) -> KandoEvent:
    return make_event(OBJECT_CREATED, "", "cli", [], {"id": id, "type": "T", "data": data})


@pytest.fixture
def here(open_app: Callable[[str], App]) -> App:
    """Return a store with a run ``r1``, its branch ``b1`` and a branch ``b2`` of that."""
    app = open_app("here")
    substrate = app.substrate(read_only=False)
    Runtime(substrate.create("r1"), [], edge_logic=()).run([thing("a", n=1), thing("b")])
    Runtime(fork(substrate, "r1", 1, "b1"), [], edge_logic=()).run([thing("c")])
    Runtime(fork(substrate, "b1", 2, "b2"), [], edge_logic=()).run([thing("d")])
    return app


def exported(app: App, run: str, folder: Path) -> list[bytes]:
    export_run(app, run, folder / "out", "jsonl")
    return (folder / "out").read_bytes().splitlines(keepends=True)


def content(app: App, run: str) -> list[Any]:
    return [full(event) for event in app.ledger(run).read_all()]


@pytest.mark.parametrize("run", ["r1", "b1", "b2"])
def test_a_run_or_branch_comes_back_with_every_field_and_its_hash(
    here: App, open_app: Callable[[str], App], tmp_path: Path, run: str
) -> None:
    there = open_app("there")

    result = import_run(there, exported(here, run, tmp_path))

    assert content(there, run) == content(here, run)
    verdict = verify_run(there, run)
    assert verdict.is_intact
    assert verdict.digest == result.digest == verify_run(here, run).digest
    assert run_status(there, run).objects == run_status(here, run).objects
    assert result.missing_parent_id == {"r1": None, "b1": "r1", "b2": "b1"}[run]


def test_branches_whose_parents_are_there_become_branches_again(
    here: App, open_app: Callable[[str], App], tmp_path: Path
) -> None:
    there = open_app("there")

    for run in ("r1", "b1", "b2"):
        result = import_run(there, exported(here, run, tmp_path))
        assert result.missing_parent_id is None

    infos = [app.substrate().info("b2") for app in (here, there)]
    assert infos[0].parent_id == infos[1].parent_id == "b1"
    assert infos[0].fork_position == infos[1].fork_position
    for run in ("r1", "b1", "b2"):
        assert content(there, run) == content(here, run)
        assert verify_run(there, run).is_intact


def test_a_parent_with_another_history_is_not_taken_for_the_parent(
    here: App, open_app: Callable[[str], App], tmp_path: Path
) -> None:
    there = open_app("there")
    there.substrate(read_only=False).create("r1").append([thing("other"), thing("more")])

    result = import_run(there, exported(here, "b1", tmp_path))

    assert result.missing_parent_id == "r1"
    assert content(there, "b1") == content(here, "b1")


def test_what_was_imported_goes_on(
    here: App, open_app: Callable[[str], App], tmp_path: Path
) -> None:
    there = open_app("there")
    import_run(there, exported(here, "b1", tmp_path))
    ledger = there.ledger("b1", read_only=False)

    Runtime(ledger, [], edge_logic=()).run([thing("later")])

    assert verify_run(there, "b1").is_intact
    assert run_status(there, "b1").objects == {"T": 3}


def test_an_id_that_is_taken_is_refused_and_the_run_left_as_it_is(
    here: App, tmp_path: Path
) -> None:
    before = content(here, "r1")

    with pytest.raises(LedgerExists, match="'r1' already"):
        import_run(here, exported(here, "r1@1", tmp_path))

    assert content(here, "r1") == before


def test_a_file_that_was_tampered_with_leaves_nothing_not_even_a_store(
    here: App, open_app: Callable[[str], App], tmp_path: Path
) -> None:
    lines = exported(here, "r1", tmp_path)

    for bad in (lines[:-1], [lines[0], lines[1].replace(b'"n":1', b'"n":2'), *lines[2:]]):
        with pytest.raises(InvalidData, match=r"^Line 2 "):
            import_run(open_app("there"), bad)

    assert not (tmp_path / "there").exists()


def test_an_import_that_was_killed_half_way_is_completed_by_the_next(
    here: App, open_app: Callable[[str], App], tmp_path: Path
) -> None:
    there = open_app("there")
    there.substrate(read_only=False).create("r1")

    import_run(there, exported(here, "r1", tmp_path))

    assert content(there, "r1") == content(here, "r1")


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (make_event("object.patched", "", "x", [], {"id": "ghost", "patch": {}}), "ghost"),
        (make_event("note", "", "x", ["ghost"], {}), "'ghost' is not there"),
        (make_event("responder.failed", "", "x", [], {}), "not those of a run"),
        (make_event("budget.exhausted", "", "x", [], {}), "not those of a run"),
        (make_event("kit.loaded", "", "x", [], {}), "not those of a run"),
        (make_event("kit.loaded", "", "x", [], {"name": [], "version": ""}), "not those of a run"),
        (make_event("responder.fired", "", "x", [], {}), "not those of a run"),
        (
            make_event("responder.fired", "", "x", [], {"trigger": "x-1", "responder": "r"}),
            "'x-1', which is not there",
        ),
    ],
)
def test_a_chain_that_fits_over_events_that_no_run_records_is_refused(
    open_app: Callable[[str], App], tmp_path: Path, event: KandoEvent, says: str
) -> None:
    forged = MemoryLedgerStore("r1")
    forged.append([thing("a"), event])

    with pytest.raises(InvalidData, match=says):
        import_run(open_app("there"), lines_of(forged, 2))

    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize("name", ["run:demo", "run:../x", "other:r1", "r1", "run:"])
def test_a_ledger_of_an_odd_name_is_refused(
    here: App, open_app: Callable[[str], App], tmp_path: Path, name: str
) -> None:
    head, *rest = exported(here, "r1", tmp_path)
    head = head.replace(b'"run:r1"', json.dumps(name).encode())

    with pytest.raises(ValueError, match=r"cannot be imported|not a run id"):
        import_run(open_app("there"), [head, *rest])

    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_is_written_as_a_whole_or_not_at_all(
    here: App, tmp_path: Path, form: str
) -> None:
    target = tmp_path / "out"
    target.write_text("before")

    with pytest.raises(PositionOutOfRange):
        export_run(here, "r1@9", target, form)
    assert target.read_text() == "before"
    result = export_run(here, "r1@1", target, form)

    assert (result.events, result.digest) == (1, here.ledger("r1").digest(1).hex())
    assert target.read_text() != "before"
    assert {path.name for path in tmp_path.iterdir()} <= {"here", "here-wal", "here-shm", "out"}
    with pytest.raises(StoreError, match="cannot be written"):
        export_run(here, "r1", tmp_path / "no" / "folder", form)


def test_each_format_tells_of_the_run(here: App, tmp_path: Path) -> None:
    for form in FORMATS:
        export_run(here, "b2", tmp_path / form, form)

    events = [json.loads(line) for line in (tmp_path / "cloudevents").read_text().splitlines()]
    ids = [event.id for event in here.ledger("b2").read_all()]
    assert [event["id"] for event in events] == ids
    assert events[-1]["kandohash"] == verify_run(here, "b2").digest
    assert {event["kandoledger"] for event in events} == {"branch:b2"}
    assert (tmp_path / "dot").read_text().startswith('digraph "branch:b2" {\n')
    assert (tmp_path / "mermaid").read_text().startswith("flowchart LR\n")
    picture = ElementTree.parse(tmp_path / "svg")
    metadata = json.loads(picture.findtext("{http://www.w3.org/2000/svg}metadata") or "")
    assert metadata["digest"] == verify_run(here, "b2").digest


def test_the_list_of_runs_shows_what_was_imported(
    here: App, open_app: Callable[[str], App], tmp_path: Path
) -> None:
    there = open_app("there")
    import_run(there, exported(here, "r1", tmp_path))

    ((info, status),) = list_runs(there, 10)[0]
    assert (info.id, status.events) == ("r1", 2)
