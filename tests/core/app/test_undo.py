"""`kando undo`: a call of a tool is taken back by the tool that its ``undo`` names."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kando.app.run import Run
from kando.app.store import Store, open_store
from kando.emit import call_tool, create
from kando.errors import EventNotFound, InvalidData
from kando.kit import Kit
from kando.responders.policies import Ask
from kando.schema.events import TOOL_CALLED, TOOL_RETURNED, KandoEvent, RecordedEvent
from kando.world.graph import World


class Hotel:
    """A kit that books a room, and the rooms that are booked."""

    def __init__(self) -> None:
        self.rooms: list[str] = []
        self.is_closed = False
        self.kit = kit = Kit("hotel")

        @kit.seeds
        def seeds(goal: str, run_id: str) -> list[KandoEvent]:
            return [create("Trip", {"to": goal})]

        @kit.responder("object.created", type="Trip")
        def on_trip(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
            yield call_tool("book", {"city": event.data["data"]["to"], "nights": 2})
            yield call_tool("look", {})

        @kit.tool("book", undo="cancel", effect="idempotent")
        def book(city: str, nights: int) -> dict[str, Any]:
            if city == "Nowhere":
                raise ValueError("no such city")
            self.rooms.append(city)
            return {"room": f"{city}-{nights}"}

        @kit.tool("cancel", effect="idempotent")
        def cancel(city: str, result: dict[str, Any]) -> str:
            if self.is_closed:
                raise ConnectionError("closed")
            self.rooms.remove(city)
            return f"cancelled {result['room']}"

        @kit.tool("look", effect="read")
        def look() -> int:
            return len(self.rooms)


@pytest.fixture
def hotel() -> Hotel:
    return Hotel()


@pytest.fixture
def store(tmp_path: Path, hotel: Hotel) -> Iterator[Store]:
    url = f"sqlite:{tmp_path / 'runs.sqlite'}"
    with open_store(url, environ={"KANDO_PLUGINS": ""}) as opened:
        opened.context.remember(hotel.kit)
        yield opened


def last(run: Run, type: str) -> RecordedEvent:
    return [event for event in run.events() if event.type == type][-1]


def called(run: Run, tool: str) -> str:
    return next(e.id for e in run.events() if e.type == TOOL_CALLED and e.data["tool"] == tool)


def returned(run: Run, tool: str) -> str:
    call = called(run, tool)
    return next(e.id for e in run.events() if e.type == TOOL_RETURNED and call in e.cause)


def test_a_call_is_taken_back_with_its_arguments_and_its_result(store: Store, hotel: Hotel) -> None:
    run = store.start("hotel", "Rome")
    assert hotel.rooms == ["Rome"]

    run.undo(returned(run, "book"), by="ann")
    assert hotel.rooms == ["Rome"]
    run.resume()

    assert hotel.rooms == []
    undo, answer = last(run, TOOL_CALLED), last(run, TOOL_RETURNED)
    arguments = {"city": "Rome", "result": {"room": "Rome-2"}}
    assert undo.data == {"tool": "cancel", "arguments": arguments, "undoes": called(run, "book")}
    assert (undo.actor, undo.cause) == ("ann", [returned(run, "book")])
    assert answer.data["result"] == "cancelled Rome-2"
    followed = run.trace(called(run, "book"), down=True)
    assert undo.position in [step.position for step in followed.steps]
    assert run.replay(strict=True).is_strict


def test_a_call_is_taken_back_once(store: Store, hotel: Hotel) -> None:
    run = store.start("hotel", "Rome")
    book = called(run, "book")

    assert run.undo(book).is_new
    assert not run.undo(book).is_new
    run.resume()

    with pytest.raises(InvalidData, match=r"was undone by tool\.called@kando:undo:tool\.called-3"):
        run.undo(book)
    with pytest.raises(InvalidData, match=r"was undone by"):
        run.undo(returned(run, "book"))


def test_an_undo_that_fails_may_be_tried_again(store: Store, hotel: Hotel) -> None:
    run = store.start("hotel", "Rome")
    hotel.is_closed = True
    run.undo(called(run, "book"))
    run.resume()
    assert last(run, TOOL_RETURNED).data["error"]["type"] == "ConnectionError"
    hotel.is_closed = False

    assert run.undo(called(run, "book")).is_new
    run.resume()

    assert hotel.rooms == []


def test_a_person_decides_about_an_undo_as_about_any_call(store: Store, hotel: Hotel) -> None:
    @hotel.kit.policy
    def ask(intent: KandoEvent) -> Ask | None:
        return Ask("really?") if intent.data["tool"] == "cancel" else None

    run = store.start("hotel", "Rome")
    run.undo(called(run, "book"))
    run.resume()
    assert hotel.rooms == ["Rome"]
    with pytest.raises(InvalidData, match="is undone by"):
        run.undo(called(run, "book"))
    (approval,) = run.approvals()

    run.approve(approval.event_id)
    run.resume()

    assert hotel.rooms == []


def test_a_branch_does_not_undo_a_call_of_its_parent(store: Store, hotel: Hotel) -> None:
    run = store.start("hotel", "Rome")
    book = called(run, "book")
    branch = run.fork(at=run.length())
    again = run.fork(at=3)
    again.resume()

    for each in (branch, again):
        with pytest.raises(InvalidData, match="was made by the parent of this branch"):
            each.undo(called(each, "book"))
    run.undo(book)
    run.resume()
    assert hotel.rooms == []


@pytest.mark.parametrize(
    ("goal", "tool", "problem"),
    [
        ("Rome", "look", r"called 'look', which kit 'hotel' cannot undo"),
        ("Nowhere", "book", r"has failed"),
    ],
)
def test_a_call_that_cannot_be_undone_is_refused(
    store: Store, goal: str, tool: str, problem: str
) -> None:
    run = store.start("hotel", goal)

    with pytest.raises(InvalidData, match=problem):
        run.undo(called(run, tool))


def test_only_an_answered_call_of_the_run_is_undone(store: Store, hotel: Hotel) -> None:
    run = store.start("hotel", "Rome", work=False)
    run.send(TOOL_CALLED, {"tool": "book", "arguments": {"city": "Oslo", "nights": 1}})
    run.pause()
    run.resume()
    trip = next(event.id for event in run.events() if event.type == "object.created")

    with pytest.raises(EventNotFound, match="has no event 'nothing'"):
        run.undo("nothing")
    with pytest.raises(InvalidData, match=r"is of type object\.created; only a call"):
        run.undo(trip)


def test_an_answer_by_hand_is_undone_by_hand(store: Store, hotel: Hotel) -> None:
    @hotel.kit.policy
    def ask(intent: KandoEvent) -> Ask | None:
        return Ask("really?") if intent.data["tool"] == "book" else None

    run = store.start("hotel", "Rome")
    with pytest.raises(InvalidData, match="has no answer yet"):
        run.undo(called(run, "book"))
    run.answer(called(run, "book"), result={"room": "1"})
    run.resume()

    with pytest.raises(InvalidData, match="was answered by hand: no tool was called"):
        run.undo(called(run, "book"))
