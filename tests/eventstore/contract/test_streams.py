"""Kando requires of a server: appends to streams, and reads."""

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from kando_eventstore._client import ClientLibrary

pytestmark = pytest.mark.usefixtures("client")


def positions(client: Any, stream: str, **how: Any) -> list[int]:
    return [e.stream_position for e in client.get_stream(stream, **how)]


def ids(client: Any, stream: str) -> list[Any]:
    return [e.id for e in client.get_stream(stream)]


def test_appended_events_are_read_in_order(
    client: Any, library: ClientLibrary, stream: str, event: Callable[..., Any]
) -> None:
    new = [event(f"type.{n}", json.dumps({"n": n}).encode(), metadata=b'{"m": 1}') for n in "ab"]

    client.append_to_stream(stream, current_version=library.stream_state.NO_STREAM, events=new)

    first, second = client.get_stream(stream)
    assert [first.stream_position, second.stream_position] == [0, 1]
    assert (first.type, first.data, first.metadata) == ("type.a", b'{"n": "a"}', b'{"m": 1}')
    assert [first.id, second.id] == [new[0].id, new[1].id]
    assert second.commit_position > first.commit_position or second.stream_position == 1


def test_any_bytes_are_read_back(
    client: Any, library: ClientLibrary, stream: str, event: Callable[..., Any]
) -> None:
    content = bytes(range(256)) * 4
    new = [event(data=content, content_type="application/octet-stream")]

    client.append_to_stream(stream, current_version=library.stream_state.NO_STREAM, events=new)

    assert client.get_stream(stream)[0].data == content


@pytest.mark.parametrize("as_batch", [True, False], ids=["BatchAppend", "Append"])
def test_an_append_at_an_unexpected_version_is_refused_and_writes_nothing(
    client: Any,
    library: ClientLibrary,
    stream: str,
    event: Callable[..., Any],
    as_batch: bool,
) -> None:
    state = library.stream_state
    client.append_to_stream(stream, current_version=state.NO_STREAM, events=[event(), event()])

    for expected in (state.NO_STREAM, 0, 2, 99):
        new = [event()] if as_batch else event()
        with pytest.raises(library.error("WrongCurrentVersion")):
            client.append_to_stream(stream, current_version=expected, events=new)

    assert positions(client, stream) == [0, 1]


def test_an_append_that_expects_a_revision_of_a_missing_stream_is_refused(
    client: Any, library: ClientLibrary, stream: str, event: Callable[..., Any]
) -> None:
    for expected in (0, library.stream_state.EXISTS):
        with pytest.raises(library.error("WrongCurrentVersion")):
            client.append_to_stream(stream, current_version=expected, events=[event()])


def test_the_same_events_at_the_same_version_are_written_once(
    client: Any, library: ClientLibrary, stream: str, event: Callable[..., Any]
) -> None:
    state = library.stream_state
    new = [event() for _ in range(3)]
    answers = [
        client.append_to_stream(stream, current_version=state.NO_STREAM, events=new)
        for _ in range(2)
    ]
    client.append_to_stream(stream, current_version=2, events=[event()])

    client.append_to_stream(stream, current_version=state.NO_STREAM, events=new)
    client.append_to_stream(stream, current_version=state.NO_STREAM, events=new[:2])
    client.append_to_stream(stream, current_version=0, events=new[1:])

    assert answers[0] == answers[1]
    assert ids(client, stream)[:3] == [e.id for e in new]
    assert positions(client, stream) == [0, 1, 2, 3]


def test_known_events_followed_by_new_ones_are_not_taken_for_a_retry(
    client: Any, library: ClientLibrary, stream: str, event: Callable[..., Any]
) -> None:
    state = library.stream_state
    known = event()
    client.append_to_stream(stream, current_version=state.NO_STREAM, events=[known])

    with pytest.raises(library.error("WrongCurrentVersion")):
        client.append_to_stream(stream, current_version=state.NO_STREAM, events=[known, event()])

    assert positions(client, stream) == [0]


