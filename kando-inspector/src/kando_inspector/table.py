"""The table of operations: their parameters and results, by which requests are routed and documented."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import IO, Any

import attrs

from kando.app.opened import open_run
from kando.app.run import Run
from kando_inspector.access import LOOK
from kando_inspector.service import Service

__all__ = ["Call", "Content", "Operation", "Parameter"]


@attrs.frozen
class Parameter:
    """A parameter of an operation.

    Attributes:
        name: as in the path, or in the query.
        about: one sentence.
        schema: JSON Schema of its value: a string, an integer, a boolean, or an array of strings,
            which the query repeats.
        is_in_path: whether it is part of the path; else it is in the query.
        is_required: whether the query must have it.
    """

    name: str
    about: str
    schema: Mapping[str, Any] = attrs.field(factory=lambda: {"type": "string"})
    is_in_path: bool = False
    is_required: bool = False


@attrs.frozen
class Call:
    """A call of an operation.

    Attributes:
        service: the store, and what its operator allows.
        role: of the client.
        arguments: the parameters by name, checked; those that were not given are missing.
        body: the JSON of the request's body, checked; None without one.
        headers: of the request, with lower-case names.
    """

    service: Service
    role: str
    arguments: Mapping[str, Any]
    body: Any = None
    headers: Mapping[str, str] = attrs.field(factory=dict)

    def run(self) -> Run:
        """Return the run that the path names.

        Raises:
            LedgerNotFound, AmbiguousName: no run, or more than one, has this id.
        """
        return self.service.store.run(self.arguments["run"])

    def run_at(self) -> tuple[Run, int]:
        """Return the run that the path names, and the number of its events that count.

        Raises:
            LedgerNotFound, AmbiguousName: no run, or more than one, has this id.
            PositionOutOfRange: the run is shorter than ``at``.
        """
        return self.service.store.run_at(self.arguments["run"], self.arguments.get("at"))

    def folded_run_at(self) -> tuple[Run, int]:
        """Return the same as `run_at`, for a reader of all of its events.

        They are folded once: the next reader reads only those that are new.

        Raises:
            LedgerNotFound, AmbiguousName: no run, or more than one, has this id.
            PositionOutOfRange: the run is shorter than ``at``.
        """
        run, at = self.run_at()
        context = self.service.store.context
        if context.snapshot_cache is not None:
            context.snapshot_cache.catch_up(open_run(context, run.id), at)
        return run, at


@attrs.frozen
class Content:
    """A result that is not JSON.

    Attributes:
        body: its bytes, or a file that has them, which is closed when they are sent.
        media_type: such as ``text/html``.
        name: file name under which a browser saves it.
    """

    body: bytes | IO[bytes]
    media_type: str
    name: str


@attrs.frozen
class Operation:
    """An operation of the REST interface.

    Attributes:
        id: unique name, from which clients make the name of a function.
        method: such as ``GET``.
        path: below ``/api/v1``, with its parameters as ``{name}``, each a whole segment.
        about: one sentence.
        handle: called in a thread; returns JSON, a `Content`, or None for a response without body.
            Of a stream: an async function that returns a response of Starlette.
        result: name of the schema of the result, or the schema.
        parameters: of the path and the query.
        body: name of the schema of the request's body, or the schema; None without one.
        status: of a response without an error.
        errors: statuses of its errors, in addition to 400 and 401.
        role: that a client needs.
        is_of_ledger: whether the result follows from the first ``at`` events of the run alone: the
            hash of the last one is then its ETag, and an unchanged result is not computed again.
        is_stream: whether the response is a stream of events.
        media_types: of results that are a `Content`.
    """

    id: str
    method: str
    path: str
    about: str
    handle: Callable[[Call], Any]
    result: str | Mapping[str, Any] | None = None
    parameters: tuple[Parameter, ...] = ()
    body: str | Mapping[str, Any] | None = None
    status: int = 200
    errors: tuple[int, ...] = ()
    role: str = LOOK
    is_of_ledger: bool = False
    is_stream: bool = False
    media_types: tuple[str, ...] = ()

    @property
    def segments(self) -> list[str]:
        """The segments of its path."""
        return self.path.strip("/").split("/")
