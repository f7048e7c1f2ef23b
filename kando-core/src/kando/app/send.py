"""Send events to a run from outside; the process that works on the run records them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from kando.app.children import stop_children
from kando.app.entries import CANCEL_KEY
from kando.app.inbox import OWN_PREFIX, Delivery, deliver
from kando.app.inspect import world_at
from kando.app.opened import OpenedRun
from kando.errors import InvalidData, ObjectNotFound
from kando.ledger.inbox import InboxEntry
from kando.schema.content import has_path, media_problem
from kando.schema.events import HUMAN_MESSAGE, RUN_CANCELLED, RUN_PAUSED, make_event

__all__ = ["cancel_run", "check_type", "pause_run", "say", "send_event"]

#: Prefixes of event types that only the runtime records.
_RESERVED = (
    "responder.",
    "branch.",
    "budget.",
    "kit.",
    "inbox.",
    "run.",
    "approval.",
    "person.reminded",
    "timer.fired",
    "workspace.loaded",
)


def send_event(
    run: OpenedRun,
    type: str,
    data: dict[str, Any],
    *,
    cause: list[str] | None = None,
    key: str | None = None,
    actor: str = "cli",
) -> Delivery:
    """Put an event into a run's inbox.

    Args:
        run: opened for writing.
        type: of the event.
        data: a JSON object.
        cause: ids of events of the run that caused it.
        key: idempotency key: a second event with the same key is ignored; a new one if None.
        actor: of the event.

    Raises:
        InvalidData: type or key are reserved for the runtime, the data is not JSON, or its content
            names a file by a path: it may come from anywhere.
    """
    if key is not None and key.startswith(OWN_PREFIX):
        msg = f"The key {key!r} is reserved."
        raise InvalidData(msg, hint=f"Use a key that does not start with {OWN_PREFIX!r}.")
    _check_content(type, data)
    return deliver(run, make_event(check_type(type), "", actor, cause or [], data), key)


def _check_content(type: str, data: dict[str, Any]) -> None:
    """Refuse a path in content, and images and files that no model could be sent."""
    if has_path(data):
        msg = f"The content of {type} names a file by its path."
        raise InvalidData(msg, hint="Send its data: kando.image and kando.file read a file.")
    content = data.get("content")
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict) and part.get("type") in ("image", "file"):
            problem = media_problem(part)
            if problem is not None:
                msg = f"The {part['type']} in the content of {type} {problem}."
                raise InvalidData(msg, hint="Make it with kando.image or kando.file.")


def say(
    run: OpenedRun,
    text: str,
    *,
    attachments: Sequence[Any] = (),
    about: str | None = None,
    key: str | None = None,
    actor: str = "cli",
) -> Delivery:
    """Put a message of a person into a run's inbox: a ``human.message`` continues a conversation.

    Args:
        run: opened for writing.
        text: of the message.
        attachments: images and files that follow the text.
        about: id of the object of the conversation; the kit's first conversation if None.
        key: idempotency key, as for `send_event`.
        actor: of the event.

    Raises:
        InvalidData: the text is empty, the key is reserved, or an attachment is not what `kando.image`
            or `kando.file` returns.
        ObjectNotFound: the run has no such object.
    """
    if not isinstance(text, str) or not text.strip():
        msg = f"The message to {run.id} is {text!r:.60}."
        raise InvalidData(msg, hint="Say something.")
    data: dict[str, Any] = {"text": text}
    if attachments:
        data["content"] = [{"type": "text", "text": text}, *attachments]
    if about is not None:
        if world_at(run, run.ledger.length()).get_object(about) is None:
            msg = f"Run {run.id} has no object {about!r}."
            raise ObjectNotFound(msg, hint="Give the id of an object of the run.")
        data["cause_object_id"] = about
    return send_event(run, HUMAN_MESSAGE, data, key=key, actor=actor)


def check_type(type: str) -> str:
    """Return the type of an event from outside, after a check.

    Raises:
        InvalidData: the type is empty, or reserved for the runtime.
    """
    if type and not type.startswith(_RESERVED):
        return type
    msg = f"Events of type {type!r} cannot be sent to a run."
    raise InvalidData(msg, hint="Use a type of your own, or one such as object.created.")


def pause_run(run: OpenedRun) -> Delivery:
    """Pause a run after its current firing, and its child runs; it can be resumed."""
    return _stop(run, InboxEntry(secrets.token_hex(8), make_event(RUN_PAUSED, "", "cli", [], {})))


def cancel_run(run: OpenedRun) -> Delivery:
    """Stop a run and its child runs for good; it can be forked, but not resumed."""
    return _stop(run, InboxEntry(CANCEL_KEY, make_event(RUN_CANCELLED, "", "cli", [], {})))


def _stop(run: OpenedRun, entry: InboxEntry) -> Delivery:
    delivery = deliver(run, entry.event, entry.key)
    stop_children(run, entry)
    return delivery
