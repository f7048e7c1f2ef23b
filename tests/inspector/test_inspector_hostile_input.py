"""No parameter makes the server fail: each response is one that the OpenAPI document describes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from inspector_server import TOKEN, client_of, worked_kit
from kando.app.store import open_store
from kando_inspector.access import Access
from kando_inspector.application import BASE, OPERATIONS, inspector
from kando_inspector.openapi import document
from kando_inspector.service import Service
from kando_inspector.table import Operation

DOCUMENT = document(OPERATIONS, BASE)
READING = [each for each in OPERATIONS if each.method == "GET" and not each.is_stream]
ODD = [
    "",
    "0",
    "-1",
    "1e9",
    "9" * 30,
    "999999999999",
    "\x00",
    "\r\nx: y",
    "%",
    "_",
    "*",
    "[a",
    "@",
    "@last",
    "@last@2",
    "@last~9",
    "demo@1",
    "x@@1",
    "../..",
    "/",
    "a" * 5000,
    "\u202e",
    "'; DROP TABLE events",
]
KNOWN = ["@last", "demo", "city/bern", "report", "near-1", "kit.loaded-0", "worked", "3"]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    url = f"sqlite:{tmp_path_factory.mktemp('hostile') / 'kando.db'}"
    with open_store(url, kits=[worked_kit()], environ={}) as store:
        store.start("worked", "Compare two cities").fork(at=4)
        made = client_of(inspector(Service(store, Access(TOKEN))))
        made.headers["authorization"] = f"Bearer {TOKEN}"
        yield made


@st.composite
def requests(draw: st.DrawFn) -> tuple[Operation, str]:
    """Draw an operation, and an address of it."""
    operation = draw(st.sampled_from(READING))
    texts = st.sampled_from(KNOWN) | st.sampled_from(ODD) | st.text(max_size=20)
    path, query = operation.path, []
    for each in operation.parameters:
        allowed = each.schema.get("enum", KNOWN)
        text = quote(draw(texts | st.sampled_from(allowed)).encode(errors="replace"), safe="")
        if each.is_in_path:
            path = path.replace(f"{{{each.name}}}", text)
        elif each.is_required or draw(st.booleans()):
            query.append(f"{each.name}={text}")
    return operation, f"{BASE}{path}?{'&'.join(query)}"


@given(request=requests())
@example(request=(READING[0], f"{BASE}/session?%00=%FF"))
def test_each_response_is_one_that_is_described(
    client: TestClient, request: tuple[Operation, str]
) -> None:
    operation, address = request
    described: dict[str, Any] = DOCUMENT["paths"][BASE + operation.path]["get"]["responses"]

    answer = client.get(address)

    # An empty segment or a segment that is a dot leads to another operation, or to none.
    assert answer.status_code < 500, answer.text
    kind = answer.headers["content-type"].partition(";")[0]
    if str(answer.status_code) in described:
        contents = described[str(answer.status_code)]["content"]
        assert kind in contents or answer.json()["status"] == answer.status_code
    else:
        assert answer.json()["code"] in ("not_found", "method_not_allowed")
