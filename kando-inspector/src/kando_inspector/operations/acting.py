"""Operations that act on runs: start, resume, pause, cancel, label, fork, send, approve and answer.

The workers of a group do the work: an operation returns as soon as what it asks for is on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from kando.app.allowed_providers import reject_file_argument, require_allowed_provider
from kando.app.delete import delete_for_client
from kando.app.inbox import Delivery
from kando.app.opened import open_run
from kando.app.run import Run
from kando.app.shapes import status_dict
from kando.errors import ConfigurationError, InvalidData
from kando.ledger.groups import Job
from kando.responders.budget import Budget
from kando_inspector.access import ACT
from kando_inspector.parameters import RUN
from kando_inspector.service import Service
from kando_inspector.table import Call, Operation, Parameter

__all__ = ["OPERATIONS"]

#: Actor of what a client does.
_ACTOR = "inspector"

#: Types of events that only responders emit: a client must not have a call made or answered.
_CALLS = ("llm.", "tool.")

_ANSWERS = ("text", "data", "result", "reply", "error")


def _start(call: Call) -> dict[str, Any]:
    service, given = call.service, call.body
    llm = given.get("llm")
    # A forbidden provider must be rejected before the run is created.
    require_allowed_provider(service.store.context, llm, service.limits)
    run = service.store.start(
        given["kit"],
        given.get("goal"),
        demo=given.get("demo", False),
        settings=given.get("settings"),
        llm=llm,
        budget=_budget(given),
        labels=given.get("labels"),
        work=False,
    )
    run.offer(service.group)
    service.begin_work()
    return status_dict(run.status())


def _resume(call: Call) -> dict[str, Any]:
    run, given = call.run(), call.body
    return _resumed(call.service, run, given)


def _resumed(service: Service, run: Run, given: Mapping[str, Any]) -> dict[str, Any]:
    llm = given.get("llm")
    require_allowed_provider(service.store.context, llm, service.limits)
    open_run(service.store.context, run.id).require_kit()
    run.offer(service.group, llm=llm, budget=_budget(given))
    service.begin_work()
    return status_dict(run.status())


def _budget(given: Mapping[str, Any]) -> Budget | None:
    usd = given.get("max_usd")
    return Budget(max_llm_cost_usd=usd) if usd is not None else None


def _pause(call: Call) -> dict[str, Any]:
    _delivered(call, lambda run: run.pause())
    return status_dict(call.run().status())


def _cancel(call: Call) -> dict[str, Any]:
    _delivered(call, lambda run: run.cancel())
    return status_dict(call.run().status())


def _label(call: Call) -> dict[str, Any]:
    run = call.run()
    run.label(call.body["labels"], actor=_ACTOR)
    return status_dict(run.status())


def _delete(call: Call) -> dict[str, Any]:
    named = call.arguments["run"]
    return {"run_ids": delete_for_client(call.run(), named, call.service.limits)}


def _send(call: Call) -> dict[str, Any]:
    given = call.body
    if "text" in given:
        if {"type", "data", "cause"} & given.keys():
            msg = "A message with text is an event of its own."
            raise InvalidData(msg, hint="Leave out type, data and cause.")
        said = {name: given[name] for name in ("attachments", "about", "key") if name in given}
        return _delivered(call, lambda run: run.say(given["text"], actor=_ACTOR, **said))
    if "type" not in given:
        msg = "The message has neither text nor a type."
        raise InvalidData(msg, hint='Send {"text": ...} or {"type": ..., "data": {...}}.')
    sent = {name: given[name] for name in ("cause", "key") if name in given}
    return _delivered(
        call, lambda run: run.send(given["type"], given.get("data", {}), actor=_ACTOR, **sent)
    )


def _approve(call: Call) -> dict[str, Any]:
    given, request = call.body, call.arguments["request"]
    if given["decision"] == "approve":
        if "reason" in given:
            msg = "An approval has no reason."
            raise ConfigurationError(msg, hint="Leave it out, or deny.")
        return _delivered(call, lambda run: run.approve(request, given.get("args"), by=_by(given)))
    if given.get("args") is not None:
        msg = "A denied call has no arguments."
        raise ConfigurationError(msg, hint="Leave out args, or approve.")
    return _delivered(
        call, lambda run: run.deny(request, reason=given.get("reason"), by=_by(given))
    )


def _answer(call: Call) -> dict[str, Any]:
    body, request = call.body, call.arguments["request"]
    given = {name: body[name] for name in _ANSWERS if name in body}
    if len(given) != 1:
        names = " and ".join(given) or "no answer"
        msg = f"{request} needs one answer, not {names}."
        raise ConfigurationError(msg, hint=f"Give one of {', '.join(_ANSWERS)}.")
    if "reply" in given:
        return _delivered(call, lambda run: run.reply(request, given["reply"], by=_by(body)))
    return _delivered(call, lambda run: run.answer(request, **given, by=_by(body)))


def _by(given: Mapping[str, Any]) -> str:
    return str(given.get("by") or _ACTOR)


def _delivered(call: Call, deliver: Callable[[Run], Delivery]) -> dict[str, Any]:
    """Put something into the inbox of a run, and have a worker record it."""
    delivery = deliver(call.run())
    substrate = call.service.store.context.substrate(read_only=False)
    # A run that the workers did not work on before has no group that the delivery would wake.
    substrate.group(call.service.group).offer(Job(delivery.run_id))
    call.service.begin_work()
    return attrs.asdict(delivery)


def _fork(call: Call) -> dict[str, Any]:
    service, given = call.service, call.body
    llm, model = given.get("llm"), given.get("model")
    require_allowed_provider(service.store.context, llm, service.limits)
    if model is not None:
        reject_file_argument(model, service.store.context.plugins, service.limits)
    events = given.get("events", [])
    for event in events:
        if str(event.get("type")).startswith(_CALLS):
            msg = f"Only responders may emit events of type {event.get('type')!r:.80}."
            raise InvalidData(msg, hint="Create or patch an object to which responders react.")
    branch = call.run().fork(
        at=given.get("at"),
        before=given.get("before"),
        patches=list(given.get("patches", {}).items()),
        events=events,
        goal=given.get("goal"),
        model=model,
        llm=llm,
        kit=given.get("kit"),
        fresh=given.get("fresh", False),
        allow_writes=given.get("allow_writes", False),
        budget=_budget(given),
        settings=given.get("settings"),
        labels=given.get("labels"),
        actor=_ACTOR,
    )
    if given.get("resume", False):
        return _resumed(service, branch, {})
    return status_dict(branch.status())


_TEXT = {"type": "string"}
_NAME = {"type": "string", "minLength": 1, "maxLength": 1000}
_OBJECT = {"type": "object"}
_USD = {"type": "number", "minimum": 0, "description": "Limit of the LLM cost, in US dollars."}
_LLM = {**_NAME, "description": "PROVIDER, or PROVIDER:MODEL."}
_FLAG = {"type": "boolean", "default": False}
_LABELS = {
    "type": "object",
    "additionalProperties": {"type": ["string", "null"]},
    "description": "Values by name; null removes a label.",
}
_BY = {"type": "string", "maxLength": 200, "description": "Name of the person."}


def _body(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [*required],
        "properties": properties,
        "additionalProperties": False,
    }


_DELIVERY = {
    "type": "object",
    "required": ["run_id", "key", "is_new"],
    "properties": {"run_id": _TEXT, "key": _TEXT, "is_new": {"type": "boolean"}},
}
_START = _body(
    ("kit",),
    kit={**_NAME, "description": "Name of an installed kit."},
    goal=_TEXT,
    demo={**_FLAG, "description": "Run the kit's demo, with its own input and answers."},
    settings={**_OBJECT, "description": "Settings of the kit, by name."},
    llm=_LLM,
    max_usd=_USD,
    labels={
        "type": "object",
        "additionalProperties": _TEXT,
        "description": "Labels of the run: values by name.",
    },
)
_RESUME = _body(llm=_LLM, max_usd=_USD)
_DELETED = {
    "type": "object",
    "properties": {"run_ids": {"type": "array", "items": {"type": "string"}}},
    "required": ["run_ids"],
}
_NOTHING = _body()
_LABEL = _body(("labels",), labels=_LABELS)
_SEND = _body(
    text={**_TEXT, "description": "Continues a conversation; instead of type and data."},
    attachments={"type": "array", "items": _OBJECT, "maxItems": 100},
    about={**_NAME, "description": "Object of the conversation."},
    type=_NAME,
    data=_OBJECT,
    cause={"type": "array", "items": _TEXT, "maxItems": 1000},
    key={**_NAME, "description": "Idempotency key: a second message with it is ignored."},
)
_DECIDE = _body(
    ("decision",),
    decision={"type": "string", "enum": ["approve", "deny"]},
    reason={"type": "string", "maxLength": 2000, "description": "Of a denial."},
    args={"type": ["object", "null"], "description": "All arguments of an approved call."},
    by=_BY,
)
_ANSWER = _body(
    text={**_TEXT, "description": "Answers an llm.request."},
    data={"description": "Answers an llm.request with an output_schema."},
    result={"description": "Result of a tool.called."},
    reply={"description": "A person's answer to a person.asked."},
    error={**_TEXT, "description": "Why the request fails."},
    by=_BY,
)
_FORK = _body(
    at={"type": "integer", "minimum": 0, "maximum": 999_999_999_999},
    before={**_NAME, "description": "Id of the first event not to share; instead of at."},
    patches={
        "type": "object",
        "additionalProperties": _OBJECT,
        "description": "Objects to patch: object id to the fields to set.",
    },
    events={
        "type": "array",
        "maxItems": 100,
        "items": _OBJECT,
        "description": 'First events of the branch: {"type", "data", "cause"}.',
    },
    goal=_TEXT,
    model=_NAME,
    llm=_LLM,
    kit=_NAME,
    fresh={**_FLAG, "description": "Ignore answers that were cached before the fork."},
    allow_writes={**_FLAG, "description": "Call tools that write without asking a person."},
    settings=_OBJECT,
    labels=_LABELS,
    max_usd=_USD,
    resume={**_FLAG, "description": "Have workers continue the branch at once."},
)

_ERRORS = (403, 404, 409, 413, 415, 422, 503)
_REQUEST = Parameter("request", "Id of the event that asks.", is_in_path=True)


def _action(
    id: str,
    path: str,
    about: str,
    handle: Callable[[Call], Any],
    body: Mapping[str, Any],
    *,
    result: Mapping[str, Any] | str = "RunStatus",
    parameters: tuple[Parameter, ...] = (RUN,),
    status: int = 202,
) -> Operation:
    return Operation(
        id, "POST", path, about, handle, result, parameters, body, status, _ERRORS, ACT
    )


OPERATIONS: tuple[Operation, ...] = (
    _action(
        "start_run",
        "/runs",
        "Start a run of a kit; workers continue it.",
        _start,
        _START,
        parameters=(),
        status=201,
    ),
    _action(
        "resume_run",
        "/runs/{run}/resume",
        "Have workers resume a run, paused or not.",
        _resume,
        _RESUME,
    ),
    _action(
        "pause_run",
        "/runs/{run}/pause",
        "Pause a run after its current firing.",
        _pause,
        _NOTHING,
    ),
    _action(
        "cancel_run",
        "/runs/{run}/cancel",
        "Stop a run for good; it can still be read and forked.",
        _cancel,
        _NOTHING,
    ),
    Operation(
        "delete_run",
        "DELETE",
        "/runs/{run}",
        "Delete a run and the child runs that it started, for good.",
        _delete,
        _DELETED,
        (RUN,),
        errors=(403, 404, 409, 503),
        role=ACT,
    ),
    _action(
        "label_run",
        "/runs/{run}/labels",
        "Change the labels of a run; its state stays what it is.",
        _label,
        _LABEL,
    ),
    _action(
        "send_message",
        "/runs/{run}/messages",
        "Send a run an event, or a message that continues a conversation.",
        _send,
        _SEND,
        result=_DELIVERY,
    ),
    _action(
        "decide_approval",
        "/runs/{run}/approvals/{request}",
        "Approve or deny a call, an answer or an object that waits for a person.",
        _approve,
        _DECIDE,
        result=_DELIVERY,
        parameters=(RUN, _REQUEST),
    ),
    _action(
        "answer_request",
        "/runs/{run}/answers/{request}",
        "Answer an open request by hand, or reply to a question.",
        _answer,
        _ANSWER,
        result=_DELIVERY,
        parameters=(RUN, _REQUEST),
    ),
    _action(
        "fork_run",
        "/runs/{run}/forks",
        "Fork a run at a position, with or without changes; no event is copied.",
        _fork,
        _FORK,
        status=201,
    ),
)
