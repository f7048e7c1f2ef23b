"""The messages of a conversation with a model that may call tools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kando.responders.redaction import unicode_of
from kando.schema.events import KandoEvent
from kando.schema.exact_json import encode, exact

__all__ = ["MAX_CALLS", "is_too_long", "quoted", "said_by_model", "tool_message"]

#: Tools that one answer may ask for; what it asks for beyond is not called.
MAX_CALLS = 32

# All messages are in one event, which takes 1 MiB by default.
_MAX_BYTES = 700_000

# Of what one tool returned.
_MAX_RESULT_CHARS = 20_000


def is_too_long(messages: list[dict[str, Any]]) -> bool:
    """Whether messages do not fit into an event."""
    return len(encode(exact(messages, "messages"))) > _MAX_BYTES


def said_by_model(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer that asks for tools as a message, whatever the model made of its fields.

    Args:
        answer: the data of an ``llm.response``.
    """
    asked = answer.get("tool_calls")
    calls = [
        _call(number, each) for number, each in enumerate(asked if isinstance(asked, list) else ())
    ]
    text = answer.get("text")
    content = unicode_of(text) if isinstance(text, str) else ""
    return {"role": "assistant", "content": content, "tool_calls": calls}


def _call(number: int, call: object) -> dict[str, Any]:
    asked: Mapping[str, Any] = call if isinstance(call, Mapping) else {}
    id, name, arguments = asked.get("id"), asked.get("name"), asked.get("arguments")
    return {
        "id": id if isinstance(id, str) and id else f"call-{number}",
        "name": name if isinstance(name, str) else "",
        # What is no object the tool itself refuses, naming what it takes.
        "arguments": arguments if isinstance(arguments, dict) else {},
    }


def tool_message(call: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a tool returned as a message.

    Args:
        call: as `said_by_model` has it.
        result: ``{"content": text, "is_error": bool}``.
    """
    message = {"role": "tool", "tool_call_id": call["id"], "content": result["content"]}
    return message | ({"is_error": True} if result["is_error"] else {})


def quoted(event: KandoEvent) -> dict[str, Any]:
    """Return what a ``tool.returned`` says, cut to what a model shall read of it."""
    is_error = "error" in event.data
    value = event.data["error"] if is_error else event.data.get("result")
    text = value if isinstance(value, str) else encode(value).decode()
    if len(text) > _MAX_RESULT_CHARS:
        shown = f"[{_MAX_RESULT_CHARS:,} of {len(text):,} characters]"
        text = f"{text[:_MAX_RESULT_CHARS]}\n{shown}"
    return {"content": text, "is_error": is_error, "event": event.id}


def refusal(number: int, call: Mapping[str, Any], offered: Iterable[str]) -> str | None:
    """Return why a call that a model asks for is not made, or None."""
    if number >= MAX_CALLS:
        return f"Not called: one answer may ask for {MAX_CALLS} tools."
    names = sorted(offered)
    if call["name"] not in names:
        return f"There is no tool {call['name']!r:.80}; there are: {', '.join(names) or 'none'}."
    return None
