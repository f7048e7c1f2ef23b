"""Snapshots are an optimisation: if one disagrees with its ledger, the ledger wins."""

import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import attrs
import pytest

from kando.cache.llm import LLMCache
from kando.emit import create
from kando.errors import InvalidData
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.base import responder
from kando.runtime import Runtime
from kando.schema.events import OBJECT_CREATED, KandoEvent, RecordedEvent, make_event
from kando.world.graph import World, WorldObject
from kando.world.projection import apply, reproject
from kando.world.snapshot import FileSnapshots, load_snapshot, open_snapshot, save_snapshot


def thing(id: str) -> KandoEvent:
    return make_event(
        OBJECT_CREATED, "", "cli", [], {"id": id, "type": "T", "data": {"é": [1, 2.5]}}
    )


def ledger_of(*ids: str) -> MemoryLedgerStore:
    ledger = MemoryLedgerStore("r")
    ledger.append([thing(id) for id in ids])
    return ledger


def test_a_snapshot_and_the_events_after_it_give_the_world(tmp_path: Path) -> None:
    ledger = ledger_of("a", "b")
    save_snapshot(reproject(ledger), ledger, tmp_path)
    ledger.append([thing("c")])

    loaded = load_snapshot(ledger, tmp_path)

    assert loaded is not None
    assert loaded.position == 2
    for event in ledger.read(loaded.position):
        apply(loaded.world, event)
    assert loaded.world == reproject(ledger)


def test_a_newer_snapshot_replaces_the_older_and_leaves_no_temporary_files(tmp_path: Path) -> None:
    ledger = ledger_of("a")
    save_snapshot(reproject(ledger), ledger, tmp_path)
    ledger.append([thing("b")])
    save_snapshot(reproject(ledger), ledger, tmp_path)

    assert list(tmp_path.iterdir()) == [FileSnapshots(tmp_path, ledger).path]
    assert load_snapshot(ledger, tmp_path).position == 2


def test_loading_a_missing_snapshot_returns_none(tmp_path: Path) -> None:
    assert load_snapshot(ledger_of("a"), tmp_path / "missing") is None


@pytest.mark.parametrize(
    "damage",
    ["foreign history", "shorter ledger", "half a file", "another form", "header", "world"],
)
def test_a_snapshot_that_does_not_match_its_ledger_is_ignored_with_a_warning(
    tmp_path: Path, damage: str
) -> None:
    ledger = ledger_of("a", "b")
    save_snapshot(reproject(ledger), ledger, tmp_path)
    path = FileSnapshots(tmp_path, ledger).path
    if damage == "foreign history":
        ledger = ledger_of("a", "x")
    elif damage == "shorter ledger":
        ledger = ledger_of("a")
    elif damage == "half a file":
        path.write_bytes(path.read_bytes()[:-9])
    elif damage == "another form":
        path.write_bytes(b'{"format": 1}')
    else:
        body = bytearray(path.read_bytes())
        at = body.index(b'"position"') + 11 if damage == "header" else len(body) - 9
        body[at] ^= 1
        path.write_bytes(body)

    with pytest.warns(UserWarning, match="is ignored"):
        assert load_snapshot(ledger, tmp_path) is None


def test_a_view_is_decoded_on_demand_and_its_damage_affects_no_other_view(tmp_path: Path) -> None:
    ledger = ledger_of("a", "b")
    views = {"one": b"1" * 99, "two": b"2" * 99}
    save_snapshot(reproject(ledger), ledger, tmp_path, views=views)
    stored = open_snapshot(ledger, tmp_path)
    assert stored is not None
    assert [stored.view(name, bytes) for name in ("one", "two", "three")] == [*views.values(), None]
    path = FileSnapshots(tmp_path, ledger).path
    body = path.read_bytes()
    path.write_bytes(
        body.replace(zlib.compress(views["one"], 1), bytes(len(zlib.compress(views["one"], 1))))
    )
    assert path.read_bytes() != body

    stored = open_snapshot(ledger, tmp_path)

    assert stored is not None
    assert stored.view("two", bytes) == views["two"]
    assert stored.world() == reproject(ledger)
    with pytest.warns(UserWarning, match="is ignored: its one is damaged"):
        assert stored.view("one", bytes) is None


KIT = {"name": "k", "version": "1", "distribution": "kando-kit-k"}


def test_a_run_is_known_to_be_idle_for_one_length_of_its_ledger_and_one_kit_version(
    tmp_path: Path,
) -> None:
    ledger = ledger_of("a", "b")
    save_snapshot(reproject(ledger), ledger, tmp_path, resting_kit=KIT)

    stored = open_snapshot(ledger, tmp_path)

    assert stored is not None
    assert stored.is_at_rest({**KIT, "demo": True})
    for change in ({"name": "j"}, {"version": "2"}, {"distribution": None}):
        assert not stored.is_at_rest({**KIT, **change})
    ledger.append([thing("c")])
    assert not stored.is_at_rest(KIT)
    FileSnapshots(tmp_path, ledger).put(stored.resting(KIT))
    stored = open_snapshot(ledger, tmp_path)
    assert stored is not None
    assert (stored.position, stored.is_at_rest(KIT)) == (2, True)
    assert stored.world() == reproject(ledger_of("a", "b"))
    other = MemoryLedgerStore("r")
    other.append([*islice(ledger.read(0), 2), thing("x")])
    stored = open_snapshot(other, tmp_path)
    assert stored is not None
    assert not stored.is_at_rest(KIT)


class Kept:
    """A store that counts what it is given."""

    def __init__(self, body: bytes | None = None, *, least: int = 1) -> None:
        self.body = body
        self.least = least
        self.puts = 0

    def get(self) -> bytes | None:
        return self.body

    def put(self, body: bytes) -> None:
        self.body = body
        self.puts += 1


