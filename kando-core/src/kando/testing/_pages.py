"""Tests of ledgers and substrates that hold more than a page of anything.

A store reads and writes in pages: of 500 or 1,000 events, of 100 entries, of 64 KiB. A fault at the
edge of one shows only with more content than the other tests have.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import attrs
import pytest

from kando.ledger.chain import digest_of
from kando.ledger.inbox import InboxEntry
from kando.ledger.interface import LedgerStore
from kando.ledger.memory import MemoryLedgerStore
from kando.ledger.substrate import Substrate
from kando.schema.events import KandoEvent, RecordedEvent, make_event

__all__ = ["LargeLedgerTests", "LargeSubstrateTests"]

#: More than a thousand events, appended in batches that end on both sides of the usual pages.
_BATCHES = (1, 498, 2, 499, 1, 23, 179)
_EVENTS = sum(_BATCHES)

#: Positions around the edges of pages of 100, 128, 256, 500, 512, 1000 and 1024 events.
_EDGES = sorted(
    {0, _EVENTS - 1}
    | {page + near for page in (100, 128, 256, 500, 512, 1000, 1024) for near in (-1, 0, 1)}
)

#: Sizes of text around those of pages and buffers, in characters.
_SIZES = (1023, 1024, 4096, 65_535, 65_536, 65_537, 131_073, 300_000)

#: More than a hundred ledgers, entries or slots.
_MANY = 130


class LargeLedgerTests:
    """A mix-in of `kando.testing.ledgers.LedgerContract`."""

    def make_ledger(self, path: Path, run_id: str) -> LedgerStore:
        """Return the ledger `run_id` at `path`; create it if it does not exist."""
        raise NotImplementedError  # pragma: no cover

    def test_events_beyond_a_page_are_read_back_from_any_position(
        self, ledger: LedgerStore
    ) -> None:
        expected = _recorded_events()
        _append_in_batches(ledger, expected)

        assert ledger.length() == _EVENTS
        assert _differing(ledger.read_all(), expected) is None
        for start in _EDGES:
            assert _differing(islice(ledger.read(start), 2), expected[start : start + 2]) is None
        assert _differing(ledger.read(501), expected[501:]) is None

    def test_events_beyond_a_page_are_found_by_position_and_by_id(
        self, ledger: LedgerStore
    ) -> None:
        expected = _recorded_events()
        _append_in_batches(ledger, expected)

        for position in _EDGES:
            wanted = [expected[position]]
            assert _differing([ledger.at(position)], wanted) is None
            assert _differing([ledger.find(expected[position].id)], wanted) is None
            assert ledger.digest(position) == digest_of(expected, position)
        assert ledger.digest(_EVENTS) == digest_of(expected, _EVENTS)

    def test_links_and_events_about_an_object_cross_pages(self, ledger: LedgerStore) -> None:
        expected = _recorded_events()
        _append_in_batches(ledger, expected)

        links = [(event.position, event.id, event.cause) for event in expected]
        assert [tuple(link) for link in ledger.links(0, _EVENTS)] == links
        assert [tuple(link) for link in ledger.links(499, 1001)] == links[499:1001]
        about = [event for event in expected if event.data.get("id") == "o"]
        assert len(about) > 100
        # From the last creation on; `events_about` goes back no further.
        first = max(n for n, event in enumerate(about) if event.type == "object.created")
        assert _differing(ledger.events_about({"o"}, set(), _EVENTS), about[first:]) is None

    def test_the_version_of_an_event_is_kept(self, ledger: LedgerStore) -> None:
        events = [attrs.evolve(event, version=n + 1) for n, event in enumerate(_recorded_events(5))]
        ledger.append([*events])

        assert [event.version for event in ledger.read_all()] == [1, 2, 3, 4, 5]
        assert _differing([ledger.at(3)], events[3:4]) is None
        assert _differing([ledger.find(events[4].id)], events[4:]) is None

    def test_a_reader_across_pages_sees_no_event_that_is_appended_later(
        self, ledger: LedgerStore
    ) -> None:
        _append_in_batches(ledger, _recorded_events())
        readers = [(ledger.read_all(), _EVENTS), (ledger.read(700), _EVENTS - 700)]
        for reader, _ in readers:
            next(reader)

        ledger.append([make_event("later", "", "x", [], {}) for _ in range(3)])

        for reader, length in readers:
            rest = [*islice(reader, length // 2)]
            ledger.append([make_event("later", "", "x", [], {})])
            rest += reader
            assert len(rest) == length - 1
            assert {event.type for event in rest}.isdisjoint({"later"})

    @pytest.mark.parametrize("size", _SIZES)
    def test_data_of_any_size_is_kept(self, ledger: LedgerStore, size: int) -> None:
        data: dict[str, Any] = {
            "ascii": "".join(chr(97 + n % 26) for n in range(size)),
            "wide": "ক" * (size // 3) + "x" * (size % 3),
            "list": list(range(size // 8)),
        }
        ledger.append([make_event("large", "", "x", [], data) for _ in range(2)])

        assert [event.data for event in ledger.read_all()] == [data, data]
        found = ledger.at(1)
        assert found is not None
        assert found.data == data
        assert ledger.digest(2) == digest_of([*ledger.read_all()], 2)

    def test_an_event_with_more_causes_than_a_page_is_kept(self, ledger: LedgerStore) -> None:
        ledger.append([make_event("cause", "", "x", [], {}) for _ in range(1100)])
        causes = [f"cause-{n}" for n in range(1100)]
        ledger.append([make_event("effect", "", "x", causes, {})])

        found = ledger.at(1100)
        assert found is not None
        assert found.cause == causes
        assert [tuple(link) for link in ledger.links(1100, 1101)] == [(1100, found.id, causes)]


class LargeSubstrateTests:
    """A mix-in of `kando.testing.substrates.SubstrateContract`."""

    def test_more_ledgers_than_a_page_are_listed(self, substrate: Substrate) -> None:
        substrate.create("r-0").append([make_event("seed", "", "x", [], {})])
        for n in range(1, _MANY):
            if n % 2:
                substrate.create(f"r-{n}")
            else:
                substrate.fork("r-0", 1, f"r-{n}")
        ids = [f"r-{n}" for n in range(_MANY)]

        assert [info.id for info in substrate.ledgers()] == ids[::-1]
        assert sorted(substrate.ids_starting_with("r-", 1000)) == sorted(ids)
        assert len(substrate.ids_starting_with("r-", 120)) == 120
        assert substrate.info("r-101").parent_id is None
        assert substrate.info("r-128").parent_id == "r-0"
        assert [substrate.open(f"r-{n}").length() for n in (0, 101, 128)] == [1, 0, 1]

    def test_more_entries_than_a_page_stay_in_order(self, substrate: Substrate) -> None:
        substrate.create("r1")
        keys = [f"key {_MANY - n}" for n in range(_MANY)]
        for n, key in enumerate(keys):
            data = {"n": n, "text": "x" * (65_537 if n == 101 else 1)}
            assert substrate.deliver("r1", InboxEntry(key, make_event("note", "", "x", [], data)))

        entries = substrate.inbox("r1")
        assert [(each.key, each.event.data["n"]) for each in entries] == [
            (key, n) for n, key in enumerate(keys)
        ]
        assert len(entries[101].event.data["text"]) == 65_537
        for key in keys[:-15]:
            substrate.acknowledge("r1", key)
        assert [each.key for each in substrate.inbox("r1")] == keys[-15:]
        again = InboxEntry(keys[0], make_event("note", "", "x", [], {}))
        assert not substrate.deliver("r1", again)

    def test_more_responses_than_a_page_are_cached(self, substrate: Substrate) -> None:
        substrate.create("r1")
        substrate.fork("r1", 0, "b1")
        responses = {f"key{n}": f"{n}".encode() * (30_000 if n == 101 else 1) for n in range(_MANY)}
        for key, response in responses.items():
            substrate.cache("r1", key, response)

        for ledger in ("r1", "b1"):
            assert {key: substrate.cached(ledger, key) for key in responses} == responses

    def test_a_branch_shares_more_than_a_page(self, substrate: Substrate) -> None:
        expected = _recorded_events()
        _append_in_batches(substrate.create("r1"), expected)

        for position in (499, 500, 501, 1000, 1001):
            branch = substrate.fork("r1", position, f"b{position}")
            length = branch.append([make_event("tail", "", "x", [], {}) for _ in range(510)])
            events = [*branch.read_all()]
            assert length == len(events) == position + 510
            assert _differing(events[:position], expected[:position]) is None
            assert {event.type for event in events[position:]} == {"tail"}
            assert [event.position for event in events] == list(range(length))
            assert branch.digest(length) == digest_of(events, length)
        assert _differing(substrate.open("r1").read_all(), expected) is None

    def test_a_snapshot_of_many_pages_is_kept(self, substrate: Substrate) -> None:
        substrate.create("r1")
        body = bytes(range(251)) * 6000
        substrate.store_snapshot("r1", body)

        assert substrate.snapshot("r1") in (body, None)


def _recorded_events(count: int = _EVENTS) -> list[RecordedEvent]:
    """Return events as another ledger recorded them: of several types, versions and sizes."""
    events: list[KandoEvent] = []
    for n in range(count):
        data: dict[str, Any] = {"n": n, "text": f"ক{n}" * (n % 7)}
        type = "thing.happened"
        if n % 5 == 0:
            type, data = "object.patched", {"id": "o", "patch": {"n": n}}
            if n % 500 == 0:
                type, data = "object.created", {"id": "o", "type": "T", "data": {"n": n}}
        cause = [_id_of(events, n - 1)] if n % 3 == 1 else []
        event = make_event(type, "", f"actor {n % 11}", cause, data)
        # Every 50th event has an id of its own.
        events.append(attrs.evolve(event, id=f"named {n}") if n % 50 == 1 else event)
    reference = MemoryLedgerStore("r1")
    reference.append(events)
    return [attrs.evolve(each, version=1 + each.position % 3) for each in reference.read_all()]


def _id_of(events: list[KandoEvent], position: int) -> str:
    return events[position].id or f"{events[position].type}-{position}"


def _append_in_batches(ledger: LedgerStore, events: list[RecordedEvent]) -> None:
    rest: Iterator[RecordedEvent] = iter(events)
    length = 0
    for size in _BATCHES:
        length = ledger.append([*islice(rest, size)], expected_length=length)


def _differing(actual: Any, expected: list[RecordedEvent]) -> str | None:
    """Return the first field of an event that differs, or None."""
    found = [*actual]
    if len(found) != len(expected):
        return f"{len(found)} events instead of {len(expected)}"
    for event, wanted in zip(found, expected, strict=True):
        for field in attrs.fields(RecordedEvent):
            old, new = getattr(wanted, field.name), getattr(event, field.name, None)
            if old != new:
                return f"{field.name} of {wanted.id} is {new!r:.80} instead of {old!r:.80}"
    return None
