"""The messages of a conversation with a model that may call tools."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from kando.responders.approved import APPROVED_ARGUMENTS
from kando.responders.redaction import replace_surrogates
from kando.schema.content import is_media, media_in, media_problem, media_size, parts_in, shown
from kando.schema.events import KandoEvent
from kando.schema.exact_json import encode, exact

__all__ = [
    "MAX_CALLS",
    "answer_message",
    "assistant_message",
    "calls_in",
    "conversation_id",
    "entered",
    "is_too_long",
    "malformed_in",
    "rejection",
    "tool_message",
    "tool_result",
    "waiting_turn",
]

#: How many tool calls one answer may contain; the rest are not made.
MAX_CALLS = 32

# The default limit of an event, 1 MiB, holds for each message.
_MAX_MESSAGE_BYTES = 1_000_000

_MAX_RESULT_CHARS = 20_000
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]")


#: Field of a turn that waits: the event that it came with.
_CAME_WITH = "event"


def conversation_id(name: str, about: str | None) -> str:
    """Return the id of the conversation that a responder has about an object.

    Args:
        name: of the responder.
        about: id of the object; None for the conversation about no object.
    """
    return f"conversation:{name}:{about}" if about is not None else f"conversation:{name}"


def waiting_turn(messages: Iterable[Mapping[str, Any]], event: KandoEvent) -> list[dict[str, Any]]:
    """Return messages as they wait in a conversation until its next request.

    Args:
        messages: of the turn.
        event: that they came with.
    """
    return [{**each, _CAME_WITH: event.id} for each in messages]


def entered(waiting: Iterable[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the messages of turns that waited, and the events that they came with."""
    turns = [*waiting]
    messages = [{name: each[name] for name in each if name != _CAME_WITH} for each in turns]
    return messages, [*dict.fromkeys(str(each[_CAME_WITH]) for each in turns)]


def is_too_long(messages: list[dict[str, Any]]) -> bool:
    """Whether one of the messages is longer than a message can be; their number has no limit."""
    return any(
        len(encode(exact(each, "message"))) - media_size(each) > _MAX_MESSAGE_BYTES
        for each in messages
    )


def calls_in(answer: Mapping[str, Any]) -> bool:
    """Whether an answer calls tools: only one that ended to do so does.

    Args:
        answer: the data of an ``llm.response``.
    """
    is_whole = "error" not in answer and answer.get("stop", "tool") in ("tool", "end")
    return is_whole and bool(answer.get("tool_calls") or answer.get("malformed_calls"))


