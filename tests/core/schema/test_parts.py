"""Parts: long texts and growing lists of messages are stored once, and are whole to every reader."""

import copy
import json
import pickle
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kando.errors import InvalidData, StoreDamaged
from kando.schema.events import RecordedEvent, detach, make_unread_event, parts_of
from kando.schema.exact_json import decode, encode, exact, exact_and_encoded
from kando.schema.parts import (
    LONG,
    REFERENCE,
    Chains,
    Parts,
    has_references,
    references_in,
    size_of,
    split,
    whole_encoded,
)

Data = dict[str, Any]

texts = st.text(max_size=20) | st.builds(
    lambda t, n: (t or "é") * n, st.text(max_size=3), st.just(LONG)
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "role", REFERENCE, "id"]), inner, max_size=3)
    ),
    max_leaves=10,
)
messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "tool"]), "content": values}),
    max_size=6,
)
objects = st.dictionaries(
    st.sampled_from(["a", "messages", "history", "id", "tools", REFERENCE]),
    values | messages | st.fixed_dictionaries({"messages": messages, "b": values}),
    max_size=3,
)


class Stored:
    """Blobs in a dictionary."""

    def __init__(self) -> None:
        self.bodies: dict[bytes, bytes] = {}
        self.asked: list[bytes] = []
        self.parts = Parts(self._get)

    def _get(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        self.asked += digests
        return {digest: self.bodies[digest] for digest in digests if digest in self.bodies}

    def add(self, data: Any, chains: Chains) -> tuple[bytes, int]:
        """Store data; return its encoding and the number of new blobs."""
        _, encoded, made = split(data, chains)
        new = made.missing(self.bodies.__contains__) if made is not None else {}
        self.bodies |= new
        return encoded, len(new)

    def event(self, encoded: bytes) -> RecordedEvent:
        at = datetime(2026, 1, 2, tzinfo=UTC)
        return make_unread_event(
            "e-1", "e", "run:r", "me", [], at, self.parts, 1, "0" * 32, encoded
        )


def _conversation(turns: int, size: int = 200) -> list[Data]:
    said: list[Data] = [{"role": "system", "content": "Go."}]
    for n in range(turns):
        said.append({"role": "assistant", "content": "", "tool_calls": [{"id": f"c{n}"}]})
        said.append({"role": "tool", "content": f"{n} " + "x" * size})
    return said


@given(objects)
def test_data_with_parts_is_read_back_as_it_was_recorded(data: Data) -> None:
    stored = Stored()

    whole, encoded, made = split(data, Chains())
    stored.add(data, Chains())

    assert repr(decode(encode(whole))) == repr(exact(data))
    assert (made is not None) == has_references(encoded)
    if made is None:
        assert encoded == exact_and_encoded(data)[1]
    else:
        event = stored.event(encoded)
        assert encode(event.data) == encode(exact(data)) == whole_encoded(whole, encoded)
        assert size_of(encoded) >= len(encode(whole)) // 6


@given(objects, st.lists(objects, max_size=3))
def test_what_was_recorded_before_changes_neither_data_nor_encoding(
    data: Data, before: list[Data]
) -> None:
    chains = Chains()
    known = [split(each, chains)[0] for each in [*before, data]]
    plain, encoded, _ = split(data, Chains())

    for given_data in (data, known[-1], copy.deepcopy(known[-1])):
        again, as_before, _ = split(given_data, chains)
        assert as_before == encoded
        assert encode(again) == encode(plain)


@given(messages, messages)
def test_a_list_has_the_same_digest_however_it_grew(first: list[Data], more: list[Data]) -> None:
    said = _conversation(4) + first
    chains = Chains()
    grown = split({"messages": said}, chains)[0]["messages"]

    _, encoded, _ = split({"messages": [*grown, *more]}, chains)

    assert encoded == split({"messages": said + more}, Chains())[1]


@pytest.mark.parametrize("outer", [None, "a", "tools", REFERENCE])
@pytest.mark.parametrize("name", ["messages", "tools", REFERENCE])
def test_a_list_is_read_back_wherever_it_is(outer: str | None, name: str) -> None:
    said: Data = {name: [{"role": "user", "content": f"{n}" * LONG} for n in range(3)]}
    data = said if outer is None else {outer: said}
    chains = Chains()

    for _ in range(2):
        stored = Stored()
        event = stored.event(stored.add(data, chains)[0])

        assert event.data == data


def test_a_turn_stores_what_is_new() -> None:
    stored, chains = Stored(), Chains()
    said = _conversation(50, 2 * LONG)
    stored.add({"messages": said}, chains)

    encoded, new = stored.add({"messages": [*said, {"role": "user", "content": "More."}]}, chains)

    assert new == 1
    assert len(encoded) < 200


@pytest.mark.parametrize("name", ["messages", "history"])
@pytest.mark.parametrize("outer", [None, "data", "patch"])
def test_lists_of_messages_are_found_in_the_data_and_in_its_objects(
    name: str, outer: str | None
) -> None:
    listed: Data = {name: _conversation(10)}

    _, encoded, _ = split(listed if outer is None else {"id": "x", outer: listed}, Chains())

    assert len(references_in(encoded)[1]) == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [(1, True), (1, 1.0), (0.0, -0.0), ("1", 1), ({"a": 1, "b": 2}, {"b": 2, "a": 1}), ([], {})],
)
def test_equal_values_with_other_encodings_are_not_taken_for_each_other(
    before: object, after: object
) -> None:
    chains = Chains()
    said = _conversation(10)
    split({"messages": [*said, {"role": "user", "content": before}]}, chains)

    whole, _, _ = split({"messages": [*said, {"role": "user", "content": after}]}, chains)

    assert encode(whole["messages"][-1]["content"]) == encode(after)


