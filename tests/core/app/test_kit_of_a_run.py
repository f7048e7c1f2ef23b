"""The kit that works on a run is the one that its last ``kit.loaded`` names, for every asker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kando.app.builtin import installed_plugins
from kando.app.export import import_run
from kando.app.group_worker import GroupWorker
from kando.app.opened import open_run
from kando.app.run import Run
from kando.app.status import status_of
from kando.app.store import Store, open_store
from kando.emit import create, emit
from kando.kit import Kit
from kando.ledger.interface import LedgerStore
from kando.ledger.memory import MemoryLedgerStore
from kando.schema.events import KIT_LOADED, KandoEvent, RecordedEvent, make_event
from kando.schema.firing import Firing, flattened
from kando.views.choices import Choices
from kando.views.kit import kits_in_turn
from kando.world.graph import World


def signing_kit(name: str) -> Kit:
    """A kit that signs each note with its name."""
    kit = Kit(name, version="1")

    @kit.seeds
    def seeds(goal: str, run_id: str) -> list[KandoEvent]:
        return [create("Goal", {"text": goal, "by": name})]

    @kit.responder("note")
    def on_note(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        yield create("Note", {"by": name})

    @kit.responder("count")
    def on_count(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        if event.data["n"]:
            yield emit("count", {"n": event.data["n"] - 1})

    return kit


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    plugins = installed_plugins({"KANDO_PLUGINS": ""})
    with open_store(f"sqlite:{tmp_path / 'runs.db'}", plugins=plugins, environ={}) as store:
        store.context.kits.update({name: signing_kit(name) for name in ("one", "two", "three")})
        yield store


@pytest.fixture
def run(store: Store) -> Run:
    """Return a run that kit ``one`` started and kit ``two`` continued."""
    run = store.start("one", "a goal")
    run.send("other")
    run.resume(kit="two")
    return run


def signers(run: Run) -> list[str]:
    return [note.data["by"] for note in run.world().objects_of("Note")]


def resumed_with(store: Store, run: Run) -> str:
    """Return the kit that the next resume works with."""
    run.send("note")
    run.resume()
    return signers(run)[-1]


def named_kit(store: Store, run: Run) -> str | None:
    """Return the kit that `status` and `runs` name."""
    (listed,) = (each.kit for each in store.runs(limit=20) if each.run_id == run.id)
    assert run.status().kit == listed
    return listed


def test_status_and_runs_name_the_kit_that_the_next_resume_works_with(
    store: Store, run: Run
) -> None:
    assert named_kit(store, run) == "two"
    assert resumed_with(store, run) == "two"
    assert run.replay(strict=True).world == run.world()


def test_a_branch_inherits_the_kit_that_worked_at_its_fork_position(store: Store, run: Run) -> None:
    switch = [e.position for e in run.events() if e.type == "kit.loaded"][-1]
    for at, kit in ((switch, "one"), (switch + 1, "two")):
        branch = run.fork(at=at)
        nested = branch.fork(at=at + 1)
        for each in (branch, nested):
            assert named_kit(store, each) == kit
            assert resumed_with(store, each) == kit
            assert each.replay(strict=True).world == each.world()


def test_a_branch_may_change_its_kit_and_so_may_each_resume(store: Store, run: Run) -> None:
    branch = run.fork(at=run.length(), kit="three")
    assert (named_kit(store, branch), named_kit(store, run)) == ("three", "two")
    assert resumed_with(store, branch) == "three"
    branch.resume(kit="one")
    assert named_kit(store, branch) == "one"
    assert resumed_with(store, branch) == "one"
    assert branch.replay(strict=True).world == branch.world()
    assert named_kit(store, branch.fork(at=branch.length())) == "one"


def test_a_goal_for_a_branch_goes_to_the_kit_that_worked_at_its_fork_position(
    store: Store, run: Run
) -> None:
    branch = run.fork(at=2, goal="another")

    seeds = [each.data for each in branch.world().objects_of("Goal")]
    assert seeds == [{"text": "a goal", "by": "one"}, {"text": "another", "by": "one"}]
    assert named_kit(store, branch) == "one"


def test_a_worker_works_with_the_kit_that_status_names(store: Store, run: Run) -> None:
    run.send("note")
    run.offer("g")
    GroupWorker(store.context, "g").work(until_idle=True)

    assert signers(run) == [named_kit(store, run)] == ["two"]


def test_an_imported_run_keeps_its_kit(store: Store, run: Run, tmp_path: Path) -> None:
    run.export(file := tmp_path / "run.jsonl")
    with open_store("memory:", plugins=store.context.plugins, environ={}) as other:
        other.context.kits.update(store.context.kits)
        import_run(other.context, file.read_bytes().splitlines(keepends=True))
        there = other.run(run.id)
        assert named_kit(other, there) == resumed_with(other, there) == "two"


def test_a_run_stays_the_demo_of_its_kit_whatever_version_or_kit_works_on_it() -> None:
    ledger = MemoryLedgerStore("r")
    loaded = [
        {"name": "one", "version": "1", "demo": True},
        {"name": "one", "version": "2"},
        {"name": "two", "version": "1"},
    ]
    ledger.append([make_event(KIT_LOADED, "", "cli", [], data) for data in loaded])

    choices, found = Choices(), []
    for event in ledger.read_all():
        choices = choices.apply(event)
        assert choices.loaded is not None
        found.append((choices.loaded.name, choices.loaded.version, choices.loaded.demo_of))

    assert found == [("one", "1", "one"), ("one", "2", "one"), ("two", "1", "one")]
    assert [kit.position for kit in kits_in_turn(ledger.read_all())] == [0, 2]


def positions_read(monkeypatch: pytest.MonkeyPatch, ledger: LedgerStore) -> list[int]:
    """Return a list that gets the position of each event that is read of a kind of ledger."""
    read: list[int] = []
    events, firings = type(ledger).read, type(ledger).read_firings

    def read_events(ledger: LedgerStore, from_position: int = 0) -> Iterator[RecordedEvent]:
        for event in events(ledger, from_position):
            read.append(event.position)
            yield event

    def read_firings(
        ledger: LedgerStore, from_position: int = 0
    ) -> Iterator[RecordedEvent | Firing]:
        for item in firings(ledger, from_position):
            read.extend(event.position for event in flattened([item]))
            yield item

    monkeypatch.setattr(type(ledger), "read", read_events)
    monkeypatch.setattr(type(ledger), "read_firings", read_firings)
    return read


def test_behind_a_snapshot_only_the_events_after_it_are_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = store.start("one", "a goal")
    run.send("count", {"n": 600})
    run.resume()
    run.resume(kit="two")
    opened = open_run(store.context, run.id)
    assert opened.snapshot is not None
    assert opened.snapshot.position > 1000

    read = positions_read(monkeypatch, opened.ledger)
    assert opened.require_kit().name == "two"
    assert opened.limits.limits() == {}
    assert read == list(range(opened.snapshot.position, opened.ledger.length()))


def test_the_status_of_a_run_without_a_snapshot_reads_each_event_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = store.context.substrate(read_only=False).create("short")
    ledger.append([create("Item", {"n": n}, id=f"i{n}") for n in range(3)])
    opened = open_run(store.context, "short")
    assert opened.snapshot is None

    read = positions_read(monkeypatch, opened.ledger)
    status = status_of(opened)

    assert (status.events, opened.choices.kit) == (3, None)
    assert read == list(range(opened.ledger.length()))


@pytest.mark.parametrize("count", [999, 1000, 1001, 2500])
def test_the_status_of_a_long_run_without_a_snapshot_counts_all_of_its_events(
    store: Store, count: int
) -> None:
    ledger = store.context.substrate(read_only=False).create("long")
    ledger.append([create("Item", {"n": n}, id=f"i{n}") for n in range(count)])

    status = status_of(open_run(store.context, "long"))

    assert (status.events, status.objects) == (count, {"Item": count})
