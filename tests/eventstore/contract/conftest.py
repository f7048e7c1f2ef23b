"""The server of the contract suite: a real one if EVENTSTORE_URL is set, else the fake one."""

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from kando_eventstore._client import ClientLibrary, client_library
from kando_eventstore._url import connection_string
from kando_eventstore.testing import Behaviour, FakeEventStoreServer

#: Seconds after which a call, or a subscription that gets no more messages, fails its test.
LIMIT = 30.0


class _LimitedClient:
    """A client of which every call has a deadline."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        return partial(found, timeout=LIMIT) if callable(found) and name != "close" else found


_REAL = os.environ.get("EVENTSTORE_URL")

#: The fake server behaves like newer and like older ones.
_NEWER = Behaviour()
_OLDER = Behaviour(catches_up_early=False, recreated_seconds=0.2)


@pytest.fixture(scope="session", params=[_REAL] if _REAL else [_NEWER, _OLDER])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if _REAL:
        yield _REAL
        return
    path = tmp_path_factory.mktemp("fake") / "store"
    with FakeEventStoreServer(path, behaviour=request.param) as server:
        yield server.url


@pytest.fixture(scope="session")
def library() -> ClientLibrary:
    return client_library()


@pytest.fixture(scope="session")
def client(url: str, library: ClientLibrary) -> Iterator[Any]:
    made = library.client(connection_string(url))
    yield _LimitedClient(made)
    made.close()


@pytest.fixture
def eventually(library: ClientLibrary) -> Callable[[Callable[[], Any]], Any]:
    """Return a function that repeats a read until it finds something, and returns that."""

    def repeat(read: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + LIMIT
        while True:
            try:
                if found := read():
                    return found
            except library.error("NotFound"):
                if time.monotonic() > deadline:
                    raise
            assert time.monotonic() < deadline
            time.sleep(0.01)

    return repeat


@pytest.fixture
def stream() -> str:
    """The name of an unused stream, unique even on a server that is reused."""
    return f"contract:{uuid4().hex}"


@pytest.fixture
def event(library: ClientLibrary) -> Callable[..., Any]:
    def make(type: str = "it.happened", data: bytes = b"{}", **more: Any) -> Any:
        return library.new_event(type=type, data=data, **more)

    return make
