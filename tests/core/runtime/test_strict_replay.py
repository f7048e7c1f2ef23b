"""Strict replay detects every change, of a responder's outputs and of recorded events."""

from collections.abc import Callable, Iterator

import attrs
import pytest

from kando.app.kits.find import kit_data
from kando.branch.fork import fork
from kando.emit import ask, create, emit, patch, relate
from kando.errors import ReplayDivergence, StoreDamaged
from kando.kit import Kit
from kando.ledger.memory import MemoryLedgerStore, MemorySubstrate
from kando.responders.base import Responder
from kando.responders.edge import edge_responder
from kando.responders.llm_executor import provider_executor
from kando.runtime import Runtime
from kando.schema.events import (
    LLM_RESPONSE,
    OBJECT_CREATED,
    OBJECT_PATCHED,
    RELATION_CREATED,
    RESPONDER_COMPLETED,
    KandoEvent,
    RecordedEvent,
    make_event,
)
from kando.schema.exact_json import encode
from kando.world.graph import World

Outputs = Callable[[KandoEvent, World], Iterator[KandoEvent]]


def outputs(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
    """Emit the same events as the other functions, with one change."""
    first = yield create("Part", {"n": 1, "list": [1, {"deep": "x"}]}, id="part-1")
    yield create("Part", {"n": 2}, id="part-2")
    yield relate("near", first, event, id="link")
    yield ask([{"role": "user", "content": "Is it?"}], about=first)


def changed(change: Callable[[list[KandoEvent]], list[KandoEvent]]) -> Outputs:
    """Return a function that emits the same events as another, except for one change."""

    def fn(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        emitted = [
            create("Part", {"n": 1, "list": [1, {"deep": "x"}]}, id="part-1"),
            create("Part", {"n": 2}, id="part-2"),
            relate("near", "part-1", "goal", id="link"),
            ask([{"role": "user", "content": "Is it?"}], about="part-1"),
        ]
        # The iterator of a list does not accept the recorded events that `yield from` would send.
        for each in change(emitted):  # noqa: UP028
            yield each

    return fn


def with_data(emitted: list[KandoEvent], index: int, **data: object) -> list[KandoEvent]:
    event = attrs.evolve(emitted[index], data={**emitted[index].data, **data})
    return [*emitted[:index], event, *emitted[index + 1 :]]


def evolved(emitted: list[KandoEvent], index: int, **fields: object) -> list[KandoEvent]:
    event = attrs.evolve(emitted[index], **fields)  # type: ignore[arg-type]
    return [*emitted[:index], event, *emitted[index + 1 :]]


CHANGES: dict[str, Callable[[list[KandoEvent]], list[KandoEvent]]] = {
    "a value": lambda e: with_data(e, 1, data={"n": 3}),
    "a value deep inside": lambda e: with_data(e, 0, data={"n": 1, "list": [1, {"deep": "y"}]}),
    "a number's type": lambda e: with_data(e, 1, data={"n": 2.0}),
    "a number to true": lambda e: with_data(e, 0, data={"n": True, "list": [1, {"deep": "x"}]}),
    "a field more": lambda e: with_data(e, 1, data={"n": 2, "m": None}),
    "a field less": lambda e: with_data(e, 1, data={}),
    "the object's type": lambda e: with_data(e, 1, type="Piece"),
    "the object's id": lambda e: with_data(e, 1, id="part-9"),
    "an end of the relation": lambda e: with_data(e, 2, source_id="part-2"),
    "the question": lambda e: with_data(e, 3, messages=[{"role": "user", "content": "Was it?"}]),
    "the model": lambda e: with_data(e, 3, model="other"),
    "the event's type": lambda e: evolved(e, 1, type="note"),
    "the causes": lambda e: evolved(e, 1, cause=["object.created-0", "object.created-2"]),
    "the event's id": lambda e: evolved(e, 1, id="mine"),
    "the order": lambda e: [e[1], e[0], *e[2:]],
    "one missing at the end": lambda e: e[:-1],
    "one missing at the beginning": lambda e: e[1:2],
    "all missing": lambda e: [],
    "one more at the end": lambda e: [*e, emit("note", {})],
    "one more in between": lambda e: [e[0], emit("note", {}), *e[1:]],
}


def on_answer(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
    yield patch(event.data["cause_object_id"], {"text": event.data["text"]})


def on_near(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
    yield patch(event.data["source_id"], {"near": event.data["target_id"]})


def responders(fn: Outputs = outputs, name: str = "maker", edge: Outputs = on_near):
    return [
        edge_responder("near", edge, "edge"),
        Responder(name, frozenset({OBJECT_CREATED}), fn, object_type="Goal"),
        Responder("on_answer", frozenset({LLM_RESPONSE}), on_answer),
        provider_executor(lambda request: {"text": "yes", "model": "m", "cost_usd": 0.5}),
    ]


@pytest.fixture
def ledger() -> MemoryLedgerStore:
    """Return the ledger of a finished run."""
    ledger = MemoryLedgerStore("r")
    seed = make_event(OBJECT_CREATED, "", "cli", [], {"id": "goal", "type": "Goal", "data": {}})
    Runtime(ledger, responders(), edge_logic=()).run([seed])
    return ledger


def replay(ledger: MemoryLedgerStore, *args: object) -> World:
    made = responders(*args)  # type: ignore[arg-type]
    return Runtime(ledger, made, edge_logic=()).replay(strict=True)


def test_without_a_change_nothing_diverges(ledger: MemoryLedgerStore) -> None:
    assert replay(ledger) == replay(ledger, changed(lambda emitted: emitted))
    types = [event.type for event in ledger.read_all()]
    assert {RELATION_CREATED, OBJECT_PATCHED, LLM_RESPONSE} <= set(types)


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_output_of_a_responder_is_detected(
    ledger: MemoryLedgerStore, change: str
) -> None:
    with pytest.raises(ReplayDivergence) as caught:
        replay(ledger, changed(CHANGES[change]))

    error = caught.value
    assert error.responder == "maker"
    assert str(error.position) in str(error)
    assert error.recorded or error.replayed


def test_another_actor_is_detected(ledger: MemoryLedgerStore) -> None:
    with pytest.raises(ReplayDivergence):
        replay(ledger, outputs, "another")


def test_a_responder_that_now_raises_is_detected(ledger: MemoryLedgerStore) -> None:
    def raises(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        yield create("Part", {"n": 1, "list": [1, {"deep": "x"}]}, id="part-1")
        raise RuntimeError("now")

    with pytest.raises(ReplayDivergence, match="raises RuntimeError"):
        replay(ledger, raises)


def test_changed_edge_logic_is_detected(ledger: MemoryLedgerStore) -> None:
    def elsewhere(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        yield patch(event.data["target_id"], {"near": event.data["target_id"]})

    with pytest.raises(ReplayDivergence) as caught:
        replay(ledger, outputs, "maker", elsewhere)

    assert caught.value.differences == [("data.id", "part-1", "goal")]
    assert caught.value.responder == "edge"


# --- the reverse: the responders are the same, and the ledger was edited -----------------------


def edited(ledger: MemoryLedgerStore, edit: Callable[[list[RecordedEvent]], None]):
    """Return a ledger with a valid hash chain over events that were edited."""
    events = list(ledger.read_all())
    edit(events)
    copy = MemoryLedgerStore("r")
    copy.append([attrs.evolve(event, position=n) for n, event in enumerate(events)])
    return copy


def with_field(name: str, value: object) -> Callable[[RecordedEvent], RecordedEvent]:
    def change(event: RecordedEvent) -> RecordedEvent:
        if name != "data":
            return attrs.evolve(event, **{name: value})  # type: ignore[arg-type]
        assert isinstance(value, dict)
        data = {**event.data, **value}
        return attrs.evolve(event, data=data, encoded=encode(data))

    return change


EDITS = {
    "type": with_field("type", "note"),
    "actor": with_field("actor", "somebody"),
    "cause": with_field("cause", []),
    "id": with_field("id", "mine"),
    "lineage_key": with_field("lineage_key", "0" * 32),
    "data": with_field("data", {"extra": 1}),
}


def positions_of(ledger: MemoryLedgerStore) -> dict[str, int]:
    """Return the positions of the responders' outputs, by kind."""
    found: dict[str, int] = {}
    for event in ledger.read_all():
        if event.actor in ("maker", "edge", "on_answer") and event.data.get("responder") is None:
            found[f"{event.actor} {event.type} {len(found)}"] = event.position
    return found


@pytest.mark.parametrize("field", EDITS)
def test_an_edited_event_of_any_responder_is_detected(
    ledger: MemoryLedgerStore, field: str
) -> None:
    places = positions_of(ledger)
    assert len(places) == 6

    for position in places.values():

        def edit(events: list[RecordedEvent], position: int = position) -> None:
            events[position] = EDITS[field](events[position])

        # Later events may refer to a removed event.
        with pytest.raises((ReplayDivergence, StoreDamaged)) as caught:
            replay(edited(ledger, edit))
        assert field == "id" or isinstance(caught.value, ReplayDivergence)


@pytest.mark.parametrize("change", ["removed", "repeated", "swapped"])
def test_an_event_that_was_removed_added_or_moved_is_detected(
    ledger: MemoryLedgerStore, change: str
) -> None:
    def edit(events: list[RecordedEvent]) -> None:
        if change == "removed":
            del events[3]
        elif change == "repeated":
            events.insert(4, attrs.evolve(events[3], id="again"))
        else:
            events[2], events[3] = events[3], events[2]

    with pytest.raises(ReplayDivergence):
        replay(edited(ledger, edit))


def test_a_ledger_that_a_crash_has_cut_anywhere_is_accepted(ledger: MemoryLedgerStore) -> None:
    for length in range(1, ledger.length() + 1):
        cut = edited(ledger, lambda events, length=length: events.__delitem__(slice(length, None)))

        assert replay(cut) == Runtime(cut, [], edge_logic=()).load()


def test_a_change_before_the_place_where_a_ledger_is_cut_is_detected(
    ledger: MemoryLedgerStore,
) -> None:
    whole = next(e.position for e in ledger.read_all() if e.type == RESPONDER_COMPLETED)
    for length in range(whole + 1, ledger.length()):
        cut = edited(ledger, lambda events, length=length: events.__delitem__(slice(length, None)))

        with pytest.raises(ReplayDivergence):
            replay(cut, changed(CHANGES["a value"]))


def test_a_branch_that_begins_after_a_responder_raised_is_accepted() -> None:
    def raises(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        raise ValueError("never")

    substrate = MemorySubstrate()
    run = substrate.create("r")
    kit = [Responder("raises", frozenset({"go"}), raises)]
    with pytest.raises(ValueError, match="never"):
        Runtime(run, kit, edge_logic=()).run([emit("go", {})])
    for position in range(1, run.length() + 1):
        branch = fork(substrate, "r", position, "b" * position)

        Runtime(branch, kit, edge_logic=()).replay(strict=True)


def test_a_responder_that_raised_and_was_mended_is_accepted_before_and_after_its_resume() -> None:
    problems = [ValueError("broken")]

    def fails(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        if problems:
            raise problems[0]
        yield from ()

    ledger, kit = MemoryLedgerStore("r"), [Responder("fails", frozenset({"go"}), fails)]
    with pytest.raises(ValueError, match="broken"):
        Runtime(ledger, kit, edge_logic=()).run([emit("go", {})])
    problems.clear()

    Runtime(ledger, kit, edge_logic=()).replay(strict=True)
    Runtime(ledger, kit, edge_logic=()).run([])
    Runtime(ledger, kit, edge_logic=()).replay(strict=True)


def test_an_added_responder_is_detected_also_if_it_handles_the_last_event() -> None:
    def kit(*names: str) -> Kit:
        kit = Kit("adds", version=str(len(names)))
        for name in names:
            kit.responder("go", name=name)(lambda event, world: iter([emit("done", {})]))
        return kit

    ledger, old, new = MemoryLedgerStore("r"), kit("adds.a"), kit("adds.a", "adds.b")
    loaded = make_event("kit.loaded", "", "cli", [], kit_data(old))
    Runtime(ledger, old.create(), kits=[old], edge_logic=()).record([loaded], is_own=True)
    Runtime(ledger, old.create(), kits=[old], edge_logic=()).run([emit("go", {})])

    Runtime(ledger, old.create(), kits=[old], edge_logic=()).replay(strict=True)
    with pytest.raises(ReplayDivergence, match="the replay continues with"):
        Runtime(ledger, new.create(), kits=[new], edge_logic=()).replay(strict=True)


@pytest.mark.parametrize("text", ["no", "yes ", ""])
def test_an_edited_answer_of_a_model_is_detected_by_its_consequences(
    ledger: MemoryLedgerStore, text: str
) -> None:
    def edit(events: list[RecordedEvent]) -> None:
        (answer,) = [event for event in events if event.type == LLM_RESPONSE]
        events[answer.position] = with_field("data", {"text": text})(answer)

    with pytest.raises(ReplayDivergence) as caught:
        replay(edited(ledger, edit))

    assert caught.value.differences == [("data.patch.text", "yes", text)]


def test_timestamps_and_observed_data_are_not_compared(ledger: MemoryLedgerStore) -> None:
    def edit(events: list[RecordedEvent]) -> None:
        for position, event in enumerate(events):
            events[position] = attrs.evolve(event, timestamp=events[0].timestamp)
        (answer,) = [event for event in events if event.type == LLM_RESPONSE]
        events[answer.position] = with_field("data", {"observed": {"seconds": 9}})(answer)

    assert replay(edited(ledger, edit)) == replay(ledger)
