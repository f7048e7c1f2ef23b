"""Walks along causes are complete and in order, and read only what they need."""

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kando.errors import EventNotFound
from kando.ledger.interface import LedgerStore, Link
from kando.ledger.memory import MemoryLedgerStore
from kando.ledger.sqlite import SQLiteLedgerStore
from kando.schema.events import KandoEvent, RecordedEvent, make_event
from kando.trace.lineage import build_lineage_index, trace
from kando.trace.walk import Step, ancestors, descendants
from kando.views.causes import LineageIndex


def event(*cause: str, type: str = "e") -> KandoEvent:
    return make_event(type, "", "cli", list(cause), {})


class Counting(MemoryLedgerStore):
    """A ledger that counts what is asked of it."""

    def __init__(self) -> None:
        super().__init__("r")
        self.events_read = self.links_read = self.found = 0

    def read(self, from_position: int = 0) -> Iterator[RecordedEvent]:
        for each in super().read(from_position):
            self.events_read += 1
            yield each

    def find(self, event_id: str) -> RecordedEvent | None:
        self.found += 1
        return super().find(event_id)

    def links(self, start: int, stop: int, *, excluding: Collection[str] = ()) -> Iterator[Link]:
        for each in self._read(start, stop):
            self.links_read += 1
            yield Link(each.position, each.id, each.cause)


#: The causes of each event, as distances back; what lies before the ledger's start is left out.
graphs = st.lists(st.lists(st.integers(1, 12), max_size=3, unique=True), min_size=1, max_size=25)


def ledger_of(graph: list[list[int]]) -> Counting:
    ledger = Counting()
    for position, back in enumerate(graph):
        ledger.append([event(*(f"e-{position - n}" for n in back if n <= position))])
    return ledger


def ids_of(ledger: LedgerStore, steps: Iterable[Step]) -> list[str]:
    events = [ledger.at(step.position) for step in steps]
    return [event.id for event in events if event is not None]


def index_of(ledger: LedgerStore, length: int, *, at_once: int = 7) -> LineageIndex:
    """Return the index of the first events, taken in some at a time, stored and read back."""
    index, events = LineageIndex(), list(ledger.read(0))[:length]
    places = {event.id: event.position for event in events}
    for start in range(0, length, at_once):
        index.extend(events[start : min(start + at_once, length)], places.get)
    return LineageIndex.from_state(index.state())


@settings(deadline=None)
@given(graphs, st.data())
def test_ancestors_are_those_of_the_index_of_all_events(
    graph: list[list[int]], data: st.DataObject
) -> None:
    ledger = ledger_of(graph)
    start = f"e-{data.draw(st.integers(0, len(graph) - 1))}"

    index = index_of(ledger, data.draw(st.integers(0, len(graph))))

    steps = ancestors(ledger, start, index=index)

    assert ids_of(ledger, steps) == trace(start, build_lineage_index(ledger.read_all()))
    for step in steps:
        causes = [ledger.at(cause).id for cause in step.causes]
        assert causes == ledger.at(step.position).cause
    assert steps == ancestors(ledger, start)
    limit = data.draw(st.integers(0, 5))
    near = {step.position for step in steps if step.depth <= limit}
    found = ancestors(ledger, start, depth=limit, index=index)
    assert {step.position for step in found} == near


@settings(deadline=None)
@given(graphs, st.data())
def test_descendants_are_the_events_that_have_it_as_an_ancestor(
    graph: list[list[int]], data: st.DataObject
) -> None:
    ledger = ledger_of(graph)
    start = f"e-{data.draw(st.integers(0, len(graph) - 1))}"

    index = index_of(ledger, data.draw(st.integers(0, len(graph))))

    steps = list(descendants(ledger, start, index=index))

    assert ids_of(ledger, steps)[0] == start
    assert [s.position for s in steps] == sorted({s.position for s in steps})
    above = {
        id: {step.position: step.depth for step in ancestors(ledger, id)}
        for id in (f"e-{n}" for n in range(len(graph)))
    }
    first = steps[0].position
    expected = {id: known[first] for id, known in above.items() if first in known}
    depths = dict(zip(ids_of(ledger, steps), [step.depth for step in steps], strict=True))
    assert depths == expected
    assert steps == list(descendants(ledger, start))
    limit = data.draw(st.integers(0, 5))
    near = [(step.position, step.depth) for step in steps if step.depth <= limit]
    found = descendants(ledger, start, depth=limit, index=index)
    assert [(step.position, step.depth) for step in found] == near


