"""Conformance tests that every ledger store must pass.

The test of a store is a subclass that creates one::

    class TestMyLedger(LedgerContract):
        def make_ledger(self, path, run_id):
            return MyLedgerStore(run_id, path)
"""

# long: the contract of a ledger, test by test; larger topics are mix-ins of their own.

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

import attrs
import pytest

from kando.errors import ConcurrencyError, DuplicateEvent, InvalidData, PositionOutOfRange
from kando.ledger.chain import digest_of
from kando.ledger.interface import LedgerStore
from kando.ledger.memory import MemoryLedgerStore
from kando.ledger.verification import verify
from kando.schema.events import KandoEvent, RecordedEvent, make_event
from kando.schema.parts import blobs_of
from kando.testing._killed import KilledLedgerTests
from kando.testing._pages import LargeLedgerTests

__all__ = ["LedgerContract", "all_fields", "conversation", "event", "with_parts"]

_EAST = timezone(timedelta(hours=5, minutes=30))


def event(n: int = 0, *, id: str = "", cause: list[str] | None = None) -> KandoEvent:
    """Return an event to append; `n` distinguishes it from others."""
    new = make_event("thing.happened", "", "tester", cause or [], {"n": n})
    return KandoEvent(id, new.type, new.source, new.actor, new.cause, new.timestamp, new.data)


def conversation(turns: int) -> list[dict[str, Any]]:
    """Return the messages of a conversation; every other result of a tool is a long text."""
    said: list[dict[str, Any]] = [{"role": "system", "content": "Go on."}]
    for n in range(turns):
        call = {"id": f"c{n}", "name": "look", "arguments": {"n": n}}
        said.append({"role": "assistant", "content": "", "tool_calls": [call]})
        said.append(
            {"role": "tool", "tool_call_id": f"c{n}", "content": f"{n}é" * (600 if n % 2 else 9)}
        )
    return said


def with_parts(messages: list[dict[str, Any]]) -> KandoEvent:
    """Return an event to append, with these messages and a long text."""
    data = {"messages": messages, "model": "m", "system": "é" * 1000, "own": {"$kando": ["text"]}}
    return make_event("llm.request", "", "tester", [], data)


def all_fields(recorded: RecordedEvent) -> tuple[Any, ...]:
    """Return every field that a ledger must keep of an event."""
    e = recorded
    return (
        (e.id, e.type, e.source, e.actor, e.cause, e.timestamp, e.data),
        (e.position, e.lineage_key, e.version, e.encoded),
    )


