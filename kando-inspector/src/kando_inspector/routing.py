"""Requests to operations: the path, the query and the body, checked against the table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote

import attrs

from kando.responders._schema_errors import schema_errors
from kando_inspector.problems import Problem
from kando_inspector.table import Operation, Parameter

__all__ = ["MAX_BODY", "Routes", "arguments_of", "body_of"]

#: Most bytes of the body of a request.
MAX_BODY = 16_000_000

_INTEGER = re.compile(r"-?[0-9]{1,15}")


@attrs.frozen
class Routes:
    """The operations, found by method and path.

    Attributes:
        operations: all of them.
    """

    operations: Sequence[Operation]

    def find(self, method: str, path: bytes) -> tuple[Operation, dict[str, str]]:
        """Return the operation of a request, and the texts of the parameters in its path.

        Args:
            method: of the request.
            path: below ``/api/v1``, still encoded: an id may contain an encoded slash.

        Raises:
            Problem: there is no such operation, or the path is malformed.
        """
        segments = [_decoded(each) for each in path.strip(b"/").split(b"/")]
        found = list(self._of_path(segments))
        for operation, texts in found:
            if operation.method == method:
                return operation, texts
        if not found:
            msg = "There is no such operation."
            raise Problem(404, "not_found", msg, "GET /api/v1/openapi.json lists the operations.")
        allowed = ", ".join(sorted({operation.method for operation, _ in found}))
        msg = f"This path does not support {method[:20]}."
        raise Problem(405, "method_not_allowed", msg, f"Use {allowed}.", {"allow": allowed})

    def _of_path(self, segments: list[str]) -> Iterator[tuple[Operation, dict[str, str]]]:
        for operation in self.operations:
            texts = _matched(operation.segments, segments)
            if texts is not None:
                yield operation, texts


def _matched(pattern: list[str], segments: list[str]) -> dict[str, str] | None:
    if len(pattern) != len(segments):
        return None
    texts = {}
    for each, text in zip(pattern, segments, strict=True):
        if each.startswith("{"):
            texts[each[1:-1]] = text
        elif each != text:
            return None
    return texts if all(texts.values()) else None


def _decoded(segment: bytes) -> str:
    try:
        return unquote(segment.decode("ascii"), errors="strict")
    except UnicodeDecodeError:
        raise _usage("The path is not UTF-8.") from None


def arguments_of(operation: Operation, texts: Mapping[str, str], query: bytes) -> dict[str, Any]:
    """Return the parameters of a request by name.

    Args:
        operation: of the request.
        texts: of the parameters in the path.
        query: of the request, still encoded.

    Raises:
        Problem: a parameter is unknown, missing or malformed.
    """
    given: dict[str, list[str]] = {name: [text] for name, text in texts.items()}
    known = {each.name: each for each in operation.parameters}
    for name, text in _pairs(query):
        if name not in known or known[name].is_in_path:
            names = ", ".join(n for n, each in known.items() if not each.is_in_path) or "none"
            raise _usage(f"There is no parameter {name!r:.80}.", f"The parameters are: {names}.")
        given.setdefault(name, []).append(text)
    found = {}
    for name, parameter in known.items():
        if name in given:
            found[name] = _value_of(parameter, given[name])
        elif parameter.is_required:
            raise _usage(f"The parameter {name!r} is missing.", parameter.about)
    return found


def _pairs(query: bytes) -> list[tuple[str, str]]:
    try:
        text = query.decode("ascii")
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=200)
    except ValueError:
        raise _usage("The query is malformed.") from None


def _value_of(parameter: Parameter, texts: list[str]) -> Any:
    schema = parameter.schema
    if schema["type"] == "array":
        values: Any = [_scalar(schema["items"], text) for text in texts]
    elif len(texts) > 1:
        raise _usage(f"The parameter {parameter.name!r} is given {len(texts)} times.")
    else:
        values = _scalar(schema, texts[0])
    wrong = schema_errors(schema, values, parameter.name)
    if wrong:
        raise _usage(f"{wrong[0]}.", parameter.about)
    return values


def _scalar(schema: Mapping[str, Any], text: str) -> Any:
    if schema["type"] == "integer" and _INTEGER.fullmatch(text):
        return int(text)
    if schema["type"] == "boolean" and text in ("true", "false"):
        return text == "true"
    return text


def body_of(operation: Operation, schema: Mapping[str, Any], body: bytes) -> Any:
    """Return the JSON in the body of a request.

    Args:
        operation: of the request.
        schema: of its body.
        body: of the request.

    Raises:
        Problem: it is not JSON, or does not match the schema.
    """
    try:
        value = json.loads(body.decode(), parse_constant=_refused) if body else {}
    except (ValueError, RecursionError) as error:
        raise _usage(f"The body is not JSON: {error!s:.200}.") from error
    wrong = schema_errors(schema, value, "body")
    if wrong:
        text = "; ".join(wrong[:5])
        raise Problem(422, "invalid_data", f"The body is malformed: {text}.", operation.about)
    return value


def _refused(name: str) -> float:
    msg = f"{name} is not a JSON number"
    raise ValueError(msg)


def _usage(detail: str, hint: str | None = None) -> Problem:
    return Problem(400, "usage", detail, hint)
