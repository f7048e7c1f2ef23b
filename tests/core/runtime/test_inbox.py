"""External events are recorded between firings, once each, and a run may wait for them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from kando.app.inbox import SubstrateInbox
from kando.emit import create, emit, patch, set_timer
from kando.errors import InvalidData, RunCancelled
from kando.ledger.inbox import InboxEntry
from kando.ledger.memory import MemoryLedgerStore, MemorySubstrate
from kando.responders.base import Responder, responder
from kando.runtime import Runtime
from kando.runtime import loop as loop_module
from kando.schema.events import OBJECT_CREATED, KandoEvent, RecordedEvent
from kando.world.graph import World


@pytest.fixture
def substrate(monkeypatch: pytest.MonkeyPatch) -> MemorySubstrate:
    monkeypatch.setattr(loop_module, "POLL_INTERVAL", 0)
    made = MemorySubstrate()
    made.create("r1")
    return made


def runtime_of(substrate: MemorySubstrate, *responders: Responder) -> Runtime:
    return Runtime(
        substrate.open("r1"), responders, inbox=SubstrateInbox(substrate, "r1"), edge_logic=()
    )


def events_of(substrate: MemorySubstrate) -> list[RecordedEvent]:
    return [e for e in substrate.open("r1").read_all() if not e.type.startswith("responder.")]


@responder("react", "message")
def react(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
    yield create("Note", {"text": event.data["text"]})


def test_an_entry_is_recorded_once_however_often_it_is_delivered(
    substrate: MemorySubstrate,
) -> None:
    for _ in range(2):
        substrate.deliver("r1", InboxEntry("k1", emit("message", {"text": "hi"})))
    runtime = runtime_of(substrate, react)

    world = runtime.run([])
    substrate.deliver("r1", InboxEntry("k1", emit("message", {"text": "again"})))
    runtime.run([])

    assert [e.id for e in events_of(substrate)] == ["message@k1", "object.created-2"]
    assert [note.data for note in world.objects_of("Note")] == [{"text": "hi"}]
    assert substrate.inbox("r1") == []
    assert runtime.replay(strict=True) == world


def test_an_entry_that_was_recorded_but_not_taken_is_not_recorded_again(
    substrate: MemorySubstrate,
) -> None:
    entry = InboxEntry("k1", emit("message", {"text": "hi"}))
    substrate.deliver("r1", entry)
    Runtime(substrate.open("r1"), [react]).run([attrs.evolve(entry.event, id=entry.event_id)])

    runtime_of(substrate, react).run([])

    assert [e.type for e in events_of(substrate)] == ["message", "object.created"]
    assert substrate.inbox("r1") == []


def test_an_entry_that_cannot_be_recorded_is_reported_and_the_run_continues(
    substrate: MemorySubstrate,
) -> None:
    substrate.deliver("r1", InboxEntry("bad", patch("ghost", {"x": 1})))
    substrate.deliver("r1", InboxEntry("good", emit("message", {"text": "hi"})))

    runtime_of(substrate, react).run([])

    refused, message, _ = events_of(substrate)
    assert refused.type == "inbox.refused"
    assert "'ghost'" in refused.data["reason"]
    assert message.type == "message"


def test_entries_are_recorded_between_firings_of_a_running_run(substrate: MemorySubstrate) -> None:
    @responder("count", OBJECT_CREATED)
    def count(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        n = event.data["data"]["n"]
        if n == 1:
            substrate.deliver("r1", InboxEntry("k1", emit("message", {"text": "now"})))
        if n < 3:
            yield create("Step", {"n": n + 1})

    runtime_of(substrate, count).run([create("Step", {"n": 1})])

    assert [e.type for e in events_of(substrate)].index("message") == 2


def test_a_pause_takes_effect_between_firings_and_a_resume_continues(
    substrate: MemorySubstrate,
) -> None:
    @responder("count", OBJECT_CREATED)
    def count(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        n = event.data["data"]["n"]
        if n == 2:
            substrate.deliver("r1", InboxEntry("p", emit("run.paused", {})))
        if n < 4:
            yield create("Step", {"n": n + 1})

    runtime = runtime_of(substrate, count)
    assert len(runtime.run([create("Step", {"n": 1})]).objects) == 3
    assert events_of(substrate)[-1].type == "run.paused"

    world = runtime.run([])

    assert len(world.objects) == 4
    assert "run.resumed" in [e.type for e in events_of(substrate)]
    assert runtime.replay(strict=True) == world


def test_a_cancelled_run_stops_and_cannot_be_resumed(substrate: MemorySubstrate) -> None:
    substrate.deliver("r1", InboxEntry("c", emit("run.cancelled", {})))
    runtime = runtime_of(substrate, react)
    runtime.run([emit("message", {"text": "never handled"})])

    with pytest.raises(RunCancelled, match="Fork it"):
        runtime.run([])

    assert "object.created" not in [e.type for e in events_of(substrate)]


def test_a_firing_without_outputs_before_an_entry_is_not_repeated_after_a_restart(
    substrate: MemorySubstrate,
) -> None:
    @responder("eager", OBJECT_CREATED)
    def eager(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        # Emits nothing before the entry; it must not see the entry later, by being repeated.
        if world.count_of("Word") and event.data["type"] != "Echo":
            yield create("Echo", {})

    runtime_of(substrate, eager).run([create("Step", {}, id="s")])
    word = create("Word", {}, id="w", cause=["object.created-0"])
    substrate.deliver("r1", InboxEntry("k", word))
    runtime_of(substrate, eager).run([])
    before = len(events_of(substrate))

    world = runtime_of(substrate, eager).run([])

    assert [o.type for o in world.objects.values()] == ["Step", "Word", "Echo"]
    assert len(events_of(substrate)) == before


def test_entries_delivered_before_a_resume_are_recorded_right_after_the_backlog(
    substrate: MemorySubstrate, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However fast the run is.
    monkeypatch.setattr(loop_module, "POLL_INTERVAL", float("inf"))

    @responder("count", OBJECT_CREATED)
    def count(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        number = event.data["data"].get("number", 9)
        if number < 9:
            yield create("Step", {"number": number + 1})

    seed = create("Step", {"number": 0})
    Runtime(substrate.open("r1"), []).run([seed])
    substrate.deliver("r1", InboxEntry("k1", emit("message", {"text": "hi"})))

    runtime_of(substrate, count, react).run([])

    assert [e.type for e in events_of(substrate)[:3]] == [OBJECT_CREATED, OBJECT_CREATED, "message"]


class Clock:
    """A clock that the test advances."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def test_a_timer_fires_when_it_is_due_while_a_process_works_on_the_run() -> None:
    clock = Clock()
    ledger = MemoryLedgerStore("r1")

    @responder("alarm", "timer.fired")
    def alarm(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        yield patch(event.data["cause_object_id"], {"rang": True})

    def runtime() -> Runtime:
        return Runtime(ledger, [alarm], clock=clock)

    seeds = [create("Clock", {}, id="c"), set_timer(seconds=60, about="c")]
    assert runtime().run(seeds).get_object("c").data == {}
    assert runtime().seconds_until_due() == 60
    clock.now += timedelta(seconds=59)
    assert runtime().run([]).get_object("c").data == {}
    clock.now += timedelta(seconds=1)

    world = runtime().run([])

    assert world.get_object("c").data == {"rang": True}
    assert runtime().seconds_until_due() is None
    assert [e.type for e in ledger.read_all()].count("timer.fired") == 1
    assert runtime().replay(strict=True) == world


def test_a_timer_set_by_a_responder_fires_too() -> None:
    ledger = MemoryLedgerStore("r1")
    sets = Responder("sets", "go", lambda event, world: [set_timer(seconds=0)])

    runtime = Runtime(ledger, [sets])
    runtime.run([emit("go", {})])

    assert [e.type for e in ledger.read_all()][-1] == "timer.fired"
    assert runtime.replay(strict=True) == runtime.load()


@pytest.mark.parametrize(
    "data", [{}, {"seconds": "soon"}, {"at": "tomorrow"}, {"at": "2026-01-01T00:00:00"}]
)
def test_a_timer_without_a_time_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(InvalidData, match="timer"):
        Runtime(MemoryLedgerStore("r1"), []).run([emit("timer.set", data)])
