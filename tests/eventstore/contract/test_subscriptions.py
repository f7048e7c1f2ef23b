"""Kando requires of a server: catch-up subscriptions, and groups of competing consumers."""

import json
from collections.abc import Callable
from itertools import islice
from typing import Any
from uuid import uuid4

import pytest

from kando_eventstore._client import ClientLibrary


@pytest.fixture
def filled(
    client: Any, library: ClientLibrary, stream: str, event: Callable[..., Any]
) -> list[Any]:
    new = [event() for _ in range(6)]
    client.append_to_stream(stream, current_version=library.stream_state.NO_STREAM, events=new)
    return [e.id for e in new]


def test_a_subscription_sends_stored_events_then_a_caught_up_message_then_new_events(
    client: Any,
    library: ClientLibrary,
    stream: str,
    event: Callable[..., Any],
    filled: list[Any],
) -> None:
    later = event()

    with client.subscribe_to_stream(
        stream, stream_position=3, include_caught_up=True
    ) as subscription:
        received = list(islice(subscription, 3))
        client.append_to_stream(stream, current_version=5, events=[later])
        received += islice(subscription, 1)

    assert [e.id for e in received[:2]] == filled[4:]
    assert received[2].is_caught_up
    assert received[3].id == later.id


def test_a_subscription_to_a_missing_stream_waits_for_it(
    client: Any, library: ClientLibrary, stream: str, event: Callable[..., Any]
) -> None:
    # EventStoreDB 24.10 and newer is caught up at once; 23.10 only once the stream exists.
    with client.subscribe_to_stream(stream, include_caught_up=True) as subscription:
        first = event()
        client.append_to_stream(
            stream, current_version=library.stream_state.NO_STREAM, events=[first]
        )
        received = next(each for each in subscription if not each.is_caught_up)

    assert received.id == first.id


def test_a_subscription_to_all_streams_resumes_after_a_position(
    client: Any, stream: str, filled: list[Any]
) -> None:
    by_name = {"filter_include": (f"{stream}.*",), "filter_by_stream_name": True}
    with client.subscribe_to_all(**by_name) as subscription:
        received = list(islice(subscription, 6))

    with client.subscribe_to_all(
        commit_position=received[2].commit_position, **by_name
    ) as subscription:
        again = list(islice(subscription, 3))

    assert [e.id for e in received] == filled
    assert [e.id for e in again] == filled[3:]


@pytest.fixture
def group(client: Any, stream: str, filled: list[Any]) -> str:
    name = f"group{uuid4().hex}"
    client.create_subscription_to_stream(
        name, stream, consumer_strategy="RoundRobin", max_retry_count=2, max_subscriber_count=2
    )
    return name


def test_a_group_gets_every_event_and_each_acknowledged_event_only_once(
    client: Any, stream: str, group: str, filled: list[Any]
) -> None:
    with client.read_subscription_to_stream(group, stream) as subscription:
        received = list(islice(subscription, 6))
        for each in received[:4]:
            subscription.ack(each)

    with client.read_subscription_to_stream(group, stream) as subscription:
        again = list(islice(subscription, 2))
        for each in again:
            subscription.ack(each)

    assert [e.id for e in received] == filled
    assert {e.id for e in again} == set(filled[4:])
    assert {e.retry_count for e in received} == {0}
    assert {e.retry_count for e in again} == {1}


def test_two_consumers_of_a_group_share_its_events(
    client: Any, stream: str, group: str, filled: list[Any]
) -> None:
    how: dict[str, Any] = {"event_buffer_size": 3}
    with (
        client.read_subscription_to_stream(group, stream, **how) as one,
        client.read_subscription_to_stream(group, stream, **how) as other,
    ):
        received = [*islice(one, 3), *islice(other, 3)]
        for subscription, each in zip([one] * 3 + [other] * 3, received, strict=True):
            subscription.ack(each)

    assert {e.id for e in received} == set(filled)


def test_an_event_is_retried_then_parked_and_replayed_on_request(
    client: Any, stream: str, group: str, filled: list[Any]
) -> None:
    with client.read_subscription_to_stream(group, stream) as subscription:
        tries, seen = [], set()
        for each in subscription:
            seen.add(each.id)
            if each.id == filled[0]:
                tries.append(each.retry_count)
                subscription.nack(each, "retry")
            elif each.id == filled[1]:
                subscription.nack(each, "park")
            else:
                subscription.ack(each)
            if len(tries) == 3 and len(seen) == 6:
                break

    client.replay_parked_events(group, stream)
    with client.read_subscription_to_stream(group, stream) as subscription:
        replayed = list(islice(subscription, 2))
        for each in replayed:
            subscription.ack(each)

    assert tries == [0, 1, 2]
    assert {e.id for e in replayed} == {filled[0], filled[1]}


def test_a_group_resolves_links_and_an_event_is_acknowledged_by_its_link(
    client: Any, library: ClientLibrary, stream: str, event: Callable[..., Any], filled: list[Any]
) -> None:
    links = [
        event("$>", f"{n}@{stream}".encode(), content_type="application/octet-stream")
        for n in (0, 9, 3)
    ]
    name, group = f"{stream}:links", f"group{uuid4().hex}"
    client.append_to_stream(name, current_version=library.stream_state.NO_STREAM, events=links)
    client.create_subscription_to_stream(group, name, resolve_links=True)

    with client.read_subscription_to_stream(group, name) as subscription:
        received = list(islice(subscription, 2))
        for each in received:
            subscription.ack(each)

    assert [e.id for e in received] == [filled[0], filled[3]]
    assert [e.ack_id for e in received] == [links[0].id, links[2].id]


def test_a_parked_event_leaves_a_link_and_a_reason(
    client: Any,
    stream: str,
    group: str,
    filled: list[Any],
    eventually: Callable[[Callable[[], Any]], Any],
) -> None:
    parked = f"$persistentsubscription-{stream}::{group}-parked"
    with client.read_subscription_to_stream(group, stream) as subscription:
        first = next(subscription)
        subscription.nack(first, "park")
        found = eventually(lambda: client.get_stream(parked))

    assert found[0].data.decode() == f"{first.stream_position}@{stream}"
    assert json.loads(found[0].metadata)["reason"] == "Client explicitly NAK'ed message.\n"


def test_a_group_is_created_once_and_not_found_after_its_deletion(
    client: Any, library: ClientLibrary, stream: str, group: str
) -> None:
    with pytest.raises(library.error("AlreadyExists")):
        client.create_subscription_to_stream(group, stream)
    client.delete_subscription(group, stream)
    with pytest.raises(library.error("NotFound")):
        client.get_subscription_info(group, stream)
    with pytest.raises(library.error("NotFound")):
        client.read_subscription_to_stream(group, stream)


def test_more_consumers_than_a_group_allows_are_refused(
    client: Any, library: ClientLibrary, stream: str, group: str
) -> None:
    with (
        client.read_subscription_to_stream(group, stream),
        client.read_subscription_to_stream(group, stream),
        pytest.raises(library.error("MaximumSubscriptionsReached")),
    ):
        client.read_subscription_to_stream(group, stream)


def test_a_group_reports_its_progress(
    client: Any, stream: str, group: str, filled: list[Any]
) -> None:
    info = client.get_subscription_info(group, stream)

    assert (info.group_name, info.event_source) == (group, stream)
    assert info.parked_message_count == 0
    assert info.last_known_event_position == "5"
