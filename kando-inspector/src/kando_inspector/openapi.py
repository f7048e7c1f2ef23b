"""The OpenAPI document, made from the table of operations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from kando_inspector.access import ACT
from kando_inspector.problems import MEDIA_TYPE
from kando_inspector.schemas import schemas
from kando_inspector.service import VERSION
from kando_inspector.table import Operation, Parameter

__all__ = ["document"]

#: Statuses that every operation may answer with: malformed, no token, no such host.
_ALWAYS = (400, 401, 421)


def document(operations: Iterable[Operation], base: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document.

    Args:
        operations: all of them.
        base: path of the interface.
    """
    paths: dict[str, dict[str, Any]] = {}
    for each in operations:
        paths.setdefault(base + each.path, {})[each.method.lower()] = _operation(each)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Kando",
            "version": VERSION,
            "description": "Runs of Kando: their ledgers, worlds, traces, branches and costs.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _operation(each: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": each.id,
        "summary": each.about,
        "tags": [each.path.strip("/").partition("/")[0]],
        "parameters": [_parameter(one) for one in each.parameters],
        "responses": _responses(each),
    }
    if each.role == ACT:
        found["description"] = "Only for clients that may act."
    if each.body is not None:
        content = {"application/json": {"schema": _schema(each.body)}}
        found["requestBody"] = {"required": True, "content": content}
    if each.id == "open_session":
        found["security"] = []
    return found


def _parameter(each: Parameter) -> dict[str, Any]:
    return {
        "name": each.name,
        "in": "path" if each.is_in_path else "query",
        "description": each.about,
        "required": each.is_in_path or each.is_required,
        "schema": {**each.schema, "minLength": 1} if each.is_in_path else each.schema,
    }


def _responses(each: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if each.is_stream:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    elif each.result is not None:
        content["application/json"] = {"schema": _schema(each.result)}
    for kind in each.media_types:
        content[kind] = {"schema": {"type": "string"}}
    success: dict[str, Any] = {"description": HTTPStatus(each.status).phrase}
    if content:
        success["content"] = content
    responses = {str(each.status): success}
    if each.method == "GET" and not each.is_stream:
        about = "The result is the one whose ETag is in If-None-Match."
        responses["304"] = {"description": about}
    forbidden = (403,) if each.role == ACT else ()
    problem = {MEDIA_TYPE: {"schema": _schema("Problem")}}
    for status in sorted({*_ALWAYS, *forbidden, *each.errors}):
        responses[str(status)] = {"description": HTTPStatus(status).phrase, "content": problem}
    return responses


def _schema(named: str | Mapping[str, Any]) -> Mapping[str, Any]:
    return {"$ref": f"#/components/schemas/{named}"} if isinstance(named, str) else named
