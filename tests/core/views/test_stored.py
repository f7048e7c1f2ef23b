"""Stored views: a view stored at any event and the events after it give the view of the whole ledger."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kando.app.status import read_status
from kando.emit import ask, create, relate
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.base import responder
from kando.responders.llm_executor import LLMExecutorResponder
from kando.runtime import Runtime
from kando.schema.events import OBJECT_CREATED, KandoEvent, RecordedEvent, make_event
from kando.schema.firing import Firing
from kando.views.metrics import MetricsFold, measure
from kando.views.status import StatusFold
from kando.views.stored import (
    LINEAGE_INDEX,
    OBJECT_IDS,
    RUN_METRICS,
    RUN_STATUS,
    Views,
    lineage_of,
    metrics_fold_of,
    object_ids_of,
    status_fold_of,
)
from kando.world.graph import World
from kando.world.projection import project, reproject
from kando.world.snapshot import WORLD_STATE, open_snapshot, save_snapshot

ANSWER = st.fixed_dictionaries(
    {"text": st.text(max_size=3)},
    optional={
        "model": st.sampled_from(["m", "n", 5]),
        "cost_usd": st.sampled_from([0.1, 0.25, 3, None, "dear"]),
        "usage": st.fixed_dictionaries({"input_tokens": st.integers(-1, 2**70)}),
        "cached": st.booleans(),
        "error": st.just({"type": "Denied", "message": "no"}),
    },
)
FAILURE = st.fixed_dictionaries(
    {
        "responder": st.sampled_from(["r", "s"]),
        "trigger": st.sampled_from(["llm.request-1", "x"]),
        "outcome": st.sampled_from(["retried", "parked", "raised"]),
        "error": st.just({"type": "ValueError", "message": "é"}),
    }
)
KIT = st.fixed_dictionaries({"name": st.sampled_from(["k", "l"]), "version": st.just("1")})

#: The data that an event of each type may have.
DATA: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "object.created": st.builds(
        lambda id, type, text: {"id": id, "type": type, "data": {"text": text}},
        st.sampled_from("abc"),
        st.sampled_from("TU"),
        st.sampled_from(["goal", 7]),
    ),
    "note": st.just({}),
    "llm.request": st.just({"messages": []}),
    "llm.response": ANSWER,
    "tool.called": st.just({"tool": "t"}),
    "tool.returned": ANSWER,
    "responder.completed": st.fixed_dictionaries(
        {"responder": st.just("r"), "outputs": st.just(2)}
    ),
    "responder.failed": FAILURE,
    "budget.exhausted": st.just({"reasons": ["max_events", "x"], "elapsed_seconds": 1.5}),
    "kit.loaded": KIT,
    "branch.created": st.just({"branch_id": "b", "parent_run_id": "p", "fork_position": 3}),
    "branch.changed": st.sampled_from([{}, {"goal": "other"}, {"goal": None}]),
    "approval.requested": st.just({"type": "tool.called", "reason": "?", "held": [{"a": 1}]}),
    "approval.granted": st.builds(
        lambda n: {"approval": f"approval.requested-{n}"}, st.integers(0, 9)
    ),
    "person.asked": st.sampled_from(
        [{"question": "?"}, {"question": "?", "remind": 60}, {"remind": 60, "expires": 90}]
    ),
    "person.reminded": st.just({"request": "person.asked-1", "count": 1}),
    "person.replied": st.just({"answer": "yes"}),
    "timer.set": st.just({"seconds": 5}),
    "timer.fired": st.just({"timer": "timer.set-1"}),
    "run.paused": st.just({}),
    "run.resumed": st.just({}),
    "run.cancelled": st.just({}),
    "run.labelled": st.sampled_from(
        [{"labels": {"a": "1", "b": None}}, {"labels": {"b": "2"}}, {}]
    ),
}

stories = st.lists(
    st.sampled_from(sorted(DATA)).flatmap(
        lambda type: st.tuples(st.just(type), DATA[type], st.lists(st.integers(1, 6), max_size=3))
    ),
    min_size=1,
    max_size=25,
)


def ledger_of(story: list[tuple[str, dict[str, Any], list[int]]]) -> MemoryLedgerStore:
    """Record a story; each event names causes by how far back they are."""
    ledger, ids = MemoryLedgerStore("r"), []
    for number, (type, data, back) in enumerate(story):
        cause = [ids[number - each] for each in back if each <= number]
        event = make_event(type, "", "cli", cause, data)
        ledger.append([event])
        ids.append(f"{type}-{number}")
    return ledger


class Kept:
    """A snapshot store in memory."""

    least = 1

    def __init__(self) -> None:
        self.body: bytes | None = None

    def get(self) -> bytes | None:
        return self.body

    def put(self, body: bytes) -> None:
        self.body = body


def keep(ledger: MemoryLedgerStore, cut: int) -> Kept:
    """Store the snapshot of the first events of a ledger."""
    kept, events = Kept(), list(islice(ledger.read(0), cut))
    views, world = Views({event.id: event.position for event in events}.get), project(events)
    views.observe(events)
    save_snapshot(world, ledger, kept, cut, views=views.states(world))
    return kept


@settings(deadline=None, max_examples=200)
@given(stories, st.data())
def test_stored_views_and_the_events_after_them_give_the_views_of_the_whole_ledger(
    story: list[tuple[str, dict[str, Any], list[int]]], data: st.DataObject
) -> None:
    ledger = ledger_of(story)
    cut = data.draw(st.integers(0, len(story)))
    stored = open_snapshot(ledger, keep(ledger, cut))
    assert stored is not None

    assert read_status(ledger, stored) == read_status(ledger)
    ids = object_ids_of(stored)
    assert ids is not None
    there = project(islice(ledger.read(0), cut)).objects
    assert {id for id in "abcdef" if ids.may_hold(id)} == there.keys()
    metrics = metrics_fold_of(stored)
    assert metrics is not None
    for event in ledger.read(cut):
        metrics.observe(event)
    assert metrics.metrics() == measure(ledger.read(0))


@settings(deadline=None)
@given(stories, st.data())
def test_restored_views_become_those_of_the_whole_ledger_to_the_byte(
    story: list[tuple[str, dict[str, Any], list[int]]], data: st.DataObject
) -> None:
    ledger = ledger_of(story)
    cut, events = data.draw(st.integers(0, len(story))), list(ledger.read(0))
    places = {event.id: event.position for event in events}
    world, whole, views = project(events), Views(places.get), Views(places.get)
    stored = open_snapshot(ledger, keep(ledger, cut))
    assert stored is not None

    assert views.restore(stored)
    views.observe(events[cut:])
    whole.observe(events)

    assert views.states(world) == whole.states(world)


def damaged(kept: Kept, view: str) -> None:
    """Change one byte in the middle of a view."""
    from kando.world._container import unpack

    body = kept.body or b""
    container = unpack(body)
    assert container is not None
    start = container.start
    for name, length in container.header.sections:
        if name == view:
            at = start + length // 2
            kept.body = body[:at] + bytes([body[at] ^ 255]) + body[at + 1 :]
        start += length


@pytest.mark.parametrize("view", [LINEAGE_INDEX, RUN_METRICS, RUN_STATUS, OBJECT_IDS, WORLD_STATE])
def test_a_damaged_view_is_ignored_with_a_warning_and_replaced_by_the_next_run(
    view: str,
) -> None:
    @responder("chain", {OBJECT_CREATED})
    def chain(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        if event.data["data"]["n"]:
            yield create("T", {"n": event.data["data"]["n"] - 1})

    def run(*seeds: KandoEvent) -> None:
        Runtime(ledger, [chain], edge_logic=(), snapshots=kept).run(seeds)

    ledger, kept = MemoryLedgerStore("r"), Kept()
    run(create("T", {"n": 9}))
    whole = kept.body
    damaged(kept, view)
    stored = open_snapshot(ledger, kept)
    assert stored is not None
    read = {
        LINEAGE_INDEX: lineage_of,
        RUN_METRICS: metrics_fold_of,
        RUN_STATUS: status_fold_of,
        OBJECT_IDS: object_ids_of,
        WORLD_STATE: lambda stored: stored.world(),
    }

    with pytest.warns(UserWarning, match=f"run:r is ignored: its {view} is damaged"):
        assert read[view](stored) is None
    for name in read.keys() - {view}:
        assert read[name](stored) is not None
    with pytest.warns(UserWarning, match="is ignored"):
        run()
    assert kept.body == whole


def test_a_damaged_world_causes_a_warning_and_does_not_affect_the_status() -> None:
    thing = {"id": "a", "type": "T", "data": {}}
    ledger = ledger_of([("object.created", thing, []), ("object.created", thing, [])])
    kept = keep(ledger, 1)
    damaged(kept, WORLD_STATE)
    stored = open_snapshot(ledger, kept)
    assert stored is not None

    with pytest.warns(UserWarning, match="its world-state is damaged"):
        assert read_status(ledger, stored) == read_status(ledger)


def test_a_view_of_another_position_is_ignored() -> None:
    ledger = ledger_of([("note", {}, []), ("note", {}, [1])])
    events = list(ledger.read(0))
    views = Views({event.id: event.position for event in events}.get)
    views.observe(events[:1])
    kept = Kept()
    save_snapshot(reproject(ledger), ledger, kept, views=views.states(World()))
    stored = open_snapshot(ledger, kept)
    assert stored is not None

    for read in (lineage_of, metrics_fold_of, status_fold_of):
        with pytest.warns(UserWarning, match="is damaged"):
            assert read(stored) is None


@pytest.mark.parametrize("fold", [MetricsFold, StatusFold])
def test_times_and_sums_are_stored_exactly(fold: type[MetricsFold | StatusFold]) -> None:
    at = datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=UTC)
    seen = fold()
    for number in range(3):
        data = {"text": "x", "model": "m", "cost_usd": 0.1}
        event = make_event("llm.response", "run:r", "m", ["x"], data)
        moment = at + timedelta(microseconds=number)
        seen.observe(complete(event, number, moment))

    assert fold.from_state(seen.state()) == seen


def complete(event: KandoEvent, position: int, at: datetime) -> RecordedEvent:
    return RecordedEvent(
        f"{event.type}-{position}",
        event.type,
        event.source,
        event.actor,
        event.cause,
        at,
        event.data,
        position=position,
        lineage_key="0" * 32,
        encoded=b"{}",
    )


def test_an_event_that_a_view_cannot_process_causes_a_warning_and_does_not_stop_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(fold: StatusFold, event: RecordedEvent) -> None:
        raise KeyError(event.id)

    monkeypatch.setattr(StatusFold, "observe", refuse)
    ledger, kept = MemoryLedgerStore("r"), Kept()
    ledger.append([make_event("approval.requested", "", "cli", [], {})])

    with pytest.warns(UserWarning, match="The views of run:r are not stored"):
        world = Runtime(ledger, [], edge_logic=(), snapshots=kept).run([create("T", {})])

    assert world == reproject(ledger)
    stored = open_snapshot(ledger, kept)
    assert stored is not None
    assert (stored.world(), lineage_of(stored)) == (world, None)


@pytest.mark.parametrize("cut", range(8))
def test_views_of_firings_are_those_of_their_events_to_the_byte(cut: int) -> None:
    ledger = MemoryLedgerStore("r1")

    @responder("talker", {OBJECT_CREATED})
    def talker(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        if len(world.objects) < 4:
            child = yield create("T", {"text": "x"})
            yield relate("about", child, event)
            yield ask([{"role": "user", "content": "?"}], about=child)

    asked = LLMExecutorResponder(lambda messages, model, n: ("yes", 0.5))
    Runtime(ledger, [talker, asked]).run([create("T", {"text": "goal"})])
    events, items = list(ledger.read_all()), list(ledger.read_firings())
    assert sum(isinstance(item, Firing) for item in items) >= 6
    places, world = {event.id: event.position for event in events}.get, project(events)
    singly, together = Views(places), Views(places)

    singly.observe(events)
    for batch in (items[:cut], items[cut:]):
        together.observe(batch)

    assert singly.states(world) == together.states(world)