class LedgerContract(LargeLedgerTests, KilledLedgerTests):
    """Tests of the promises of every ledger store."""

    def make_ledger(self, path: Path, run_id: str) -> LedgerStore:
        """Return the ledger `run_id` at `path`; create it if it does not exist."""
        raise NotImplementedError  # pragma: no cover

    #: Whether a ledger that is reopened at the same path has its earlier events.
    is_durable = True

    @pytest.fixture
    def ledger(self, tmp_path: Path) -> Iterator[LedgerStore]:
        opened = self.make_ledger(tmp_path / "store", "r1")
        yield opened
        opened.close()

    def test_a_new_ledger_is_empty(self, ledger: LedgerStore) -> None:
        assert ledger.stream_name() == "run:r1"
        assert list(ledger.read_all()) == []
        assert ledger.length() == 0
        assert ledger.at(0) is None
        assert ledger.digest(0) == bytes(32)

    def test_append_returns_the_length_afterwards(self, ledger: LedgerStore) -> None:
        assert ledger.append([event(0), event(1)]) == 2
        assert ledger.append([]) == 2
        assert ledger.append([event(2)], expected_length=2) == 3
        assert ledger.length() == 3

    def test_every_field_of_an_event_is_read_back(self, ledger: LedgerStore) -> None:
        at = datetime(2026, 2, 3, 4, 5, 6, 789012, _EAST)
        data: dict[str, Any] = {
            "text": "কাণ্ড \n\x00",
            "list": [1, 2.5, None, True, {"deep": []}],
            "": {},
        }
        first = KandoEvent("mine", "a.b", "run:other", "who", [], at, data)
        ledger.append([first, event(1, cause=["mine"])])

        a, b = ledger.read_all()

        assert a == first
        assert (a.position, a.version, len(a.lineage_key)) == (0, 1, 32)
        assert (b.id, b.source, b.cause) == ("thing.happened-1", "run:r1", ["mine"])
        assert a.timestamp.utcoffset() is not None

    def test_recorded_events_are_appended_unchanged(
        self, ledger: LedgerStore, tmp_path: Path
    ) -> None:
        ledger.append([event(n) for n in range(3)])
        before = [all_fields(e) for e in ledger.read_all()]
        other = self.make_ledger(tmp_path / "other", "r1")
        other.append(list(ledger.read_all()))

        assert [all_fields(e) for e in other.read_all()] == before
        assert other.digest(3) == ledger.digest(3)
        other.close()

    def test_reading_starts_at_a_position(self, ledger: LedgerStore) -> None:
        ledger.append([event(n) for n in range(5)])

        assert [e.data["n"] for e in ledger.read(3)] == [3, 4]
        assert list(ledger.read(5)) == list(ledger.read(99)) == []
        with pytest.raises(PositionOutOfRange):
            ledger.read(-1)

    def test_a_reader_sees_the_ledger_as_it_was_at_the_start(self, ledger: LedgerStore) -> None:
        ledger.append([event(0), event(1)])

        seen = []
        for e in ledger.read_all():
            seen.append(e.data["n"])
            ledger.append([event(e.data["n"] + 10)])

        assert seen == [0, 1]
        assert [e.data["n"] for e in ledger.read_all()] == [0, 1, 10, 11]

    def test_an_append_with_a_wrong_expected_length_is_refused_and_writes_nothing(
        self, ledger: LedgerStore
    ) -> None:
        ledger.append([event(0)])

        for expected in (0, 2):
            with pytest.raises(ConcurrencyError, match="run:r1"):
                ledger.append([event(1)], expected_length=expected)

        assert [e.data["n"] for e in ledger.read_all()] == [0]

    @pytest.mark.parametrize(
        "batch",
        [
            [event(1), event(2, id="taken")],
            [event(1, id="twice"), event(2, id="twice")],
            [event(1), event(2, id="thing.happened-0")],
            [event(1), event(2, id="thing.happened-2")],
        ],
        ids=["explicit", "within the batch", "a default id", "a default id of the batch"],
    )
    def test_a_batch_with_a_taken_id_is_refused_as_a_whole(
        self, ledger: LedgerStore, batch: list[KandoEvent]
    ) -> None:
        ledger.append([event(0), event(0, id="taken")])

        with pytest.raises(DuplicateEvent):
            ledger.append([event(7, id="thing.happened-2"), *batch])

        assert ledger.length() == 2

    @pytest.mark.parametrize(
        "bad",
        [
            KandoEvent("", "x", "", "", [], datetime(2026, 1, 1), {}),
            KandoEvent("", "x", "", "", [], datetime.min.replace(tzinfo=_EAST), {}),
            KandoEvent("", "x", "", "\ud800", [], datetime(2026, 1, 1, tzinfo=_EAST), {}),
            KandoEvent("", "x", "", "", ["\ud800"], datetime(2026, 1, 1, tzinfo=_EAST), {}),
            KandoEvent("", "x", "", "", [], datetime(2026, 1, 1, tzinfo=_EAST), {"a": "\ud800"}),
            KandoEvent("", "x", "", "", [], datetime(2026, 1, 1, tzinfo=_EAST), []),  # type: ignore[arg-type]
        ],
        ids=["no time zone", "before year 1", "actor", "cause", "text in data", "a list as data"],
    )
    def test_an_event_that_could_not_be_read_back_is_refused(
        self, ledger: LedgerStore, bad: KandoEvent
    ) -> None:
        with pytest.raises(InvalidData):
            ledger.append([event(0), bad])

        assert list(ledger.read_all()) == []

    def test_a_batch_with_data_that_is_not_json_is_refused_as_a_whole(
        self, ledger: LedgerStore
    ) -> None:
        bad = make_event("x", "", "", [], {"a": {1, 2}})

        with pytest.raises(InvalidData, match=r"data\.a"):
            ledger.append([event(0), bad])

        assert ledger.length() == 0

    def test_events_are_found_by_position_and_by_id(self, ledger: LedgerStore) -> None:
        ledger.append([event(0), event(1, id="named"), event(2)])

        assert [ledger.at(n).data["n"] for n in range(3)] == [0, 1, 2]  # type: ignore[union-attr]
        assert ledger.at(3) is None
        for id, n in (("thing.happened-0", 0), ("named", 1), ("thing.happened-2", 2)):
            assert ledger.find(id).data["n"] == n  # type: ignore[union-attr]
        for unknown in ("thing.happened-1", "other-0", "thing.happened-3", "", "x-99999999999"):
            assert ledger.find(unknown) is None

    def test_a_position_outside_every_ledger_is_empty_or_refused(self, ledger: LedgerStore) -> None:
        ledger.append([event(0), event(1)])

        for position in (2**31, 2**32, 2**32 + 1, 2**63, 2**70):
            assert ledger.at(position) is None
            assert list(ledger.read(position)) == []
            with pytest.raises(PositionOutOfRange):
                ledger.digest(position)
        with pytest.raises(PositionOutOfRange):
            ledger.at(-1)
        with pytest.raises(PositionOutOfRange):
            ledger.digest(-1)

    def test_every_shortcut_agrees_with_reading_from_the_start(self, ledger: LedgerStore) -> None:
        ledger.append([event(n, id=f"named {n}" if n % 3 == 0 else "") for n in range(7)])

        assert ledger.length() == LedgerStore.length(ledger)
        for n in range(8):
            assert ledger.at(n) == LedgerStore.at(ledger, n)
            assert ledger.digest(n) == LedgerStore.digest(ledger, n)
            for id in (f"named {n}", f"thing.happened-{n}"):
                assert ledger.find(id) == LedgerStore.find(ledger, id)

    def test_links_return_the_causes_of_any_range_of_events(self, ledger: LedgerStore) -> None:
        ledger.append([event(0), event(1, id="named"), make_event("other", "", "x", ["named"], {})])
        ledger.append([event(3, cause=["other-2", "thing.happened-0"])])

        for start in range(5):
            for stop in range(7):
                expected = list(LedgerStore.links(ledger, start, stop))
                assert list(ledger.links(start, stop)) == expected
        assert [tuple(link) for link in ledger.links(1, 9, excluding={"other"})] == [
            (1, "named", []),
            (3, "thing.happened-3", ["other-2", "thing.happened-0"]),
        ]
        assert list(ledger.links(0, 4, excluding={"other"})) == list(
            LedgerStore.links(ledger, 0, 4, excluding={"other"})
        )

    @pytest.mark.parametrize("id", ["a", 'say "a"', "\\u0061\n\x01", "কাণ্ড 😀", "\x00a", ""])
    def test_events_about_an_object_or_relation_are_found(
        self, ledger: LedgerStore, id: str
    ) -> None:
        events: list[tuple[str, dict[str, Any]]] = [
            ("object.created", {"id": id, "type": "T", "data": {"id": "b"}}),
            ("object.created", {"id": "b", "type": "T", "data": {"id": id}}),
            ("object.patched", {"patch": {"id": "b"}, "id": id}),
            ("object.created", {"id": id, "type": "U", "data": {}}),
            ("note", {"id": id}),
            ("relation.created", {"type": "near", "id": "r", "source_id": id, "target_id": id}),
            ("relation.created", {"type": "near", "id": id, "source_id": id, "target_id": id}),
            ("object.patched", {"patch": {"id": "b"}, "id": id}),
            ("object.patched", {"id": 7, "patch": {}}),
            ("relation.removed", {"id": "r"}),
        ]
        ledger.append([make_event(type, "", "x", [], data) for type, data in events])

        def found(objects: set[str], relations: set[str], stop: int) -> list[int]:
            events = list(ledger.events_about(objects, relations, stop))
            assert events == list(LedgerStore.events_about(ledger, objects, relations, stop))
            return [each.position for each in events]

        assert found({id}, set(), 10) == [3, 7]
        assert found({id}, set(), 3) == [0, 2]
        assert found({id}, {id}, 99) == [3, 6, 7]
        assert found({"b", id}, {"r"}, 9) == [1, 3, 5, 7]
        assert found(set(), {"r"}, 10) == found({"r"}, set(), 10) == []
        assert found({"nobody", "7"}, {"b"}, 10) == found(set(), set(), 10) == []

    def test_the_hash_chain_covers_every_event(self, ledger: LedgerStore) -> None:
        ledger.append([event(n) for n in range(4)])
        events = list(ledger.read_all())

        digests = [ledger.digest(n) for n in range(5)]

        assert digests == [digest_of(events, n) for n in range(5)]
        assert len(set(digests)) == 5
        with pytest.raises(PositionOutOfRange):
            ledger.digest(5)

    def test_of_several_writers_with_the_same_expected_length_one_wins(
        self, ledger: LedgerStore
    ) -> None:
        for round in range(50):
            outcomes: list[str] = []
            barrier = threading.Barrier(8)

            def write(n: int, round: int = round) -> None:
                barrier.wait()  # noqa: B023 - joined before the next round
                try:
                    ledger.append([event(n), event(n)], expected_length=2 * round)
                    outcomes.append("won")  # noqa: B023
                except ConcurrencyError:
                    outcomes.append("lost")  # noqa: B023

            threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sorted(outcomes) == ["lost"] * 7 + ["won"]
        written = [e.data["n"] for e in ledger.read_all()]
        assert len(written) == 100
        assert written[::2] == written[1::2]

    def test_long_texts_and_growing_lists_are_read_back_whole(self, ledger: LedgerStore) -> None:
        said = conversation(30)
        for count in range(0, len(said) + 1, 5):
            ledger.append([with_parts(said[:count])])
        appended = [with_parts(said[:count]).data for count in range(0, len(said) + 1, 5)]

        assert [e.data for e in ledger.read_all()] == appended
        last = ledger.at(len(appended) - 1)
        assert last is not None
        assert last.data == appended[-1]
        assert verify(ledger).is_intact

    def test_what_was_stored_before_is_not_stored_again(self, ledger: LedgerStore) -> None:
        self.needs_blobs(ledger)
        said = conversation(30)

        for count in (50, 60, 61):
            ledger.append([with_parts(said[:count])])

        assert [len(e.encoded) < 500 for e in ledger.read_all()] == [True] * 3
        seen: set[bytes] = set()
        new = [len([*blobs_of(e.encoded, ledger.blobs, seen)]) for e in ledger.read_all()]
        assert new == [50 + 12 + 1, 10 + 2, 1 + 1]

    def test_blobs_are_found_by_their_digest(self, ledger: LedgerStore) -> None:
        self.needs_blobs(ledger)
        ledger.append([with_parts(conversation(3))])
        (recorded,) = ledger.read_all()

        found = [*blobs_of(recorded.encoded, ledger.blobs, set())]

        assert found
        for digest, body, _ in found:
            assert body is not None
            assert sha256(body).digest() == digest
            assert ledger.blobs([digest, bytes(32)]) == {digest: body}
        assert ledger.blobs([]) == {}

    def test_an_event_takes_its_parts_along_into_another_ledger(
        self, ledger: LedgerStore, tmp_path: Path
    ) -> None:
        said = conversation(30)
        for count in (20, 61):
            ledger.append([with_parts(said[:count])])
        (last,) = ledger.read(1)
        other = self.make_ledger(tmp_path / "other", "r1")

        other.append([attrs.evolve(last, position=0)])

        (copied,) = other.read_all()
        assert copied.data == with_parts(said).data
        assert copied.encoded == last.encoded
        assert verify(other).is_intact
        other.close()

    def test_an_append_that_is_refused_leaves_no_parts_that_a_later_one_misses(
        self, ledger: LedgerStore
    ) -> None:
        ledger.append([event(0, id="taken")])
        with pytest.raises(DuplicateEvent):
            ledger.append([with_parts(conversation(9)), event(1, id="taken")])

        ledger.append([with_parts(conversation(9))])

        assert [e.data for e in ledger.read(1)] == [with_parts(conversation(9)).data]
        assert verify(ledger).is_intact

    def test_blobs_are_stored_before_an_event_names_them(
        self, ledger: LedgerStore, tmp_path: Path
    ) -> None:
        self.needs_blobs(ledger)
        bodies = [b"\x00\xff" * 5, "é".encode() * 700_000]

        ledger.store_blobs(bodies)
        ledger.store_blobs([*bodies, b"new", b"new"])
        ledger.store_blobs([])

        expected = {sha256(body).digest(): body for body in [*bodies, b"new"]}
        assert ledger.blobs([*expected, bytes(32)]) == expected
        assert ledger.length() == 0
        if self.is_durable:
            again = self.make_ledger(tmp_path / "store", "r1")
            assert again.blobs([*expected]) == expected
            again.close()

    def test_an_event_whose_text_was_stored_as_a_blob_is_whole(self, ledger: LedgerStore) -> None:
        self.needs_blobs(ledger)
        text = "é" * 2000

        ledger.store_blobs([text.encode()])
        ledger.append([make_event("thing.happened", "", "tester", [], {"text": text})])

        assert [each.data for each in ledger.read_all()] == [{"text": text}]
        assert verify(ledger).is_intact

    @pytest.mark.parametrize("planted", [0, 30, 60])
    def test_a_list_is_whole_though_a_file_has_the_bytes_of_one_of_its_messages(
        self, ledger: LedgerStore, tmp_path: Path, planted: int
    ) -> None:
        self.needs_blobs(ledger)
        said = conversation(30)
        elsewhere = MemoryLedgerStore("r1")
        elsewhere.append([with_parts(said)])
        (whole,) = elsewhere.read_all()
        found = [*blobs_of(whole.encoded, elsewhere.blobs, set())]
        nodes = [body for _, body, is_message in found if is_message and body is not None]

        ledger.store_blobs([nodes[planted]])
        ledger.append([with_parts(said[:59])])
        ledger.append([with_parts(said)])

        assert [e.data for e in ledger.read(1)] == [with_parts(said).data]
        assert verify(ledger).is_intact
        if self.is_durable:
            again = self.make_ledger(tmp_path / "store", "r1")
            assert [e.data for e in again.read(1)] == [with_parts(said).data]
            assert verify(again).is_intact
            again.close()

    def needs_blobs(self, ledger: LedgerStore) -> None:
        """Skip a test of a store that keeps no blobs."""
        if not ledger.keeps_blobs:
            pytest.skip("the store keeps no blobs: its events are whole")

    def test_appended_events_persist_when_the_ledger_is_reopened(
        self, ledger: LedgerStore, tmp_path: Path
    ) -> None:
        if not self.is_durable:
            pytest.skip("the ledger is not durable")
        ledger.append([event(n) for n in range(3)])
        before = [all_fields(e) for e in ledger.read_all()]

        again = self.make_ledger(tmp_path / "store", "r1")

        assert [all_fields(e) for e in again.read_all()] == before
        assert again.append([event(3)], expected_length=3) == 4
        assert ledger.length() == 4
        again.close()
