"""A store with a finished run of a kit, and clients of a server that serves it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from inspector_server import LOOK_TOKEN, TOKEN, client_of, worked_kit
from kando.app.run import Run
from kando.app.store import Store, open_store
from kando_inspector.access import Access
from kando_inspector.application import inspector
from kando_inspector.service import Service


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    url = f"sqlite:{tmp_path / 'kando.db'}"
    with open_store(url, kits=[worked_kit()], environ={}) as opened:
        yield opened


@pytest.fixture
def run(store: Store) -> Run:
    return store.start("worked", "Compare two cities")


@pytest.fixture
def served(store: Store) -> Callable[..., TestClient]:
    """Return a function that returns a client without a token of a server of the store."""

    def serve(**access: object) -> TestClient:
        made = Access(**{"token": TOKEN, "look_token": LOOK_TOKEN, **access})  # type: ignore[arg-type]
        return client_of(inspector(Service(store, made)))

    return serve


@pytest.fixture
def client(served: Callable[..., TestClient]) -> TestClient:
    """A client that may act."""
    made = served()
    made.headers["authorization"] = f"Bearer {TOKEN}"
    return made