def runtime_on(ledger: MemoryLedgerStore, kept: Kept, interval: int = 5000) -> Runtime:
    options = {"snapshots": kept, "snapshot_interval": interval}
    return Runtime(ledger, [chain], edge_logic=(), save_interval=0, **options)


@responder("chain", {OBJECT_CREATED})
def chain(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
    n = event.data["data"]["n"]
    if n:
        yield create("T", {"n": n - 1})


def test_a_run_stores_snapshots_while_it_grows_and_at_its_end() -> None:
    ledger, kept, at_the_end = MemoryLedgerStore("r"), Kept(), Kept()

    world = runtime_on(ledger, kept, 30).run([create("T", {"n": 99})])
    runtime_on(MemoryLedgerStore("r"), at_the_end).run([create("T", {"n": 99})])

    # It has 298 events, and each time the ledger has grown by 30 and by half.
    assert 4 <= kept.puts <= 8
    assert at_the_end.puts == 1
    found = load_snapshot(ledger, kept)
    assert found is not None
    assert (found.world, found.position) == (world, 298)


def test_no_snapshot_is_stored_where_it_saves_too_little() -> None:
    ledger, kept = MemoryLedgerStore("r"), Kept(least=50)

    runtime_on(ledger, kept).run([create("T", {"n": 9})])
    assert kept.puts == 0
    runtime_on(ledger, kept).run([create("T", {"n": 20})])
    assert kept.puts == 1
    runtime_on(ledger, kept).run([create("T", {"n": 1})])
    assert kept.puts == 1


def test_a_runtime_loads_from_the_snapshot_and_reads_only_the_events_after_it() -> None:
    class Watched(MemoryLedgerStore):
        starts: tuple[int, ...] = ()

        def read(self, from_position: int = 0) -> Iterator[RecordedEvent]:
            self.starts += (from_position,)
            return super().read(from_position)

    ledger, kept = Watched("r"), Kept()
    runtime_on(ledger, kept).run([create("T", {"n": 9})])
    ledger.append([thing("late")])
    ledger.starts = ()

    cache = LLMCache()
    world = Runtime(ledger, [], cache=cache, snapshots=kept).load()

    assert world == reproject(ledger)
    assert world.context["cache"] is cache
    assert ledger.starts[-2:] == (28, 0)
    assert world.get_object("late") is not None


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff", b'{"format": 1}'])
def test_a_snapshot_that_is_damaged_is_replaced_by_the_next_run(body: bytes) -> None:
    ledger, kept = MemoryLedgerStore("r"), Kept()
    runtime_on(ledger, kept).run([create("T", {"n": 9})])
    kept.body = body

    with pytest.warns(UserWarning, match="run:r is ignored"):
        world = runtime_on(ledger, kept).run([])

    found = load_snapshot(ledger, kept)
    assert found is not None
    assert found.world == world


def test_a_failing_snapshot_store_causes_a_warning_and_does_not_stop_the_run(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("")
    ledger = MemoryLedgerStore("r")
    store = FileSnapshots(tmp_path / "file" / "folder", ledger)

    with pytest.warns(UserWarning, match="The snapshot of run:r is not stored"):
        world = Runtime(ledger, [chain], snapshots=store).run([create("T", {"n": 9})])

    assert world == reproject(ledger)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KANDO_SNAPSHOT_DIR", str(tmp_path / "kept"))
    return tmp_path / "kept"


def test_a_snapshot_of_a_run_keeps_everything_about_its_world(folder: Path) -> None:
    ledger = ledger_of("a", "b")
    world = reproject(ledger)

    save_snapshot("r", world, 2)

    loaded = load_snapshot("r")
    assert loaded is not None
    assert [attrs.astuple(o) for o in loaded.world.objects.values()] == [
        attrs.astuple(o) for o in world.objects.values()
    ]
    assert loaded.world.context == {}


def test_a_snapshot_of_a_run_that_cannot_be_written_leaves_the_one_before(folder: Path) -> None:
    world = World()
    save_snapshot("r", world, 0)
    world.objects["a"] = WorldObject("a", "T", {"n": float("nan")})

    with pytest.raises(InvalidData, match=r"'a'\.n holds nan"):
        save_snapshot("r", world, 1)

    assert load_snapshot("r") == (World(), 0)
    assert [each.name for each in folder.iterdir()] == ["r"]


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"run_id":"r","position":"1"}'])
def test_a_damaged_snapshot_of_a_run_is_ignored_with_a_warning(
    folder: Path, content: bytes
) -> None:
    folder.mkdir()
    (folder / "r").write_bytes(content)

    with pytest.warns(UserWarning, match="snapshot of run r is ignored: it is damaged"):
        assert load_snapshot("r") is None


def test_a_snapshot_of_another_run_is_ignored_with_a_warning(folder: Path) -> None:
    save_snapshot("other", World(), 0)
    (folder / "other").rename(folder / "r")

    with pytest.warns(UserWarning, match="it is of 'other'"):
        assert load_snapshot("r") is None


def test_a_snapshot_of_a_ledger_is_also_written_to_where_a_link_leads(tmp_path: Path) -> None:
    ledger = ledger_of("a")
    path = FileSnapshots(tmp_path, ledger).path
    path.symlink_to(tmp_path / "elsewhere" / "kept")

    save_snapshot(reproject(ledger), ledger, tmp_path)

    assert path.is_symlink()
    assert (tmp_path / "elsewhere" / "kept").is_file()
    assert load_snapshot(ledger, tmp_path) == (reproject(ledger), 1)
