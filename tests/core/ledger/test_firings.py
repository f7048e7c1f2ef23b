"""A firing takes one row and its further outputs; readers see all its events, in every ledger."""

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kando.errors import DuplicateEvent, StoreDamaged
from kando.ledger.interface import LedgerStore
from kando.ledger.memory import MemorySubstrate
from kando.ledger.sqlite import SQLiteLedgerStore
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.ledger.verification import verify
from kando.schema.events import (
    RESPONDER_COMPLETED,
    RESPONDER_FIRED,
    KandoEvent,
    RecordedEvent,
)
from kando.schema.exact_json import encode
from kando.schema.firing import Firing, flattened, grouped
from kando.schema.identity import default_event_id, step_key
from kando.testing.ledgers import all_fields, event

AT = datetime(2026, 5, 4, 3, 2, 1, 654321, UTC)
Item = RecordedEvent | Firing


def output(
    position: int,
    trigger: RecordedEvent,
    responder: str,
    ordinal: int,
    *,
    heads: int = 0,
    id: str = "",
    actor: str = "",
    cause: list[str] | None = None,
    source: str = "run:r1",
    at: datetime = AT,
) -> RecordedEvent:
    data = {"n": position, "text": "কাণ্ড"}
    return RecordedEvent(
        id or default_event_id("thing.made", position, heads),
        "thing.made",
        source,
        actor or responder,
        [trigger.id] if cause is None else cause,
        at,
        data,
        position=position,
        lineage_key=step_key(trigger.lineage_key, responder, ordinal),
        encoded=encode(data),
    )


def firing(
    position: int, trigger: RecordedEvent, outputs: int = 1, responder: str = "r", **more: Any
) -> Firing:
    made = [output(position + 1 + n, trigger, responder, n) for n in range(outputs)]
    key, stream = trigger.lineage_key, "run:r1"
    return Firing(position, 0, stream, AT, responder, trigger.id, key, made, **more)


def seeded(ledger: LedgerStore) -> RecordedEvent:
    ledger.append([event(0)])
    found = ledger.at(0)
    assert found is not None
    return found


def fields(events: Sequence[RecordedEvent]) -> list[tuple[Any, ...]]:
    return [all_fields(each) for each in events]


def change(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


def number_of_rows(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        found: int = connection.execute("SELECT count(*) FROM events").fetchone()[0]
    finally:
        connection.close()
    return found


# A drawn ledger consists of plain events, and firings of earlier events.
plain = st.tuples(st.just("plain"), st.sampled_from(["", "named {}", "responder.fired-{}"]))
fired = st.tuples(
    st.just("firing"),
    st.integers(0, 30),
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "actor": st.just("someone"),
                "cause": st.sampled_from([[], ["a", "b"]]),
                "id": st.sampled_from(["chosen {}", "responder.completed-{}"]),
                "source": st.just("run:other"),
                "at": st.just(AT + timedelta(seconds=1)),
            },
        ),
        max_size=4,
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "is_call": st.booleans(),
            "observed": st.just({"after": ["x", ["y"]]}),
        },
    ),
)


class Builder:
    """Builds the items of a ledger, each after the events of those before it."""

    def __init__(self, start: Sequence[RecordedEvent], source: str, heads: int) -> None:
        self.events = [*start]
        self.source, self.heads = source, heads

    def item(self, drawn: tuple[Any, ...]) -> Item:
        position = len(self.events)
        if drawn[0] == "plain" or not self.events:
            name = drawn[1].format(position + 3) if drawn[0] == "plain" else ""
            data = {"n": position}
            item: Item = RecordedEvent(
                name or default_event_id("thing.happened", position, self.heads),
                "thing.happened",
                self.source,
                "tester",
                [],
                AT,
                data,
                position=position,
                lineage_key=f"{position:032x}",
                encoded=encode(data),
            )
        else:
            _, ago, made, more = drawn
            trigger = self.events[-1 - ago % position]
            outputs = [
                output(
                    position + 1 + n,
                    trigger,
                    "step",
                    n,
                    heads=self.heads,
                    **{
                        "source": self.source,
                        **each,
                        "id": each.get("id", "").format(position + 2 + n),
                    },
                )
                for n, each in enumerate(made)
            ]
            key = trigger.lineage_key
            item = Firing(
                position, self.heads, self.source, AT, "step", trigger.id, key, outputs, **more
            )
        self.events += flattened([item])
        return item