@pytest.mark.parametrize("count", [1, 2], ids=["all known", "a new one follows"])
def test_known_events_at_any_version_are_written_once_and_none_with_a_new_one(
    client: Any, library: ClientLibrary, stream: str, event: Callable[..., Any], count: int
) -> None:
    state = library.stream_state
    known = event()
    client.append_to_stream(stream, current_version=state.ANY, events=[known])
    again = [known, event()][:count]

    if count == 1:
        client.append_to_stream(stream, current_version=state.ANY, events=again)
    else:
        with pytest.raises(library.error("WrongCurrentVersion")):
            client.append_to_stream(stream, current_version=state.ANY, events=again)

    assert ids(client, stream) == [known.id]


def test_an_event_id_is_unique_per_stream_only(
    client: Any, library: ClientLibrary, stream: str, event: Callable[..., Any]
) -> None:
    state, same = library.stream_state, event()
    for name in (stream, f"{stream}2"):
        client.append_to_stream(name, current_version=state.NO_STREAM, events=[same])

    assert ids(client, stream) == ids(client, f"{stream}2") == [same.id]


def test_an_append_over_the_limit_is_refused_as_a_whole(
    client: Any, library: ClientLibrary, stream: str, event: Callable[..., Any]
) -> None:
    new = [event(data=b"0" * 9_000_000), event()]

    with pytest.raises(library.base_error):
        client.append_to_stream(stream, current_version=library.stream_state.NO_STREAM, events=new)

    with pytest.raises(library.error("NotFound")):
        client.get_stream(stream)


@pytest.mark.parametrize("as_batch", [True, False], ids=["BatchAppend", "Append"])
def test_an_append_of_exactly_one_mebibyte_is_accepted(
    client: Any, library: ClientLibrary, stream: str, event: Callable[..., Any], as_batch: bool
) -> None:
    type = "it.is.large"
    new = event(type, b"0" * (1024 * 1024 - len(type)), content_type="application/octet-stream")

    client.append_to_stream(
        stream,
        current_version=library.stream_state.NO_STREAM,
        events=[new] if as_batch else new,
    )

    assert ids(client, stream) == [new.id]


def test_a_read_starts_at_the_given_position_and_ends_at_the_limit(
    client: Any, library: ClientLibrary, stream: str, event: Callable[..., Any]
) -> None:
    new = [event() for _ in range(7)]
    client.append_to_stream(stream, current_version=library.stream_state.NO_STREAM, events=new)

    assert positions(client, stream, stream_position=3) == [3, 4, 5, 6]
    assert positions(client, stream, stream_position=3, limit=2) == [3, 4]
    assert positions(client, stream, backwards=True, limit=2) == [6, 5]
    assert positions(client, stream, backwards=True, stream_position=1) == [1, 0]
    assert positions(client, stream, stream_position=7) == []
    assert client.get_current_version(stream) == 6


def test_a_missing_stream_is_not_found(client: Any, library: ClientLibrary, stream: str) -> None:
    with pytest.raises(library.error("NotFound")):
        client.get_stream(stream)
    assert client.get_current_version(stream) is library.stream_state.NO_STREAM


def test_a_stream_with_max_count_keeps_the_last_events_and_their_revisions(
    client: Any, library: ClientLibrary, stream: str, event: Callable[..., Any]
) -> None:
    client.set_stream_metadata(stream, metadata={"$maxCount": 2})
    for _ in range(4):
        client.append_to_stream(stream, current_version=library.stream_state.ANY, events=[event()])

    assert positions(client, stream) == [2, 3]
    assert client.get_stream_metadata(stream)[0] == {"$maxCount": 2}


def test_truncated_events_are_not_read(
    client: Any, library: ClientLibrary, stream: str, event: Callable[..., Any]
) -> None:
    new = [event() for _ in range(4)]
    client.append_to_stream(stream, current_version=library.stream_state.NO_STREAM, events=new)

    client.set_stream_metadata(stream, metadata={"$tb": 3})

    assert positions(client, stream) == [3]


