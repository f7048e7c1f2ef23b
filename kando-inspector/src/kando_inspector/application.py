"""The application: the REST interface, and the files of the page."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib.resources import files
from typing import IO, Any

import attrs
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from kando.app.snapshot_cache import SnapshotCache
from kando_inspector.access import ACT, LOOK, Guard
from kando_inspector.encoding import encoded
from kando_inspector.openapi import document
from kando_inspector.operations import acting, outcomes, reading, runs, streams
from kando_inspector.paging import entity_tag, is_known, tag_of_run
from kando_inspector.problems import Problem, problem_of, problem_response
from kando_inspector.routing import MAX_BODY, Routes, arguments_of, body_of
from kando_inspector.schemas import schema_of
from kando_inspector.service import Service
from kando_inspector.table import Call, Content, Operation

__all__ = ["BASE", "OPERATIONS", "inspector"]

#: Path of the REST interface.
BASE = "/api/v1"

_CHUNK = 256 * 1024

#: Every operation of the REST interface, as it is routed and documented.
OPERATIONS: tuple[Operation, ...] = (
    *runs.OPERATIONS,
    *reading.OPERATIONS,
    *outcomes.OPERATIONS,
    *acting.OPERATIONS,
    *streams.OPERATIONS,
)


def inspector(service: Service) -> ASGIApp:
    """Return the application that serves runs, and a page that shows them.

    Args:
        service: the store, and what its operator allows.
    """
    context = service.store.context
    # Clients ask for the same long runs again and again.
    context.snapshot_cache = context.snapshot_cache or SnapshotCache()
    page = StaticFiles(directory=str(files("kando_inspector") / "static"), html=True)
    api = _Api(service, Routes(OPERATIONS))
    routes = [
        Route(f"{BASE}/openapi.json", _openapi),
        Route(f"{BASE}/session", _Session(service), methods=["POST"]),
        Mount(BASE, api),
        Mount("/", page),
    ]
    app = Starlette(routes=routes, exception_handlers={404: _no_page, 405: _no_page})
    return Guard(app, service.access)


async def _openapi(request: Request) -> Response:
    return Response(encoded(document(OPERATIONS, BASE)), media_type="application/json")


def _no_page(request: Request, error: Exception) -> Response:
    msg = "There is no such page."
    status = getattr(error, "status_code", 404)
    return problem_response(Problem(status, "not_found", msg, "The page is at /."))


@attrs.frozen
class _Session:
    """Exchanges a token for a cookie, which a page cannot read."""

    service: Service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = await _answered(self._exchange, request)
        await response(scope, receive, send)

    async def _exchange(self, request: Request) -> Response:
        operation = next(each for each in OPERATIONS if each.id == "open_session")
        given = body_of(operation, schema_of(operation.body), await _body(request))
        access = self.service.access
        role = access.role_of_token(given["token"])
        if role is None:
            msg = "The token is wrong."
            raise Problem(401, "unauthorized", msg, "Open the address that the server printed.")
        response = Response(encoded(runs.session_dict(self.service, role)))
        response.headers["content-type"] = "application/json"
        response.set_cookie(
            access.cookie,
            access.cookie_of(given["token"]),
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return response


@attrs.frozen
class _Api:
    """The REST interface below its path."""

    service: Service
    routes: Routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = await _answered(self._answer, request)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        role = self.service.access.role_of(request)
        path = _raw_path(request)
        operation, texts = self.routes.find(request.method, path)
        if operation.role == ACT and role == LOOK:
            msg = "This client may only look."
            raise Problem(403, "forbidden", msg, "Use the token that may act.")
        arguments = arguments_of(operation, texts, request.scope["query_string"])
        body = None
        if operation.body is not None:
            body = body_of(operation, schema_of(operation.body), await _body(request))
        headers = {name: value for name, value in request.headers.items() if name != "cookie"}
        call = Call(self.service, role, arguments, body, headers)
        if inspect.iscoroutinefunction(operation.handle):
            response: Response = await operation.handle(call)
            return response
        return await run_in_threadpool(_result, operation, call)


def _result(operation: Operation, call: Call) -> Response:
    """Call an operation, and return its result as a response; an unchanged one without its body."""
    given = call.headers.get("if-none-match")
    tag = tag_of_run(call) if operation.is_of_ledger else None
    if tag is not None and is_known(tag, given):
        return _unchanged(tag)
    result = operation.handle(call)
    if result is None:
        return Response(status_code=operation.status)
    if isinstance(result, Content):
        headers = {"content-disposition": _attachment(result.name)}
        headers |= {"etag": tag} if tag is not None else {}
        if isinstance(result.body, bytes):
            return Response(result.body, operation.status, headers, result.media_type)
        chunks = _chunks(result.body)
        return StreamingResponse(chunks, operation.status, headers, result.media_type)
    body = encoded(result)
    if operation.method != "GET":
        return Response(body, operation.status, media_type="application/json")
    tag = tag or entity_tag(body)
    if is_known(tag, given):
        return _unchanged(tag)
    return Response(body, operation.status, {"etag": tag}, "application/json")


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _unchanged(tag: str) -> Response:
    return Response(status_code=304, headers={"etag": tag})


def _attachment(name: str) -> str:
    """Return the header that has a browser save a content, and not show it in this origin."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in name)
    return f'attachment; filename="{plain[:100]}"'


async def _answered(answer: Any, request: Request) -> Response:
    try:
        response: Response = await answer(request)
    except Exception as error:
        # Not of BaseException: a cancelled request gets no answer.
        return problem_response(problem_of(error))
    return response


async def _body(request: Request) -> bytes:
    """Return the body of a request.

    Raises:
        Problem: it is not JSON by its type, or too large.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    found = bytearray()
    async for part in request.stream():
        found += part
        if len(found) > MAX_BODY:
            msg = f"The body has more than {MAX_BODY} bytes."
            raise Problem(413, "payload_too_large", msg)
    # Forms of other sites cannot have this type.
    if found and kind != "application/json":
        msg = "The body is not application/json."
        raise Problem(415, "unsupported_media_type", msg, "Send Content-Type: application/json.")
    return bytes(found)


def _raw_path(request: Request) -> bytes:
    """Return the path below that of the interface, still encoded."""
    scope = request.scope
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.partition(b"?")[0].removeprefix(BASE.encode())