def appended(ledger: LedgerStore, items: list[Item], *, as_firings: bool) -> bool:
    length = ledger.length()
    try:
        if as_firings:
            ledger.append_firings(items, expected_length=length)
        else:
            ledger.append([*flattened(items)], expected_length=length)
    except DuplicateEvent:
        assert ledger.length() == length
        return False
    return True


def assert_agree(ledger: LedgerStore, other: LedgerStore) -> None:
    """Check that two ledgers return the same from every method."""
    events = [*ledger.read_all()]
    assert fields(events) == fields([*other.read_all()])
    assert ledger.length() == other.length() == len(events)
    assert ledger.stray_position() is None
    assert verify(ledger).is_intact
    for position in range(len(events) + 1):
        assert fields([*ledger.read(position)]) == fields(events[position:])
        assert fields(flattened(ledger.read_firings(position))) == fields(events[position:])
        assert ledger.digest(position) == other.digest(position)
        assert [*ledger.links(position, position + 3)] == [*other.links(position, position + 3)]
    for each in events:
        found = [ledger.at(each.position), ledger.find(each.id)]
        assert [all_fields(one) for one in found if one is not None] == [all_fields(each)] * 2
    left_out = {RESPONDER_FIRED, RESPONDER_COMPLETED}
    assert [*ledger.links(0, 99, excluding=left_out)] == [*other.links(0, 99, excluding=left_out)]
    assert ledger.find("responder.fired-999") is ledger.find("responder.completed-0") is None


@settings(max_examples=60, deadline=None)
@given(
    batches=st.lists(st.tuples(st.booleans(), st.lists(plain | fired, max_size=4)), max_size=4),
    cut=st.integers(0, 60),
    later=st.lists(fired, max_size=2),
)
def test_a_ledger_of_any_firings_reads_like_one_that_stores_every_event(
    batches: list[tuple[bool, list[tuple[Any, ...]]]], cut: int, later: list[tuple[Any, ...]]
) -> None:
    memory = MemorySubstrate()
    with TemporaryDirectory() as folder, SQLiteSubstrate(Path(folder) / "store") as files:
        pairs = [(files.create("r1"), memory.create("r1"))]
        builder = Builder([], "run:r1", 0)
        for as_firings, drawn in batches:
            before = [*builder.events]
            items = [builder.item(each) for each in drawn]
            outcomes = [
                appended(pairs[0][0], items, as_firings=as_firings),
                appended(pairs[0][1], items, as_firings=False),
            ]
            assert outcomes[0] == outcomes[1]
            if not outcomes[0]:
                builder.events = before
        # A branch may be forked in the middle of a firing, and ends it with events of its own.
        position = cut % (len(builder.events) + 1)
        pairs.append((files.fork("r1", position, "b1"), memory.fork("r1", position, "b1")))
        shared = builder.events[:position]
        branch = Builder(shared, "branch:b1", 1)
        head = event(0)
        own = [KandoEvent("", "branch.created", *attrs.astuple(head, recurse=False)[2:])]
        for each in pairs[1]:
            each.append([*own])
        branch.events = [*pairs[1][1].read_all()]
        items = [branch.item(drawn) for drawn in later]
        assert appended(pairs[1][0], items, as_firings=True) == appended(
            pairs[1][1], items, as_firings=False
        )
        for each in pairs:
            assert_agree(*each)


def test_a_firing_takes_a_row_for_each_output_and_none_for_its_lifecycle(tmp_path: Path) -> None:
    ledger = SQLiteLedgerStore("r1", tmp_path / "store")
    trigger = seeded(ledger)
    ledger.append_firings([firing(1, trigger), firing(4, trigger, outputs=2, responder="other")])
    # The same holds for events: those of an import, or of a wrapper that knows no firings.
    ledger.append([*flattened([firing(8, trigger, responder="third")])])

    assert ledger.length() == 11
    assert number_of_rows(tmp_path / "store") == 1 + 1 + 2 + 1
    assert [type(item) for item in ledger.read_firings()] == [RecordedEvent, *[Firing] * 3]
    ledger.close()