def test_a_deleted_stream_is_not_found_and_continues_its_revisions_when_created_again(
    client: Any,
    library: ClientLibrary,
    stream: str,
    event: Callable[..., Any],
    eventually: Callable[[Callable[[], Any]], Any],
) -> None:
    state = library.stream_state
    client.append_to_stream(stream, current_version=state.NO_STREAM, events=[event(), event()])

    client.delete_stream(stream, current_version=1)

    with pytest.raises(library.error("NotFound")):
        client.get_stream(stream)
    assert client.get_stream_metadata(stream)[0]["$tb"] == 2**63 - 1
    client.append_to_stream(stream, current_version=state.NO_STREAM, events=[event()])
    # For some milliseconds, a server may not find the stream that it has created again.
    assert eventually(lambda: positions(client, stream)) == [2]


def test_a_missing_stream_cannot_be_deleted_and_a_deleted_one_can_be_deleted_again(
    client: Any, library: ClientLibrary, stream: str, event: Callable[..., Any]
) -> None:
    state = library.stream_state
    for expected in (state.NO_STREAM, state.ANY, 0):
        with pytest.raises(library.error("NotFound")):
            client.delete_stream(stream, current_version=expected)
    client.append_to_stream(stream, current_version=state.NO_STREAM, events=[event()])

    for _ in range(2):
        client.delete_stream(stream, current_version=0)

    with pytest.raises(library.error("NotFound")):
        client.get_stream(stream)


def link(event: Callable[..., Any], target: str) -> Any:
    return event("$>", target.encode(), content_type="application/octet-stream")


def test_links_are_resolved_on_request_and_skipped_if_their_target_is_gone(
    client: Any, library: ClientLibrary, stream: str, event: Callable[..., Any]
) -> None:
    state, targets = library.stream_state, [event() for _ in range(2)]
    client.append_to_stream(stream, current_version=state.NO_STREAM, events=targets)
    links = [link(event, f"{n}@{stream}") for n in (0, 1, 7)] + [link(event, f"0@{stream}:none")]
    name = f"{stream}:links"
    client.append_to_stream(name, current_version=state.NO_STREAM, events=links)
    client.set_stream_metadata(stream, metadata={"$tb": 1})

    as_stored = client.get_stream(name)
    resolved = client.get_stream(name, resolve_links=True)

    assert [e.data for e in as_stored] == [each.data for each in links]
    assert [e.id for e in resolved] == [targets[1].id]
    assert resolved[0].stream_name == stream
    assert (resolved[0].link.id, resolved[0].ack_id) == (links[1].id, links[1].id)
    with client.subscribe_to_stream(name, resolve_links=True) as subscription:
        assert next(subscription).id == targets[1].id


def test_a_tombstoned_stream_is_refused_permanently(
    client: Any, library: ClientLibrary, stream: str, event: Callable[..., Any]
) -> None:
    state = library.stream_state
    client.append_to_stream(stream, current_version=state.NO_STREAM, events=[event()])

    client.tombstone_stream(stream, current_version=0)

    with pytest.raises(library.error("StreamIsDeleted")):
        client.get_stream(stream)
    with pytest.raises(library.base_error, match="is deleted"):
        client.append_to_stream(stream, current_version=state.ANY, events=[event()])


def test_a_deletion_at_an_unexpected_version_is_refused(
    client: Any, library: ClientLibrary, stream: str, event: Callable[..., Any]
) -> None:
    state = library.stream_state
    client.append_to_stream(stream, current_version=state.NO_STREAM, events=[event()])

    with pytest.raises(library.error("WrongCurrentVersion")):
        client.delete_stream(stream, current_version=5)
    with pytest.raises(library.error("NotFound")):
        client.delete_stream(f"{stream}:{uuid4().hex}", current_version=5)

    assert positions(client, stream) == [0]


def test_all_streams_are_read_in_write_order_and_filtered_by_name(
    client: Any, library: ClientLibrary, stream: str, event: Callable[..., Any]
) -> None:
    for name in (f"{stream}:a", f"{stream}:b", f"{stream}:a"):
        client.append_to_stream(name, current_version=library.stream_state.ANY, events=[event()])

    found = list(
        client.read_all(filter_include=(f"{stream}:.*",), filter_by_stream_name=True, limit=9)
    )
    again = list(
        client.read_all(
            commit_position=found[1].commit_position,
            filter_include=(f"{stream}:.*",),
            filter_by_stream_name=True,
        )
    )

    assert [e.stream_name[-1] for e in found] == ["a", "b", "a"]
    assert [e.id for e in again] == [e.id for e in found[1:]]
