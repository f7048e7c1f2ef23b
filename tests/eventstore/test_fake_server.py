"""The fake server takes time where a real one does, and differs as versions differ."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from kando_eventstore._client import client_library
from kando_eventstore._url import connection_string
from kando_eventstore.testing import Behaviour, FakeEventStoreServer

LIBRARY = client_library()
ANY = LIBRARY.stream_state.ANY
LIMIT = 30


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    with ExitStack() as opened:

        def connect(**behaviour: Any) -> Any:
            server = FakeEventStoreServer(tmp_path / "store", behaviour=Behaviour(**behaviour))
            client = LIBRARY.client(connection_string(opened.enter_context(server).url))
            opened.callback(client.close)
            return client

        yield connect


def append(client: Any, stream: str, count: int = 1) -> None:
    new = [LIBRARY.new_event(type="it.happened", data=b"{}") for _ in range(count)]
    client.append_to_stream(stream, current_version=ANY, events=new, timeout=LIMIT)


@pytest.mark.parametrize(("seconds", "checkpoint"), [(3600.0, "-1"), (0.0, "1")])
def test_a_checkpoint_is_written_some_time_after_the_acknowledgement(
    connect: Callable[..., Any], seconds: float, checkpoint: str
) -> None:
    client = connect(checkpoint_seconds=seconds)
    append(client, "s", 2)
    client.create_subscription_to_stream("g", "s", timeout=LIMIT)

    with client.read_subscription_to_stream("g", "s", timeout=LIMIT) as subscription:
        for each in islice(subscription, 2):
            subscription.ack(each)
        while client.get_subscription_info("g", "s", timeout=LIMIT).total_in_flight_messages:
            pass

    info = client.get_subscription_info("g", "s", timeout=LIMIT)
    assert info.last_checkpointed_event_position == checkpoint


@pytest.mark.parametrize("is_early", [True, False])
def test_a_subscription_to_a_missing_stream_is_caught_up_at_once_or_when_the_stream_exists(
    connect: Callable[..., Any], is_early: bool
) -> None:
    client = connect(catches_up_early=is_early)

    with client.subscribe_to_stream("s", include_caught_up=True, timeout=LIMIT) as subscription:
        first = next(subscription) if is_early else None
        append(client, "s")
        received = list(islice(subscription, 1 if is_early else 2))

    assert first is None or first.is_caught_up
    assert [each.is_caught_up for each in received] == [False, True][: len(received)]


@pytest.mark.parametrize("seconds", [3600.0, 0.0])
def test_a_stream_that_was_deleted_and_created_again_is_not_found_for_some_time(
    connect: Callable[..., Any], seconds: float
) -> None:
    client = connect(recreated_seconds=seconds)
    append(client, "s")
    client.delete_stream("s", current_version=ANY, timeout=LIMIT)
    append(client, "s")

    if seconds:
        with pytest.raises(LIBRARY.error("NotFound")):
            client.get_stream("s", timeout=LIMIT)
    else:
        assert [e.stream_position for e in client.get_stream("s", timeout=LIMIT)] == [1]