def test_a_subclass_that_overrides_append_sees_every_event(tmp_path: Path) -> None:
    seen: list[KandoEvent] = []

    class Watched(SQLiteLedgerStore):
        def append(self, events: list[KandoEvent], *, expected_length: int | None = None) -> int:
            seen.extend(events)
            return super().append(events, expected_length=expected_length)

    ledger = Watched("r1", tmp_path / "store")
    ledger.append_firings([firing(1, seeded(ledger))], expected_length=1)

    assert [each.type for each in seen[1:]] == [RESPONDER_FIRED, "thing.made", RESPONDER_COMPLETED]
    assert number_of_rows(tmp_path / "store") == 2
    ledger.close()


def test_lifecycle_events_that_do_not_follow_from_their_firing_are_kept(tmp_path: Path) -> None:
    ledger = SQLiteLedgerStore("r1", tmp_path / "store")
    trigger = seeded(ledger)
    events = firing(1, trigger).events()
    changed = [
        attrs.evolve(events[0], actor="someone else"),
        attrs.evolve(events[0], lineage_key="0" * 32),
        attrs.evolve(events[0], version=2),
        attrs.evolve(events[0], id="mine"),
    ]
    for n, fired in enumerate(changed):
        start = 1 + 3 * n
        ledger.append(
            [
                attrs.evolve(each, position=start + k, id=f"{n} {each.id}", cause=cause)
                for k, (each, cause) in enumerate(
                    [
                        (fired, [trigger.id]),
                        (events[1], [trigger.id]),
                        (events[2], [f"{n} {fired.id}"]),
                    ]
                )
            ]
        )
        read = [*ledger.read(start)]
        assert (read[0].actor, read[0].lineage_key) == (fired.actor, fired.lineage_key)
        assert (read[0].version, read[0].id) == (fired.version, f"{n} {fired.id}")
    assert verify(ledger).is_intact
    ledger.close()


def test_a_long_ledger_of_firings_is_read_page_by_page(tmp_path: Path) -> None:
    ledger = SQLiteLedgerStore("r1", tmp_path / "store")
    trigger = seeded(ledger)
    items = [firing(1 + 9 * n, trigger, outputs=7, responder=f"r{n}") for n in range(300)]
    ledger.append_firings(items)

    events = flattened(items)
    assert fields([*ledger.read(1)]) == fields(events)
    for position in (1000, 1001, 1142, 1143, 1144, 1150, 2698, 2699, 2700, 2701):
        assert fields([*ledger.read(position)]) == fields(events[position - 1 :])
    assert verify(ledger).is_intact
    ledger.close()


def test_events_are_grouped_into_whole_firings_only() -> None:
    trigger = RecordedEvent(
        "a", "a", "run:r1", "x", [], AT, {}, position=0, lineage_key="0" * 32, encoded=b"{}"
    )
    first, second = firing(1, trigger, 2).events(), firing(5, trigger, responder="s").events()

    assert [type(item) for item in grouped([trigger, *first, *second])] == [
        RecordedEvent,
        Firing,
        Firing,
    ]
    for cut in (
        [trigger, *first[:-1]],
        [*first[:-1], trigger],
        [*first[:1], *first[2:]],
        [*first[:-1], *second],
        first[1:],
    ):
        assert flattened(grouped(cut)) == cut


# Positions: 0 a seed; 1 to 4 a firing with two outputs; 5 to 7 and 8 to 10 firings with one; 11 an
# event. The rows of events are 0, 2, 3, 6, 9 and 11.
@pytest.fixture
def path(tmp_path: Path) -> Path:
    ledger = SQLiteLedgerStore("r1", tmp_path / "store")
    trigger = seeded(ledger)
    ledger.append_firings(
        [
            firing(1, trigger, outputs=2),
            firing(5, trigger, responder="second"),
            firing(8, trigger, responder="third", is_call=True, observed={"after": ["x", ["y"]]}),
        ]
    )
    ledger.append([event(11)])
    ledger.close()
    assert number_of_rows(tmp_path / "store") == 6
    return tmp_path / "store"


FORGED = (
    "INSERT INTO events SELECT (1 << 32) + {}, NULL, type, NULL, actor, cause, at_us, key, version,"
    " body, hash, 0, x'' FROM events WHERE address & 15 = 0"
)