def test_a_value_that_is_not_json_is_refused_with_its_path_after_a_recorded_list_too() -> None:
    chains = Chains()
    said = split({"messages": _conversation(10)}, chains)[0]["messages"]

    with pytest.raises(InvalidData, match=r"data\.messages\[21\]\.content holds nan"):
        split({"messages": [*said, {"role": "user", "content": float("nan")}]}, chains)


def _unread(data: Data) -> tuple[Stored, RecordedEvent]:
    stored = Stored()
    return stored, stored.event(stored.add(data, Chains())[0])


def test_data_is_resolved_when_it_is_first_read() -> None:
    data = {"text": "x" * LONG, "messages": _conversation(10)}
    stored, event = _unread(data)

    assert (event.id, event.position, stored.asked) == ("e-1", 1, [])
    assert event.data == data
    assert stored.asked
    assert type(event) is RecordedEvent


@pytest.mark.parametrize(
    "copied",
    [
        copy.copy,
        copy.deepcopy,
        lambda event: pickle.loads(pickle.dumps(event)),
        lambda event: attrs.evolve(event, cause=[]),
    ],
)
def test_a_copy_of_an_event_has_its_whole_data(copied: Callable[[Any], RecordedEvent]) -> None:
    data = {"text": "x" * LONG, "messages": _conversation(10)}
    stored, event = _unread(data)

    other = copied(event)

    assert other == event
    assert other.data == data
    made = parts_of(other)
    assert made is not None
    assert made.missing(lambda _: False) == stored.bodies
    assert repr(other) == repr(event)


def test_a_detached_event_needs_its_store_no_longer() -> None:
    stored, event = _unread({"messages": _conversation(10, LONG)})
    bodies = {**stored.bodies}

    detach(event)
    stored.bodies.clear()
    made = parts_of(event)

    assert made is not None
    assert made.missing(lambda _: False) == bodies


def test_an_event_with_other_data_than_its_encoding_is_refused() -> None:
    _, event = _unread({"text": "x" * LONG})

    with pytest.raises(InvalidData, match="is not what its encoding refers to"):
        parts_of(attrs.evolve(event, data={"text": "y" * LONG}))


def test_events_share_their_messages_which_cannot_be_changed() -> None:
    stored, chains = Stored(), Chains()
    said = _conversation(10)
    first = stored.event(stored.add({"messages": said}, chains)[0])
    more = [*said, {"role": "user", "content": "More."}]
    second = stored.event(stored.add({"messages": more}, chains)[0])

    call = first.data["messages"][1]
    assert call is second.data["messages"][1]
    for change in (
        lambda: call.update(content="changed"),
        lambda: call.pop("content"),
        lambda: call["tool_calls"].append({}),
        lambda: call["tool_calls"][0].clear(),
    ):
        with pytest.raises(TypeError, match="Change a copy"):
            change()
    second.data["messages"].append({"role": "user", "content": "Mine."})
    assert first.data["messages"] == said


def test_copies_of_a_message_are_plain() -> None:
    _, event = _unread({"messages": _conversation(10)})
    message = event.data["messages"][1]
    calls = message["tool_calls"]

    grown = message
    grown |= {"content": "mine"}
    more = calls
    more += [1]

    for each in ({**message}, message | {}, message.copy(), copy.copy(message), grown):
        assert type(each) is dict
    for each in ([*calls], calls[:], calls * 1, calls.copy(), copy.copy(calls), more):
        assert type(each) is list
    assert type(copy.deepcopy(message)["tool_calls"][0]) is dict
    assert type(pickle.loads(pickle.dumps(message))["tool_calls"]) is list
    assert json.loads(json.dumps(message)) == message == msgspec.json.decode(encode(message))
    assert message == {"role": "assistant", "content": "", "tool_calls": [{"id": "c0"}]}


def test_reading_a_longer_list_fetches_what_is_new() -> None:
    stored, chains = Stored(), Chains()
    said = _conversation(500)
    stored.event(stored.add({"messages": said}, chains)[0]).data["messages"]
    later = stored.event(stored.add({"messages": [*said, {"role": "user"}]}, chains)[0])
    del stored.asked[:]

    assert len(later.data["messages"]) == len(said) + 1
    assert len(stored.asked) <= 2


@pytest.mark.parametrize("problem", ["missing", "does not match its digest"])
def test_a_missing_or_changed_blob_is_reported_with_its_digest(problem: str) -> None:
    stored, event = _unread({"messages": _conversation(10)})
    digest = [*stored.bodies][3]
    if problem == "missing":
        del stored.bodies[digest]
    else:
        stored.bodies[digest] += b" "

    with pytest.raises(StoreDamaged, match=f"{digest.hex()}.*{problem}"):
        assert event.data


@pytest.mark.parametrize("reference", [["text", "00"], ["other", "0" * 64, 1], [], None])
def test_a_malformed_reference_is_reported(reference: object) -> None:
    event = Stored().event(b"\x01" + encode({"a": {REFERENCE: reference}}))

    with pytest.raises(StoreDamaged, match="malformed reference"):
        assert event.data