def assistant_message(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer with tool calls as a message, with malformed fields replaced.

    Malformed calls stand where the model made them: each call in a message needs a result.

    Args:
        answer: the data of an ``llm.response``.
    """
    requested = answer.get("tool_calls")
    calls = list(requested) if isinstance(requested, list) else []
    for each in _malformed(answer):
        calls.insert(each["place"], {**each, "arguments": {}})
    text = answer.get("text")
    content = replace_surrogates(text) if isinstance(text, str) else ""
    shaped = [_call(number, each) for number, each in enumerate(calls)]
    message = {"role": "assistant", "content": content, "tool_calls": shaped}
    # Opaque: some servers refuse the next turn without what they gave with this one.
    thoughts = answer.get("thoughts")
    return {**message, "thoughts": thoughts} if isinstance(thoughts, Mapping) else message


def answer_message(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return an answer without tool calls as a message, or None if it has no content.

    Args:
        answer: the data of an ``llm.response``.
    """
    text, thoughts = answer.get("text"), answer.get("thoughts")
    if not isinstance(text, str) or (not text and "data" in answer):
        text = encode(answer["data"]).decode() if "data" in answer else ""
    message = {"role": "assistant", "content": replace_surrogates(text)}
    if isinstance(thoughts, Mapping):
        return {**message, "thoughts": thoughts}
    # Servers reject a message without content.
    return message if text else None


def malformed_in(answer: Mapping[str, Any]) -> dict[int, str]:
    """Return what is wrong with the malformed calls of an answer, by the place of the call."""
    return {each["place"]: str(each.get("error")) for each in _malformed(answer)}


def _malformed(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = answer.get("malformed_calls")
    known = [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []
    return [each for each in known if type(each.get("place")) is int and each["place"] >= 0]


def _call(number: int, call: object) -> dict[str, Any]:
    fields: Mapping[str, Any] = call if isinstance(call, Mapping) else {}
    id, name, arguments = fields.get("id"), fields.get("name"), fields.get("arguments")
    return {
        "id": id if isinstance(id, str) and id else f"call-{number}",
        # Servers reject a conversation that contains other names.
        "name": _NOT_IN_NAMES.sub("_", name)[:64] if isinstance(name, str) and name else "unknown",
        # The tool rejects the empty arguments with an error that names its parameters.
        "arguments": arguments if isinstance(arguments, dict) else {},
    }


def tool_message(call: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of a tool as a message.

    Args:
        call: one of the ``tool_calls`` of `assistant_message`.
        result: ``{"content": text or parts, "is_error": bool}``.
    """
    message = {"role": "tool", "tool_call_id": call["id"], "content": result["content"]}
    return message | ({"is_error": True} if result["is_error"] else {})


def tool_result(event: KandoEvent) -> dict[str, Any]:
    """Return the result in a ``tool.returned`` event, its text truncated for the model.

    Images and files in it are parts of the content.
    """
    is_error = "error" in event.data
    value = event.data["error"] if is_error else event.data.get("result")
    note = ""
    if APPROVED_ARGUMENTS in event.data:
        sent = encode(event.data[APPROVED_ARGUMENTS]).decode()
        if len(sent) > _MAX_RESULT_CHARS:
            sent = f"{sent[:_MAX_RESULT_CHARS]}..."
        note = f"[A person approved this call with other arguments: {sent}]\n"
    media = [part for part in media_in(value) if media_problem(part) is None]
    content: Any = note + _text_of_result(value)
    if media:
        content = _content_of_result(value, media, note)
    return {"content": content, "is_error": is_error, "event": event.id}


def _text_of_result(value: Any) -> str:
    text = value if isinstance(value, str) else encode(value).decode()
    if len(text) <= _MAX_RESULT_CHARS:
        return text
    return f"{text[:_MAX_RESULT_CHARS]}\n[{_MAX_RESULT_CHARS:,} of {len(text):,} characters]"


def _content_of_result(value: Any, media: list[Any], note: str) -> list[Any]:
    """Return a result as parts: as it has them, else its JSON as text, then its images and files."""
    parts = parts_in(value.get("content")) if isinstance(value, dict) and len(value) == 1 else None
    if parts is None:
        return [_text_part(note + _text_of_result(shown(value))), *media]
    left, content = _MAX_RESULT_CHARS, list[Mapping[str, Any]]([_text_part(note)] if note else [])
    for part in parts:
        if is_media(part):
            content.append(part)
            continue
        text = part["text"]
        if len(text) > left:
            text = f"{text[:left]}\n[{left:,} of {len(text):,} characters]"
        left -= min(len(part["text"]), left)
        content.append(_text_part(text))
    return content


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def rejection(
    number: int, call: Mapping[str, Any], offered: Iterable[str], malformed: Mapping[int, str]
) -> str | None:
    """Return the reason why a call that a model requests is not made, or None if it is made.

    Args:
        number: of the call.
        call: one of the ``tool_calls`` of `assistant_message`.
        offered: names of the tools that the model may call.
        malformed: what is wrong with malformed calls, by number.
    """
    if number >= MAX_CALLS:
        return f"Not called: one answer may contain at most {MAX_CALLS} tool calls."
    names = sorted(offered)
    if call["name"] not in names:
        return f"Unknown tool {call['name']!r:.80}; available: {', '.join(names) or 'none'}."
    if number in malformed:
        return f"Not called: {malformed[number]}"
    return None