@pytest.mark.parametrize(
    ("tampering", "first"),
    [
        ("UPDATE events SET firing = 6 WHERE address & 15 = 2", {4}),
        ("UPDATE events SET firing = 2 WHERE address & 15 = 2", {3}),
        ("UPDATE events SET firing = 5 WHERE address & 15 = 2", {2}),
        ("UPDATE events SET firing = 0 WHERE address & 15 = 2", {1, 2}),
        ("UPDATE events SET firing = NULL WHERE address & 15 = 2", {1, 2}),
        ("UPDATE events SET firing = -2 WHERE address & 15 = 2", {1, 2}),
        ("UPDATE events SET firing = -2 WHERE address & 15 = 3", {3}),
        ("UPDATE events SET firing = 0 WHERE address & 15 = 3", {3}),
        ("UPDATE events SET firing = 2 WHERE address & 15 = 3", {3}),
        ("UPDATE events SET firing = 4 WHERE address & 15 = 6", {7}),
        ("UPDATE events SET firing = 0 WHERE address & 15 = 6", {5}),
        ("UPDATE events SET firing = 2 WHERE address & 15 = 9", {9}),
        ("UPDATE events SET firing = 2 WHERE address & 15 = 11", {10, 11}),
        ("UPDATE events SET firing = -1 WHERE address & 15 = 11", {11}),
        ("UPDATE events SET trigger_key = zeroblob(16) WHERE address & 15 = 6", {6}),
        ("UPDATE events SET trigger_key = NULL WHERE address & 15 = 6", {5, 6}),
        ("UPDATE events SET trigger_key = x'' WHERE address & 15 = 6", {5, 6}),
        ("UPDATE events SET trigger_key = substr(trigger_key, 1, 16) WHERE address & 15 = 9", {9}),
        (
            "UPDATE events SET trigger_key = CAST(trigger_key || x'7b' AS BLOB) "
            "WHERE address & 15 = 9",
            {8, 9},
        ),
        ("UPDATE events SET cause = NULL WHERE address & 15 = 2", {1, 2}),
        ("UPDATE events SET actor = 'x' WHERE address & 15 = 2", {2}),
        ("UPDATE events SET at_us = at_us + 1 WHERE address & 15 = 2", {2}),
        ("DELETE FROM events WHERE address & 15 = 2", {1}),
        ("DELETE FROM events WHERE address & 15 = 3", {3}),
        ("DELETE FROM events WHERE address & 15 = 6", {5}),
        ("DELETE FROM events WHERE address & 15 = 11", {11}),
        (FORGED.format(1), {1}),
        (FORGED.format(4), {4}),
        (FORGED.format(5), {5}),
        (FORGED.format(10), {10}),
        ("UPDATE ledgers SET length = 13", {12}),
    ],
)
def test_a_changed_or_lost_row_of_a_firing_is_found_at_its_position(
    path: Path, tampering: str, first: set[int]
) -> None:
    change(path, tampering)

    with SQLiteSubstrate(path, read_only=True) as substrate:
        verdict = verify(substrate.open("r1"))

    assert not verdict.is_intact
    assert verdict.events in first
    assert any(str(position) in (verdict.problem or "") for position in first)


@pytest.mark.parametrize("lost", [1, 2, 3, 4])
def test_events_of_a_firing_after_the_end_of_the_ledger_are_stray(
    tmp_path: Path, lost: int
) -> None:
    ledger = SQLiteLedgerStore("r1", tmp_path / "store")
    ledger.append_firings([firing(1, seeded(ledger), outputs=2)])
    change(tmp_path / "store", f"UPDATE ledgers SET length = {5 - lost}")

    assert ledger.stray_position() == 5 - lost
    verdict = verify(ledger)
    assert (verdict.is_intact, verdict.events) == (False, 5 - lost)
    ledger.close()


def test_a_firing_that_cannot_be_decoded_is_reported_as_damage(path: Path) -> None:
    change(path, "UPDATE events SET trigger_key = NULL WHERE address & 15 = 6")

    with SQLiteSubstrate(path, read_only=True) as substrate:
        ledger = substrate.open("r1")
        for read in (
            lambda: list(ledger.read_all()),
            lambda: list(ledger.read_firings()),
            lambda: list(ledger.read(7)),
            lambda: ledger.at(5),
            lambda: ledger.at(7),
            lambda: ledger.digest(8),
        ):
            with pytest.raises(StoreDamaged, match="position 6"):
                read()
