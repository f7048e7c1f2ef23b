"""Answers by hand: a person or a program answers a request instead of the model or the tool."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from itertools import chain
from typing import Any

import attrs
import msgspec

from kando.app.inbox import OWN_PREFIX, Delivery, deliver
from kando.app.opened import OpenedRun
from kando.errors import (
    ConfigurationError,
    EventNotFound,
    InvalidData,
    PayloadTooLarge,
    RunCancelled,
)
from kando.responders._schema_errors import schema_errors
from kando.runtime.runtime import DEFAULT_MAX_PAYLOAD_BYTES
from kando.schema.content import media_size
from kando.schema.events import (
    APPROVAL_DENIED,
    APPROVAL_REQUESTED,
    ECHOED,
    LLM_REQUEST,
    PARKED,
    PERSON_ASKED,
    RESPONDER_FAILED,
    RUN_CANCELLED,
    RUN_REQUESTED,
    TOOL_CALLED,
    KandoEvent,
    RecordedEvent,
    make_event,
)
from kando.schema.exact_json import encode, exact, exact_and_encoded
from kando.views.approvals import intent_asked
from kando.views.pending import INTENTS, Pending, answered_by, failed_intent, track

__all__ = ["BY_HAND", "NOT_GIVEN", "answer_request"]

#: Stands for an argument that is not given: None is a value.
NOT_GIVEN: Any = attrs.NOTHING

#: The ``model`` of an answer that a person or a program gave, and the type of its ``error``.
BY_HAND, _ERROR_TYPE = "by hand", "ByHand"

_GIVEN = f"{OWN_PREFIX}given:"
_MAX_KEY_CHARS = 200
_MAX_LISTED = 10
_MAX_ERRORS = 10


def answer_request(
    run: OpenedRun,
    request_id: str,
    *,
    text: str | None = None,
    data: Any = NOT_GIVEN,
    result: Any = NOT_GIVEN,
    reply: Any = NOT_GIVEN,
    error: str | None = None,
    by: str = "cli",
) -> Delivery:
    """Answer an open request; the process that works on the run records the answer.

    The request is settled by it: the model is not asked, the tool does not run, and no approval of
    the call waits any more. The answer is not charged, and serves no other request and no branch
    that was forked before it.

    Args:
        run: opened for writing.
        request_id: id of an ``llm.request``, a ``tool.called`` or a ``person.asked`` that is not
            answered.
        text: the answer to an ``llm.request``; JSON if the request has an ``output_schema``.
        data: the answer to an ``llm.request`` that has an ``output_schema``, as JSON.
        result: the result of a ``tool.called``, as JSON.
        reply: the answer to a ``person.asked``: JSON that matches its schema, or text.
        error: reason why the request fails, for a request of any type.
        by: who answers: the actor of the event.

    Raises:
        EventNotFound: the run has no such event.
        RunCancelled: the run was cancelled.
        InvalidData: the event is not a request, is answered already, or the answer does not fit it.
        PayloadTooLarge: the answer is too large for an event.
        ConfigurationError: not exactly one of the answers is given.
    """
    given = {"text": text, "data": data, "result": result, "reply": reply, "error": error}
    given = {k: v for k, v in given.items() if v is not (None if k in _TEXTS else NOT_GIVEN)}
    if len(given) != 1:
        names = " and ".join(given) or "no answer"
        msg = f"{request_id} needs one answer, not {names}."
        raise ConfigurationError(msg, hint="Give one of text, data, result, reply and error.")
    request = _open_request(run, request_id)
    ((kind, value),) = given.items()
    answer, encoded = exact_and_encoded(
        {**_answer(request, kind, exact(value, kind)), **_echoed(request.data)}
    )
    size = len(encoded)
    if (
        size > DEFAULT_MAX_PAYLOAD_BYTES
        and (size := size - media_size(answer)) > DEFAULT_MAX_PAYLOAD_BYTES
    ):
        msg = f"The answer to {request_id} takes {size:,} bytes."
        raise PayloadTooLarge(msg, hint=f"The limit is {DEFAULT_MAX_PAYLOAD_BYTES:,} bytes.")
    event = make_event(INTENTS[request.type], "", by or "unknown", [request.id], answer)
    delivery = deliver(run, event, _key(request.id))
    if not delivery.is_new:
        raise _answered(run, request_id, "an answer that waits to be recorded")
    return delivery


_TEXTS = ("text", "error")


def _key(request_id: str) -> str:
    key = f"{_GIVEN}{request_id}"
    is_valid = len(key) <= _MAX_KEY_CHARS and key.isprintable()
    return key if is_valid else f"{_GIVEN}{sha256(request_id.encode()).hexdigest()}"


def _open_request(run: OpenedRun, request_id: str) -> RecordedEvent:
    """Return a request that may be answered.

    Raises:
        EventNotFound, InvalidData, RunCancelled: it may not.
    """
    source, request = run.ledger.stream_name(), run.ledger.find(request_id)
    if request is None:
        msg = f"{source} has no event {request_id!r:.80}."
        raise EventNotFound(msg, hint=_listed(run))
    if request.type not in INTENTS:
        msg = f"{request_id} is {_a(request.type)} event, not a request."
        raise InvalidData(msg, hint=_listed(run))
    pending: Pending[None] = Pending()
    asked: set[str] = set()
    for event in _events(run):
        track(pending, event, None)
        if event.type == APPROVAL_REQUESTED and intent_asked(event) == request_id:
            asked.add(event.id)
        elif event.type == APPROVAL_DENIED and event.data.get("approval") in asked:
            raise _denied(run, request_id, event)
        elif _closes(event, request_id):
            raise _closed_by(run, request_id, event)
    if pending.halted_by == RUN_CANCELLED:
        msg = f"{source} is cancelled, so {request_id} needs no answer."
        hint = (
            f"`kando fork {run.id} --at {request.position + 1}` makes a branch on which it is open."
        )
        raise RunCancelled(msg, hint=hint)
    return request


def _events(run: OpenedRun) -> Iterator[KandoEvent]:
    """Yield the events of a run, then the messages that wait to be recorded."""
    waiting = run.context.substrate().inbox(run.id)
    return chain(run.ledger.read_all(), (entry.event for entry in waiting))


def _closes(event: KandoEvent, request_id: str) -> bool:
    if event.type == RESPONDER_FAILED:
        return event.data.get("outcome") == PARKED and failed_intent(event.data) == request_id
    return request_id in answered_by(event)


def _denied(run: OpenedRun, request_id: str, event: KandoEvent) -> InvalidData:
    msg = f"{request_id} is denied by {event.actor}."
    hint = _fork_before(run, event.id) if event.id else f"`kando resume {run.id}` records it."
    return InvalidData(msg, hint=hint)


def _closed_by(run: OpenedRun, request_id: str, event: KandoEvent) -> InvalidData:
    if not event.id:
        return _answered(run, request_id, f"an answer of {event.actor} that waits to be recorded")
    if event.type != RESPONDER_FAILED:
        return _answered(run, request_id, f"{event.id} of {event.actor}", event.id)
    error = event.data.get("error") or {}
    msg = f"{request_id} is parked: {event.actor} failed ({error.get('type')}), as {event.id} says."
    return InvalidData(msg, hint=_fork_before(run, event.id))


def _answered(run: OpenedRun, request_id: str, by: str, answer_id: str = "") -> InvalidData:
    msg = f"{request_id} is answered already, by {by}."
    hint = _fork_before(run, answer_id) if answer_id else f"`kando resume {run.id}` records it."
    return InvalidData(msg, hint=hint)


def _fork_before(run: OpenedRun, event_id: str) -> str:
    return f"`kando fork {run.id} --before {event_id}` makes a branch on which it can be answered."


def _listed(run: OpenedRun) -> str:
    pending: Pending[None] = Pending()
    for event in _events(run):
        track(pending, event, None)
    ids = list(pending.intents)
    more = ", ..." if len(ids) > _MAX_LISTED else ""
    listed = ", ".join(ids[:_MAX_LISTED]) + more
    return f"Open requests: {listed}." if ids else "The run has no open requests."


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _echoed(request: Mapping[str, Any]) -> dict[str, Any]:
    return {field: request[field] for field in ECHOED if field in request}


def _answer(request: RecordedEvent, kind: str, given: Any) -> dict[str, Any]:
    """Return the data of an answer by hand, as an executor would return it.

    Raises:
        InvalidData: the answer does not fit the request.
    """
    is_llm = request.type == LLM_REQUEST
    fits, right = _FITTING[request.type]
    if kind not in fits and kind != "error":
        msg = f"{request.id} is {_a(request.type)}: {kind} does not answer it."
        raise InvalidData(msg, hint=f"Give {right}; or error.")
    if kind == "error":
        _require_text(kind, given)
        failed: dict[str, Any] = {"error": {"type": _ERROR_TYPE, "message": given}}
        return {**failed, "model": BY_HAND, "cost_usd": 0.0} if is_llm else failed
    if kind == "result":
        return {"result": given}
    if kind == "reply":
        return {"answer": _reply(request, given)}
    schema = request.data.get("output_schema")
    answer: dict[str, Any] = {"model": BY_HAND, "cost_usd": 0.0, "stop": "end"}
    if kind == "text":
        _require_text(kind, given)
        answer["text"] = given
        if isinstance(schema, Mapping):
            answer["data"] = _fitting(request, schema, _decoded(request, given))
        return answer
    if not isinstance(schema, Mapping):
        msg = f"{request.id} has no output_schema, so data does not answer it."
        raise InvalidData(msg, hint="Give text.")
    value = _fitting(request, schema, given)
    return {**answer, "text": json.dumps(value, ensure_ascii=False), "data": value}


#: The answers that fit a request, by its type, and how to say so.
_FITTING = {
    LLM_REQUEST: (("text", "data"), "text, or data if it has an output_schema"),
    TOOL_CALLED: (("result",), "result"),
    PERSON_ASKED: (("reply",), "reply"),
    RUN_REQUESTED: (("result",), "result"),
}


def _reply(question: RecordedEvent, given: Any) -> Any:
    schema = question.data.get("schema")
    if not isinstance(schema, Mapping):
        _require_text("reply", given)
        return given
    problems = schema_errors(schema, given, "reply")
    if not problems:
        return given
    # At a terminal every answer is text.
    if isinstance(given, str):
        with suppress(msgspec.MsgspecError, RecursionError, UnicodeError):
            decoded = msgspec.json.decode(given)
            if not schema_errors(schema, decoded, "reply"):
                return decoded
    msg = f"The reply does not match the schema of {question.id}: {'; '.join(problems[:_MAX_ERRORS])}."
    shown = encode(schema).decode()
    raise InvalidData(msg, hint=f"Its schema: {shown:.500}")


def _require_text(name: str, given: object) -> None:
    if not isinstance(given, str):
        msg = f"{name} must be a string, not {given!r:.60}."
        raise InvalidData(msg, hint="Give data or result for other JSON values.")


def _decoded(request: RecordedEvent, text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        msg = f"{request.id} has an output_schema, and the text is not JSON."
        raise InvalidData(
            msg, hint="Give JSON that matches the schema, as text or data."
        ) from error


def _fitting(request: RecordedEvent, schema: Mapping[str, Any], value: Any) -> Any:
    problems = schema_errors(schema, value)[:_MAX_ERRORS]
    if problems:
        msg = f"The answer does not match the output_schema of {request.id}: {'; '.join(problems)}."
        raise InvalidData(msg, hint="Give JSON that matches the schema of the request.")
    return value
