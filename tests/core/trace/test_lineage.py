"""The chain from an event back to its goal."""

import pytest

from kando.errors import EventNotFound
from kando.ledger.memory import MemoryLedgerStore
from kando.schema.events import make_event
from kando.trace.lineage import build_lineage_index, explain, trace


def ledger_of(*causes: list[str]) -> MemoryLedgerStore:
    ledger = MemoryLedgerStore("r")
    ledger.append([make_event("e", "", "cli", cause, {}) for cause in causes])
    return ledger


def test_a_trace_leads_from_the_event_to_its_root() -> None:
    index = build_lineage_index(ledger_of([], ["e-0"], ["e-1"]).read_all())

    assert trace("e-2", index) == ["e-2", "e-1", "e-0"]


def test_a_trace_is_breadth_first_with_the_roots_last_and_each_event_once() -> None:
    events = list(ledger_of([], ["e-0"], [], ["e-0", "e-1", "e-2"], ["e-3", "e-1"]).read_all())

    found = [event.id for event in explain("e-4", events)]

    assert found == ["e-4", "e-3", "e-1", "e-0", "e-2"]


def test_explaining_an_unknown_event_names_it() -> None:
    with pytest.raises(EventNotFound, match="'e-9'") as caught:
        explain("e-9", ledger_of([]).read_all())

    assert isinstance(caught.value, KeyError)


def test_an_unknown_cause_is_traced_as_a_root_and_left_out_of_the_explanation() -> None:
    events = list(ledger_of([], ["e-0", "lost"], ["e-1"]).read_all())

    assert trace("e-2", build_lineage_index(events)) == ["e-2", "e-1", "e-0", "lost"]
    assert [event.id for event in explain("e-2", events)] == ["e-2", "e-1", "e-0"]


def test_a_chain_of_ten_thousand_events_does_not_exceed_the_recursion_limit() -> None:
    causes: list[list[str]] = [[], *([f"e-{n}"] for n in range(9999))]
    index = build_lineage_index(ledger_of(*causes).read_all())

    assert len(trace("e-9999", index)) == 10_000
