"""A ledger as JSON Lines is read back exactly, or the first line that does not match is named."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kando.errors import InvalidData, StoreDamaged
from kando.ledger.jsonl import Parent, lines_of, read_ledgers, read_lines
from kando.ledger.memory import MemoryLedgerStore
from kando.ledger.trees import copy_trees, read_content, read_tree
from kando.ledger.verification import verify
from kando.schema.events import KandoEvent, make_event
from kando.schema.exact_json import encode
from kando.schema.parts import blobs_of
from kando.schema.trees import Entry, encode_tree
from kando.testing.ledgers import all_fields, conversation, with_parts

texts = st.text(max_size=8)
values = texts | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
data = st.dictionaries(texts, values | st.none() | st.booleans() | st.lists(values, max_size=2))
moments = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.sampled_from([UTC]))


@settings(deadline=None)
@given(st.lists(st.tuples(texts, texts, texts, moments, data), max_size=6))
def test_any_ledger_is_exported_and_read_back_with_its_hash(given: list[tuple[Any, ...]]) -> None:
    ledger = MemoryLedgerStore("r")
    for n, (type, source, actor, at, content) in enumerate(given):
        cause = [f"e{n - 1}"] if n else []
        ledger.append([KandoEvent(f"e{n}", type, source, actor, cause, at, content)])

    header, events = read_lines(lines_of(ledger, len(given), Parent("p", 1)))

    assert [all_fields(event) for event in events] == [
        all_fields(event) for event in ledger.read_all()
    ]
    assert (header.ledger, header.events, header.parent) == ("run:r", len(given), Parent("p", 1))
    assert header.digest == ledger.digest(len(given)).hex()


@pytest.fixture
def lines() -> list[bytes]:
    """Return an exported ledger of five events."""
    ledger = MemoryLedgerStore("r")
    for n in range(5):
        cause = [f"thing-{n - 1}"] if n else []
        ledger.append([make_event("thing", "", "tester", cause, {"n": n, "text": "x"})])
    return list(lines_of(ledger, 5))


def changed(name: str, value: object) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda line: {**line, name: value}


CHANGES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "position": changed("position", 1),
    "a position that is no number": changed("position", "2"),
    "id": changed("id", "mine"),
    "type": changed("type", "other"),
    "source": changed("source", "run:x"),
    "actor": changed("actor", "somebody"),
    "cause": changed("cause", []),
    "timestamp": changed("timestamp", "2020-01-01T00:00:00Z"),
    "a timestamp without zone": changed("timestamp", "2020-01-01T00:00:00"),
    "lineage_key": changed("lineage_key", "0" * 32),
    "a lineage_key of another form": changed("lineage_key", "X" * 32),
    "version": changed("version", 2),
    "a version that does not fit": changed("version", 2**63),
    "data": lambda line: {**line, "data": {**line["data"], "n": 7}},
    "data of another type": changed("data", [1]),
    "data that is null": changed("data", None),
    "hash": changed("hash", "0" * 64),
    "another field": changed("more", 1),
    "a missing field": lambda line: {k: v for k, v in line.items() if k != "actor"},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_field_is_refused_with_the_number_of_its_line(
    lines: list[bytes], change: str
) -> None:
    lines[3] = encode(CHANGES[change](json.loads(lines[3]))) + b"\n"

    with pytest.raises(InvalidData, match=r"^Line 4 .*nothing was imported") as caught:
        read_lines(lines)

    assert caught.value.hint


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (lambda lines: lines[:3] + lines[4:], 4),
        (lambda lines: [*lines[:3], lines[2], *lines[3:]], 4),
        (lambda lines: [*lines[:3], lines[4], lines[3], lines[5]], 4),
        (lambda lines: lines[:-1], 5),
        (lambda lines: [*lines[:-1], lines[-1][:-20]], 6),
        (lambda lines: [*lines, lines[-1]], 7),
        (lambda lines: [*lines, b"\n"], 7),
        (lambda lines: lines[1:], 1),
        (lambda lines: [], 1),
        (lambda lines: [b"\xff\xfe", *lines[1:]], 1),
        (lambda lines: [*lines[:2], b"\xff", *lines[3:]], 3),
        (lambda lines: [lines[0].replace(b'"events":5', b'"events":4'), *lines[1:]], 6),
        (lambda lines: [lines[0].replace(b'"format":2', b'"format":4'), *lines[1:]], 1),
        (lambda lines: [lines[0].replace(b'"format":2', b'"format":3'), *lines[1:]], 2),
        (lambda lines: [lines[0].replace(b'"digest":"', b'"digest":"0'), *lines[1:]], 1),
        (lambda lines: [*lines[:2], lines[2].replace(b'"n":1', b'"n":1,"n":1'), *lines[3:]], 3),
        (lambda lines: [*lines[:2], lines[2].replace(b'"n":1', b'"n": 1'), *lines[3:]], 3),
    ],
    ids=[
        *("removed", "repeated", "swapped", "last removed", "cut off", "added", "empty line added"),
        *(
            "no head",
            "nothing",
            "head no text",
            "line no text",
            "fewer",
            "format",
            "no number",
            "digest",
        ),
        *("a key twice", "a space"),
    ],
)
def test_missing_added_and_moved_lines_are_refused(
    lines: list[bytes], edit: Callable[[list[bytes]], list[bytes]], line: int
) -> None:
    with pytest.raises(InvalidData, match=rf"^Line {line} "):
        read_lines(edit(lines))


@pytest.fixture
def with_texts() -> list[bytes]:
    """Return an exported ledger of two requests of a conversation."""
    ledger = MemoryLedgerStore("r")
    ledger.append([with_parts(conversation(9)), with_parts(conversation(10))])
    return list(lines_of(ledger, 2))


def test_parts_are_exported_once_before_the_first_event_that_refers_to_them(
    with_texts: list[bytes],
) -> None:
    kinds = [next(iter(json.loads(line))) for line in with_texts]

    header, events = read_lines(with_texts)

    nodes = 1 + 2 * 9
    assert kinds == [
        "kando",
        *["text"] * 5,
        *["message"] * nodes,
        "position",
        "text",
        *["message"] * 2,
        "position",
    ]
    assert [e.data for e in events] == [with_parts(conversation(n)).data for n in (9, 10)]
    copy = MemoryLedgerStore("r")
    copy.append([*events])
    assert copy.digest(2).hex() == header.digest
    assert list(lines_of(copy, 2)) == with_texts


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (lambda lines: [*lines[:1], *lines[2:]], 25),
        (lambda lines: [*lines[:1], lines[1].replace(b'"text":"', b'"text":"x'), *lines[2:]], 26),
        (lambda lines: [*lines[:8], lines[8].replace(b"tool", b"user"), *lines[9:]], 26),
        (lambda lines: [*lines[:8], lines[8].replace(b'"after":"', b'"after":"x'), *lines[9:]], 9),
        (lambda lines: [*lines[:8], lines[8].replace(b"}", b'},"more":1', 1), *lines[9:]], 9),
        (lambda lines: [*lines[:25], lines[25].replace(b'"text"', b'"txt"'), *lines[26:]], 26),
        (
            lambda lines: [*lines[:25], lines[25].replace(b',"references":true', b""), *lines[26:]],
            26,
        ),
    ],
    ids=["removed", "text", "message", "link", "field", "reference", "mark"],
)
def test_a_missing_or_changed_part_is_refused(
    with_texts: list[bytes], edit: Callable[[list[bytes]], list[bytes]], line: int
) -> None:
    with pytest.raises(InvalidData, match=rf"^Line {line} "):
        read_lines(edit(with_texts))


def test_an_export_in_format_1_is_read(lines: list[bytes]) -> None:
    lines[0] = lines[0].replace(b'"format":2', b'"format":1')

    header, events = read_lines(lines)

    assert (header.events, len(events)) == (5, 5)


def test_the_first_events_of_a_ledger_can_be_exported_alone() -> None:
    ledger = MemoryLedgerStore("r")
    ledger.append([make_event("thing", "", "", [], {"n": n}) for n in range(5)])

    header, events = read_lines(lines_of(ledger, 2))

    assert (header.events, len(events), header.digest) == (2, 2, ledger.digest(2).hex())


def test_a_ledger_that_does_not_match_its_hash_chain_is_not_exported() -> None:
    ledger = MemoryLedgerStore("r")
    ledger.append([make_event("thing", "", "", [], {}) for _ in range(3)])
    assert ledger.digest(3)
    later = ledger._own[1].timestamp + timedelta(seconds=1)
    ledger._own[1] = attrs.evolve(ledger._own[1], timestamp=later)

    with pytest.raises(StoreDamaged, match="hash chain"):
        list(lines_of(ledger, 3))


def test_files_with_the_bytes_of_messages_and_of_trees_hide_nothing() -> None:
    said = conversation(30)
    elsewhere = MemoryLedgerStore("r1")
    elsewhere.append([with_parts(said)])
    (whole,) = elsewhere.read_all()
    found = [*blobs_of(whole.encoded, elsewhere.blobs, set())]
    nodes = [body for _, body, is_message in found if is_message and body is not None]
    later = _tree("b", b"later")
    ledger = MemoryLedgerStore("r1")
    for name, contents in (("a", [*nodes[30:], later]), ("b", [b"later"])):
        tree = later if name == "b" else _tree(name, *contents)
        ledger.store_blobs([tree, *contents])
        ledger.append([make_event("workspace.loaded", "", "x", [], {"workspace": _hex(tree)})])
    ledger.append([with_parts(said)])

    lines = list(lines_of(ledger, 3))
    (read,) = read_ledgers(lines)
    copy = MemoryLedgerStore("r1")
    copy_trees(read.events, lambda wanted: {d: read.files[d] for d in wanted}, copy)
    copy.append([*read.events])

    assert verify(copy).is_intact
    assert read_content(copy, read_tree(copy, bytes.fromhex(_hex(later))).entries[0]) == b"later"
    assert list(lines_of(copy, 3)) == lines


def _hex(body: bytes) -> str:
    return sha256(body).hexdigest()


def _tree(name: str, *contents: bytes) -> bytes:
    entries = [
        Entry(f"{name}{number:02}", "file", _hex(each), len(each))
        for number, each in enumerate(contents)
    ]
    return encode_tree(entries)
