"""The server of the contract suite: a real one if EVENTSTORE_URL is set, else the fake one."""

import os
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from kando_eventstore._client import ClientLibrary, client_library
from kando_eventstore._url import connection_string
from kando_eventstore.testing import FakeEventStoreServer


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    real = os.environ.get("EVENTSTORE_URL")
    if real:
        yield real
        return
    with FakeEventStoreServer(tmp_path_factory.mktemp("fake") / "store") as server:
        yield server.url


@pytest.fixture(scope="session")
def library() -> ClientLibrary:
    return client_library()


@pytest.fixture(scope="session")
def client(url: str, library: ClientLibrary) -> Iterator[Any]:
    made = library.client(connection_string(url))
    yield made
    made.close()


@pytest.fixture
def stream() -> str:
    """The name of an unused stream, unique even on a server that is reused."""
    return f"contract:{uuid4().hex}"


@pytest.fixture
def event(library: ClientLibrary) -> Callable[..., Any]:
    def make(type: str = "it.happened", data: bytes = b"{}", **more: Any) -> Any:
        return library.new_event(type=type, data=data, **more)

    return make
