"""A run or branch in a store is resumed from a snapshot, of its own or of its parent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kando.app.builtin import installed_plugins
from kando.app.store import Store, open_store
from kando.emit import create, patch
from kando.kit import Kit
from kando.ledger.sqlite import SQLiteLedgerStore
from kando.schema.events import KandoEvent, RecordedEvent
from kando.world.graph import World

STEPS = 400


def counting_kit() -> Kit:
    """Return a kit that patches one object in each step."""
    kit = Kit("counting", version="1")

    @kit.seeds
    def seeds(goal: str, run_id: str) -> list[KandoEvent]:
        return [create("Counter", {"n": 0}, id="counter")]

    @kit.responder("object.created")
    def begin(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        yield patch("counter", {"n": 1})

    @kit.responder("object.patched")
    def step(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        n = world.objects["counter"].data["n"]
        if n % STEPS:
            yield patch("counter", {"n": n + 1})

    @kit.responder("note")
    def on_note(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        yield patch("counter", {"n": event.data["n"]})

    return kit


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    plugins = installed_plugins({"KANDO_PLUGINS": ""})
    with open_store(f"sqlite:{tmp_path / 'runs.db'}", plugins=plugins, environ={}) as store:
        store.context.kits["counting"] = counting_kit()
        yield store


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the positions from which ledgers are read, as they are read."""
    found: list[int] = []
    whole = SQLiteLedgerStore.read

    def noted(ledger: SQLiteLedgerStore, from_position: int = 0) -> Iterator[RecordedEvent]:
        found.append(from_position)
        return whole(ledger, from_position)

    monkeypatch.setattr(SQLiteLedgerStore, "read", noted)
    return found


def test_a_message_to_a_long_run_is_handled_without_reading_the_run(
    store: Store, reads: list[int]
) -> None:
    run = store.start("counting", "a goal")
    length = run.length()
    run.send("note", {"n": STEPS})
    reads.clear()

    status = run.resume().status

    assert status.state == "finished"
    assert run.world().objects["counter"].data == {"n": STEPS}
    assert min(reads) > length - 10


def test_a_branch_is_resumed_from_the_snapshot_of_its_parent(
    store: Store, reads: list[int]
) -> None:
    run = store.start("counting", "a goal")
    length = run.length()
    branch = run.fork(at=length, events=[{"type": "note", "data": {"n": STEPS - 2}}])
    reads.clear()

    branch.resume()

    assert branch.world().objects["counter"].data == {"n": STEPS}
    assert min(reads) > length - 10
    assert branch.replay(strict=True) is not None
    assert branch.verify().is_intact
    assert branch.verify().problem is None


def test_a_branch_from_before_the_snapshot_reads_its_ledger(store: Store) -> None:
    run = store.start("counting", "a goal")
    branch = run.fork(at=30, events=[{"type": "note", "data": {"n": STEPS - 2}}])

    branch.resume()

    assert branch.world().objects["counter"].data["n"] == STEPS
    assert branch.verify().problem is None
