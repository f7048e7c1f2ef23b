"""Walks along causes: complete, in order, and reading no more than they need."""

from collections.abc import Collection, Iterator
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
from kando.trace.walking import ancestors, descendants


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

    def links(self, start: int, stop: int, *, besides: Collection[str] = ()) -> Iterator[Link]:
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


@settings(deadline=None)
@given(graphs, st.data())
def test_up_is_what_the_index_of_all_events_tells(
    graph: list[list[int]], data: st.DataObject
) -> None:
    ledger = ledger_of(graph)
    start = f"e-{data.draw(st.integers(0, len(graph) - 1))}"

    steps = ancestors(ledger, start)

    assert [step.id for step in steps] == trace(start, build_lineage_index(ledger.read_all()))
    for step in steps:
        assert ledger.at(step.position) == ledger.find(step.id)
    limit = data.draw(st.integers(0, 5))
    near = {step.id for step in steps if step.depth <= limit}
    assert {step.id for step in ancestors(ledger, start, depth=limit)} == near


@settings(deadline=None)
@given(graphs, st.data())
def test_down_is_up_turned_round(graph: list[list[int]], data: st.DataObject) -> None:
    ledger = ledger_of(graph)
    start = f"e-{data.draw(st.integers(0, len(graph) - 1))}"

    steps = list(descendants(ledger, start))

    assert steps[0].id == start
    assert [s.position for s in steps] == sorted({s.position for s in steps})
    above = {
        id: {step.id: step.depth for step in ancestors(ledger, id)}
        for id in (f"e-{n}" for n in range(len(graph)))
    }
    expected = {id: known[start] for id, known in above.items() if start in known}
    assert {step.id: step.depth for step in steps} == expected
    limit = data.draw(st.integers(0, 5))
    near = [step for step in steps if step.depth <= limit]
    assert list(descendants(ledger, start, depth=limit)) == near


def test_a_long_chain_is_read_in_pages_and_a_short_way_up_stays_short() -> None:
    ledger = ledger_of([[1]] * 10_000)

    assert len(ancestors(ledger, "e-9999")) == 10_000
    assert ledger.found < 12
    assert ledger.events_read == 0

    ledger.found = ledger.links_read = 0
    assert len(ancestors(ledger, "e-9999", depth=5)) == 6
    assert ledger.found + ledger.links_read < 20


def test_causes_that_are_far_away_are_not_searched_for_in_between() -> None:
    ledger = Counting()
    for n in range(5000):
        ledger.append([event(*([f"e-{n - 1000}"] if n >= 1000 else []))])

    assert [step.position for step in ancestors(ledger, "e-4999")] == [4999, 3999, 2999, 1999, 999]

    assert ledger.links_read < 100


def test_what_is_left_out_is_found_if_the_way_leads_through_it(tmp_path: Path) -> None:
    ledger = SQLiteLedgerStore("r", tmp_path / "store")
    ledger.append([event(), event("e-0", type="note"), event("note-1"), event("e-2"), event("e-0")])

    steps = ancestors(ledger, "e-3", besides={"note"})
    assert [step.id for step in steps] == ["e-3", "e-2", "note-1", "e-0"]
    below = [step.id for step in descendants(ledger, "e-0", besides={"note"})]
    assert below == ["e-0", "e-4"]
    below = [step.id for step in descendants(ledger, "e-0", stop=3)]
    assert below == ["e-0", "note-1", "e-2"]
    ledger.close()


@pytest.mark.parametrize("start", ["nothing", "e-1"])
def test_an_event_or_cause_that_is_not_there_is_named(start: str) -> None:
    ledger: LedgerStore = MemoryLedgerStore("r")
    ledger.append([event(), event("gone-7")])

    with pytest.raises(EventNotFound, match=r"'nothing'|'gone-7'"):
        ancestors(ledger, start)
    with pytest.raises(EventNotFound, match="'nothing'"):
        list(descendants(ledger, "nothing"))
