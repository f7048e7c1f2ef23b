"""Errors as problem details (RFC 9457), with the codes of the command line."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import attrs
from starlette.responses import Response

from kando.errors import (
    AmbiguousName,
    ConcurrencyError,
    ConfigurationError,
    KandoError,
    LedgerExists,
    LedgerInUse,
    NoRootError,
    NotFoundError,
    PayloadTooLarge,
    PositionOutOfRange,
    ProviderError,
    RefusedEvent,
    ReplayDivergence,
    RunCancelled,
    StoreError,
)
from kando.plugins.errors import PluginError
from kando_inspector.encoding import encoded

__all__ = ["MEDIA_TYPE", "Problem", "problem_body", "problem_of", "problem_response"]

#: Of the body of an error.
MEDIA_TYPE = "application/problem+json"

#: The status of each kind of error; the first that fits counts.
_STATUSES: tuple[tuple[type[KandoError], int], ...] = (
    (NotFoundError, 404),
    (PositionOutOfRange, 404),
    (AmbiguousName, 409),
    (PayloadTooLarge, 413),
    (RefusedEvent, 422),
    (ConfigurationError, 400),
    (ConcurrencyError, 409),
    (LedgerExists, 409),
    (LedgerInUse, 409),
    (NoRootError, 409),
    (ReplayDivergence, 409),
    (RunCancelled, 409),
    (ProviderError, 502),
    (PluginError, 503),
    (StoreError, 503),
)


@attrs.define
class Problem(Exception):
    """An error of a request, which its response describes.

    Attributes:
        status: of the response.
        code: stable short name, as `KandoError.code`.
        detail: what happened, and to what.
        hint: the cure, or None.
        headers: of the response.
    """

    status: int
    code: str
    detail: str
    hint: str | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)


def problem_of(error: Exception) -> Problem:
    """Return the problem that an error is.

    An error that is not one of Kando's is a fault of the server: its traceback is written to stderr,
    and the response contains no detail of it.
    """
    if isinstance(error, Problem):
        return error
    if isinstance(error, KandoError):
        status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 422)
        return Problem(status, error.code, error.message, error.hint or None)
    traceback.print_exception(error, file=sys.stderr)
    hint = "The output of the server shows the error; please report it."
    return Problem(500, "internal", "The server failed to answer the request.", hint)


def problem_response(problem: Problem) -> Response:
    """Return a problem as a response."""
    body = encoded(problem_body(problem))
    return Response(body, problem.status, dict(problem.headers), MEDIA_TYPE)


def problem_body(problem: Problem) -> dict[str, Any]:
    """Return a problem as JSON."""
    return {
        "type": f"urn:kando:error:{problem.code}",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        "hint": problem.hint,
    }
