"""Answers as they are recorded: whatever an executor returns, there is something to record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from kando.errors import InvalidData
from kando.responders.approved import approved_arguments
from kando.runtime.failure import failure_data
from kando.schema.content import media_size
from kando.schema.events import ECHOED, RESPONDER_FAILED, RETRIED, KandoEvent, make_event
from kando.schema.exact_json import exact_and_encoded
from kando.views.pending import BY, INTENTS
from kando.views.spending import amount_of, charge_of

__all__ = ["late_failure", "recordable"]

#: Bytes that are left for the text of an answer that is too large, of the limit of an event.
_TEXT_SHARE = 0.5


def recordable(answer: object, intent: KandoEvent, max_bytes: int) -> dict[str, Any]:
    """Return the data of an answer, or of an error in its place if it cannot be recorded.

    An answer cannot be recorded if it is not a JSON object, nests too deeply or is too large. The
    error says why, and keeps what the answer cost, its usage, its model, and as much of its text as
    fits, so that it is charged once and not asked for again. The answer to a call that a person
    approved with other arguments states these, for those who read the answer.

    Args:
        answer: what the executor returned.
        intent: the request that it answers.
        max_bytes: limit of one event's encoded data.
    """
    try:
        if not isinstance(answer, dict):
            msg = f"The answer is {type(answer).__name__}, not a JSON object."
            raise InvalidData(msg)
        data: dict[str, Any]
        # Only an answer from outside says who gave it.
        given = {k: v for k, v in answer.items() if k != BY}
        data, encoded = exact_and_encoded({**given, **approved_arguments(intent)})
    except InvalidData as error:
        problem = error.message
    else:
        size = len(encoded)
        if size <= max_bytes or (size := size - media_size(data)) <= max_bytes:
            return data
        problem = f"The answer takes {size:,} bytes; the limit is {max_bytes:,}."
    return _error(answer if isinstance(answer, Mapping) else {}, intent, problem, max_bytes)


def _error(
    answer: Mapping[str, Any], intent: KandoEvent, problem: str, max_bytes: int
) -> dict[str, Any]:
    data: dict[str, Any] = {field: intent.data[field] for field in ECHOED if field in intent.data}
    data["error"] = {"type": "Unrecordable", "message": _clean(problem)[:1000]}
    if isinstance(model := answer.get("model"), str):
        data["model"] = _clean(model)[:200]
    if "cost_usd" in answer:
        data["cost_usd"] = amount_of(answer["cost_usd"])
    if isinstance(usage := answer.get("usage"), Mapping):
        known = {_clean(str(name))[:100]: amount_of(value) for name, value in usage.items()}
        data["usage"] = {name: int(n) for name, n in known.items() if n is not None}
    if isinstance(text := answer.get("text"), str):
        room = int(max_bytes * _TEXT_SHARE)
        data["text"] = _clean(text).encode()[:room].decode("utf-8", "ignore")
    return data


def late_failure(
    intent: KandoEvent, responder: str, result: dict[str, Any] | BaseException, by: str
) -> KandoEvent:
    """Return the ``responder.failed`` for a call that returned after its request was answered.

    It says what the call used, so that the call is charged.

    Args:
        intent: the request.
        responder: the executor that made the call.
        result: the data of its answer, or its exception.
        by: who answered the request by hand.
    """
    if isinstance(result, BaseException):
        data = failure_data(responder, intent.id, result, 1, RETRIED)
    else:
        message = f"{intent.id} was answered by {by} before the answer of {responder} was recorded."
        error = {"type": "AnsweredAlready", "message": message}
        data = {"responder": responder, "trigger": intent.id, "attempt": 1, "outcome": RETRIED}
        data |= {"error": error, **_used(INTENTS[intent.type], result)}
    data |= {"call": True, "in_turn": False}
    failed = make_event(RESPONDER_FAILED, "", responder, [intent.id], data)
    return attrs.evolve(failed, id=f"{RESPONDER_FAILED}@late:{intent.id}")


def _used(answer_type: str, answer: dict[str, Any]) -> dict[str, Any]:
    charge = charge_of(answer_type, answer)
    if not charge.llm_calls:
        return {}
    tokens = {"output_tokens": charge.llm_tokens}
    usage = answer.get("usage")
    known = {
        str(name): value
        for name, value in (usage.items() if isinstance(usage, Mapping) else ())
        if type(value) is int and value >= 0
    }
    return {"usage": known or tokens, "cost_usd": amount_of(answer.get("cost_usd"))}


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
