"""Shorthands for the events that a responder emits.

Each function returns an event without id, source and actor, and without a cause unless one is
given; the runtime fills them in when it records the event. A generator gets the recorded event
back from its yield::

    claim = yield create("Claim", {"statement": "..."})
    yield relate("supports", evidence, claim)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, overload

from kando.errors import InvalidData
from kando.responders.options import check_options
from kando.responders.policies import seconds_between, seconds_of
from kando.schema.attachments import with_read_content, with_read_paths
from kando.schema.events import (
    EXPIRES,
    LLM_REQUEST,
    OBJECT_CREATED,
    OBJECT_PATCHED,
    PERSON_ASKED,
    RELATION_CREATED,
    RELATION_REMOVED,
    REMIND,
    RUN_REQUESTED,
    TIMER_SET,
    TOOL_CALLED,
    KandoEvent,
    make_event,
)
from kando.schema.exact_json import sorted_encode
from kando.schema.typed import is_declarable, to_json
from kando.world.graph import Relation, WorldObject

if TYPE_CHECKING:
    from kando.kit import Kit
    from kando.responders.budget import Budget

__all__ = [
    "ask",
    "ask_person",
    "call_tool",
    "create",
    "emit",
    "patch",
    "relate",
    "set_timer",
    "start_run",
    "unrelate",
]

#: A reference to an object: its id, the object itself, or the event that created it.
ObjectRef = str | WorldObject | KandoEvent


def emit(
    type: str, data: dict[str, Any], *, cause: list[KandoEvent | str] | None = None
) -> KandoEvent:
    """Emit an event of any type.

    Args:
        type: dotted name.
        data: a JSON object.
        cause: its causes, events or ids; the event that is being handled if omitted.

    Raises:
        InvalidData: a request to a model names a file by its path, and it cannot be read.
        PayloadTooLarge: that file is too large.
    """
    if type == LLM_REQUEST and "messages" in data:
        data = {**data, "messages": with_read_paths(data["messages"])}
    ids = [each if isinstance(each, str) else each.id for each in cause] if cause else []
    return make_event(type, "", "", ids, data)


@overload
def create(
    type: str,
    data: dict[str, Any],
    *,
    id: str | None = None,
    cause: list[KandoEvent | str] | None = None,
) -> KandoEvent: ...


@overload
def create(
    object: Any, /, *, id: str | None = None, cause: list[KandoEvent | str] | None = None
) -> KandoEvent: ...


def create(
    type: Any,
    data: Any = None,
    *,
    id: str | None = None,
    cause: list[KandoEvent | str] | None = None,
) -> KandoEvent:
    """Create an object: ``create(Task(title="x"))``, or ``create("Task", {"title": "x"})``.

    The fields that the data of a declared type lacks get the defaults of its class.

    Args:
        type: an instance of an attrs class, a dataclass or a pydantic model; or the name of a type.
        data: of an object whose type is given by name.
        id: of the object; derived from the lineage key if omitted.
        cause: its causes, events or ids; the event that is being handled if omitted.

    Raises:
        InvalidData: `type` is not an instance of such a class.
    """
    named = {"id": id} if id is not None else {}
    if not isinstance(type, str):
        type, data = _typed(type, data)
    return emit(OBJECT_CREATED, {**named, "type": type, "data": data}, cause=cause)


def _typed(object: Any, data: Any) -> tuple[str, Any]:
    cls = object.__class__
    if data is None and is_declarable(cls):
        return cls.__name__, to_json(object)
    if isinstance(object, type) and is_declarable(object):
        msg = f"create() got the class {object.__name__}, not an instance of it."
        raise InvalidData(msg, hint=f"Write create({object.__name__}(...)).")
    what = f"{object!r:.60}" if data is None else f"{object!r:.60} and data"
    msg = f"create() got {what}, not an object."
    raise InvalidData(msg, hint='Write create(Task(...)) or create("Task", {...}).')


def patch(
    object: ObjectRef, changes: dict[str, Any], *, cause: list[KandoEvent | str] | None = None
) -> KandoEvent:
    """Change some fields of an object (a shallow merge)."""
    return emit(OBJECT_PATCHED, {"id": _id_of(object), "patch": changes}, cause=cause)


def relate(
    type: str,
    source: ObjectRef,
    target: ObjectRef,
    data: dict[str, Any] | None = None,
    *,
    id: str | None = None,
    cause: list[KandoEvent | str] | None = None,
) -> KandoEvent:
    """Create a relation from `source` to `target`; if no id is given, it is derived as in `create`."""
    body: dict[str, Any] = {"id": id} if id is not None else {}
    body |= {"type": type, "source_id": _id_of(source), "target_id": _id_of(target)}
    return emit(RELATION_CREATED, body | ({"data": data} if data else {}), cause=cause)


def unrelate(relation: str | Relation) -> KandoEvent:
    """Remove a relation."""
    return emit(RELATION_REMOVED, {"id": relation if isinstance(relation, str) else relation.id})


def ask(
    messages: list[dict[str, Any]],
    *,
    about: ObjectRef | None = None,
    model: str = "default",
    max_tokens: int | None = None,
    **options: Any,
) -> KandoEvent:
    """Send a request to a language model; the answer is an ``llm.response``.

    Args:
        messages: ``{"role": "system" | "user" | "assistant", "content": ...}`` each. The content is
            a text, or a list of texts and of what `kando.image` and `kando.file` return. A part may
            also be written out, with its ``data`` in base64 or with a ``path``, which is read now.
        about: the object it is about; the answer echoes it as ``cause_object_id``.
        model: ``provider:model``, or ``default`` for the one the run was started with.
        max_tokens: maximum length of the answer, thinking included; None for the default of the
            provider. A model that thinks may need thousands.
        options: further fields of the request, such as ``temperature``, ``effort`` or ``thinking``.
            A field that Kando does not know is sent as it is.

    Raises:
        ConfigurationError: an option cannot be honoured, or has a value of another type.
        InvalidData: an image or a file is malformed or cannot be read.
        PayloadTooLarge: it is too large.
    """
    check_options({"max_tokens": max_tokens, **options})
    messages = with_read_content(messages)
    data = {"messages": messages, "model": model, "max_tokens": max_tokens, **options}
    if about is not None:
        data["cause_object_id"] = _id_of(about)
    return emit(LLM_REQUEST, data)


def call_tool(
    tool: str, arguments: dict[str, Any], *, about: ObjectRef | None = None
) -> KandoEvent:
    """Call a tool of the kit; the answer is a ``tool.returned``.

    Args:
        tool: its name.
        arguments: by parameter name.
        about: the object it is about; the answer echoes it as ``cause_object_id``.
    """
    data: dict[str, Any] = {"tool": tool, "arguments": arguments}
    if about is not None:
        data["cause_object_id"] = _id_of(about)
    return emit(TOOL_CALLED, data)


def ask_person(
    question: str,
    schema: Any = None,
    *,
    about: ObjectRef | None = None,
    expires: float | timedelta | None = None,
    remind: float | timedelta | None = None,
) -> KandoEvent:
    """Ask a person; the reply is a ``person.replied``, and the run waits for it.

    Its data has the ``answer``, or an ``error`` if the deadline passed. A person replies with
    `kando reply`, `Run.reply` or kando-mcp, also after the process has ended.

    Args:
        question: the text.
        schema: what the answer must match: a JSON Schema, an attrs class, or any type whose values
            are JSON, such as ``Literal["yes", "no"]``; text if omitted.
        about: the object it is about; the reply echoes it as ``cause_object_id``.
        expires: seconds, or a `datetime.timedelta`, from the recording of the question until the run
            answers it itself with the error ``Expired``.
        remind: seconds, at least 60, or a `datetime.timedelta`: each time that the question has been
            open for so long since it was asked, or since the last reminder, a run that a process
            works on records a ``person.reminded``.

    Raises:
        InvalidData: the question is empty.
        ConfigurationError: the schema, the deadline or the interval is malformed.
    """
    if not isinstance(question, str) or not question.strip():
        msg = f"The question to a person is {question!r:.60}."
        raise InvalidData(msg, hint="Ask with a text.")
    data: dict[str, Any] = {"question": question}
    if schema is not None:
        data["schema"] = schema if isinstance(schema, dict) else _schema_of(schema)
    if (seconds := seconds_of(expires, "ask_person")) is not None:
        data[EXPIRES] = seconds
    if (seconds := seconds_between(remind, "ask_person")) is not None:
        data[REMIND] = seconds
    if about is not None:
        data["cause_object_id"] = _id_of(about)
    return emit(PERSON_ASKED, data)


def start_run(
    kit: str | Kit,
    goal: str,
    *,
    settings: Mapping[str, Any] | object | None = None,
    budget: Budget | None = None,
    about: ObjectRef | None = None,
    documents: Iterable[WorldObject] = (),
) -> KandoEvent:
    """Start a child run; its end is a ``run.ended``, and the run waits for it.

    The child has a ledger of its own in the same store. The data of ``run.ended`` has its
    ``run_id``, ``state`` and ``result``, or an ``error`` if it was cancelled, failed, or reached a
    limit. The limits of this run hold for it and its children together.

    Args:
        kit: the kit of the child, or its name. Only the name is recorded: the process that works on
            the run finds the kit among those that are installed or that its store was opened with.
        goal: goal of the child.
        settings: of its kit: by name, or an instance of its class; the defaults if omitted.
        budget: limits of the child; it never has more than this run has left.
        about: the object that it is about; ``run.ended`` echoes it as ``cause_object_id``.
        documents: objects of this run that the child begins with, such as
            ``world.objects_of("Document")``. The event has their ids and digests, not their data.

    Raises:
        InvalidData: the name of the kit or the goal is empty.
    """
    name = kit if isinstance(kit, str) else kit.name
    for what, text in (("kit", name), ("goal", goal)):
        if not isinstance(text, str) or not text.strip():
            msg = f"The {what} of a child run is {text!r:.60}."
            raise InvalidData(msg, hint=f"Name its {what} with a text.")
    data: dict[str, Any] = {"kit": name, "goal": goal}
    if settings is not None:
        data["settings"] = to_json(settings)
    if budget is not None and (limits := budget.limits()):
        data["limits"] = limits
    if about is not None:
        data["cause_object_id"] = _id_of(about)
    if handed := [{"id": each.id, "sha256": _digest_of(each)} for each in documents]:
        data["documents"] = handed
    return emit(RUN_REQUESTED, data)


def _digest_of(object: WorldObject) -> str:
    return sha256(sorted_encode([object.type, object.data])).hexdigest()


def set_timer(
    *, seconds: float | None = None, at: str | None = None, about: ObjectRef | None = None
) -> KandoEvent:
    """Set a timer; when it is due and a process works on the run, ``timer.fired`` is recorded.

    Args:
        seconds: time from its recording; or
        at: an ISO 8601 time with its time zone.
        about: the object it is about; ``timer.fired`` echoes it as ``cause_object_id``.
    """
    data: dict[str, Any] = {"at": at} if at is not None else {"seconds": seconds}
    if about is not None:
        data["cause_object_id"] = _id_of(about)
    return emit(TIMER_SET, data)


def _schema_of(cls: Any) -> dict[str, Any]:
    # Not needed by most responders, and costly to import.
    from kando.responders.structured import schema_of

    return schema_of(cls)


def _id_of(object: ObjectRef) -> str:
    if isinstance(object, str):
        return object
    if isinstance(object, WorldObject):
        return object.id
    id = object.data.get("id")
    if isinstance(id, str):
        return id
    msg = f"{object.type} by {object.actor or 'this responder'} has no object id yet."
    raise InvalidData(msg, hint="Use the event that `yield` returned: it has the id.")


# ``kando.emit`` is this module and also its function `emit`, which `kando` offers (kando/_lazy.py):
# after ``import kando.emit``, ``kando.emit.create`` is found on the function.
vars(emit).update({name: globals()[name] for name in __all__})
