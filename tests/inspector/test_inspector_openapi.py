"""The OpenAPI document describes what the server does."""

from __future__ import annotations

import re
from typing import Any

import pytest
from starlette.testclient import TestClient

from kando.app.run import Run
from kando.responders._schema_errors import schema_errors
from kando_inspector.application import BASE, OPERATIONS
from kando_inspector.openapi import document
from kando_inspector.schemas import schemas
from rest_reference import PAGE, rewritten

DOCUMENT = document(OPERATIONS, BASE)
#: Values of the parameters that an operation requires.
VALUES = {
    "event": "kit.loaded-0",
    "object": "report",
    "relation": "near-1",
    "artifact": "report.md",
    "kit": "worked",
    "a": "@last",
    "b": "@last@3",
}
READING = [
    each for each in OPERATIONS if each.method == "GET" and not each.is_stream and each.result
]


def schema_at(status: str, operation: Any) -> dict[str, Any]:
    """Return the schema of a response, with the schemas that it refers to."""
    described = DOCUMENT["paths"][BASE + operation.path][operation.method.lower()]
    (content,) = [
        content["schema"]
        for kind, content in described["responses"][status]["content"].items()
        if kind.endswith("json")
    ]
    return {**content, "components": DOCUMENT["components"]}


def test_the_document_is_served_without_a_token(served: Any) -> None:
    answer = served().get(f"{BASE}/openapi.json")

    assert answer.json() == DOCUMENT
    assert answer.json()["openapi"] == "3.1.0"


@pytest.mark.parametrize("operation", READING, ids=lambda each: each.id)
def test_a_result_matches_its_schema(client: TestClient, run: Run, operation: Any) -> None:
    path = re.sub(r"\{run\}", run.id, operation.path)
    path = re.sub(r"\{(\w+)\}", lambda found: VALUES[found[1]], path)
    query: dict[str, Any] = {
        each.name: [run.id, "demo"] if each.schema["type"] == "array" else VALUES[each.name]
        for each in operation.parameters
        if each.is_required
    }

    answer = client.get(BASE + path, params=query)

    assert answer.status_code == operation.status, answer.text
    assert schema_errors(schema_at(str(operation.status), operation), answer.json()) == []


def test_an_error_matches_its_schema(client: TestClient) -> None:
    operation = next(each for each in OPERATIONS if each.id == "get_world")

    answer = client.get(f"{BASE}/runs/none/world")

    assert schema_errors(schema_at("404", operation), answer.json()) == []


def test_each_operation_is_described_once_and_refers_to_schemas_that_exist() -> None:
    ids = [each.id for each in OPERATIONS]
    places = [(each.method, re.sub(r"\{\w+\}", "{}", each.path)) for each in OPERATIONS]
    named = set(re.findall(r"#/components/schemas/(\w+)", str(DOCUMENT)))

    assert len(set(ids)) == len(ids)
    assert len(set(places)) == len(places)
    assert named <= set(schemas())
    for each in OPERATIONS:
        in_path = {one.name for one in each.parameters if one.is_in_path}
        assert in_path == set(re.findall(r"\{(\w+)\}", each.path)), each.id


def test_the_reference_has_every_operation_and_every_option() -> None:
    page = PAGE.read_text()

    assert rewritten(page) == page, "run `python tests/helpers/rest_reference.py`"