def test_a_long_chain_is_read_in_pages_and_a_short_one_with_few_reads() -> None:
    ledger = ledger_of([[1]] * 10_000)

    assert len(ancestors(ledger, "e-9999")) == 10_000
    assert ledger.found < 12
    assert ledger.events_read == 0

    ledger.found = ledger.links_read = 0
    assert len(ancestors(ledger, "e-9999", depth=5)) == 6
    assert ledger.found + ledger.links_read < 20


def test_events_between_an_event_and_a_distant_cause_are_not_read() -> None:
    ledger = Counting()
    for n in range(5000):
        ledger.append([event(*([f"e-{n - 1000}"] if n >= 1000 else []))])

    assert [step.position for step in ancestors(ledger, "e-4999")] == [4999, 3999, 2999, 1999, 999]

    assert ledger.links_read < 100


def test_an_excluded_ancestor_is_still_found(tmp_path: Path) -> None:
    ledger = SQLiteLedgerStore("r", tmp_path / "store")
    ledger.append([event(), event("e-0", type="note"), event("note-1"), event("e-2"), event("e-0")])

    steps = ancestors(ledger, "e-3", excluding={"note"})
    assert ids_of(ledger, steps) == ["e-3", "e-2", "note-1", "e-0"]
    for size in range(6):
        index = index_of(ledger, size)
        below = list(descendants(ledger, "e-0", excluding={"note"}, index=index))
        assert ids_of(ledger, below) == ["e-0", "e-4"]
        below = list(descendants(ledger, "e-0", stop=3, index=index))
        assert ids_of(ledger, below) == ["e-0", "note-1", "e-2"]
    ledger.close()


@pytest.mark.parametrize("start", ["nothing", "e-1"])
def test_a_missing_event_or_cause_is_named_in_the_error(start: str) -> None:
    ledger: LedgerStore = MemoryLedgerStore("r")
    ledger.append([event(), event("gone-7")])

    for index in (None, index_of(ledger, 2)):
        with pytest.raises(EventNotFound, match=r"'nothing'|'gone-7'"):
            ancestors(ledger, start, index=index)
    with pytest.raises(EventNotFound, match="'nothing'"):
        list(descendants(ledger, "nothing"))


def test_links_that_the_index_has_are_not_read() -> None:
    ledger = ledger_of([[1]] * 2_000)
    index = index_of(ledger, 1_900)
    ledger.found = ledger.links_read = ledger.events_read = 0

    assert len(ancestors(ledger, "e-1999", index=index)) == 2_000
    assert len(list(descendants(ledger, "e-0", index=index))) == 2_000

    assert ledger.links_read <= 300
    assert ledger.found < 20
    assert ledger.events_read == 0


def test_a_cause_that_the_index_does_not_know_is_read_from_the_ledger() -> None:
    ledger = Counting()
    ledger.append([event("e-1"), event(), event("e-0", "e-1")])
    index = LineageIndex()
    index.extend(list(ledger.read(0)), lambda id: None)

    assert ids_of(ledger, ancestors(ledger, "e-2", index=index)) == ["e-2", "e-0", "e-1"]
    assert list(descendants(ledger, "e-1", index=index)) == list(descendants(ledger, "e-1"))


@pytest.mark.parametrize("damage", [b"", b"\0\0\0\x02{}", "short", "types"])
def test_a_stored_index_whose_parts_do_not_match_is_refused(damage: bytes | str) -> None:
    state = index_of(ledger_of([[1]] * 30), 30).state()
    if isinstance(damage, bytes):
        state = damage
    else:
        state = state[:-4] if damage == "short" else state[:-1] + b"\1"

    with pytest.raises(ValueError, match=r"damage|short|do not match|multiple|missing|truncated"):
        LineageIndex.from_state(state)
