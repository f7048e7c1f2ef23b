"""A request to a model, checked once before anything is sent."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from kando.errors import ConfigurationError
from kando.responders.options import check_options, option_names
from kando.schema.content import (
    media_problem,
    media_tokens,
    most_pages,
    parts_in,
    shown,
    shown_part,
    without_data,
)
from kando_llm.errors import RequestRejected, UnsupportedContent

__all__ = [
    "Part",
    "Request",
    "Tool",
    "ToolCall",
    "Turn",
    "max_tokens_of",
    "read_request",
    "read_turns",
    "shown_of",
    "text_of",
]

_ROLES = ("system", "user", "assistant", "tool")
_SHAPE = (
    'Write it as {"role": "user", "content": "..."}; the content is a string or a list of parts.'
)


@attrs.frozen
class ToolCall:
    """A tool call that a model requested.

    Attributes:
        id: assigned by the model; the result refers to it.
        name: of the tool.
        arguments: by name.
    """

    id: str
    name: str
    arguments: dict[str, Any]


@attrs.frozen
class Part:
    """A part of a message: a text, an image or a file.

    Attributes:
        kind: ``text``, ``image`` or ``file``.
        text: of a text.
        media_type: of an image or a file.
        data: of an image or a file, in base64.
        name: of an image or a file; empty if it has none.
    """

    kind: str
    text: str = ""
    media_type: str = ""
    data: str = attrs.field(default="", repr=False)
    name: str = ""

    @property
    def url(self) -> str:
        """The image or file as a data URL."""
        return f"data:{self.media_type};base64,{self.data}"

    @property
    def content(self) -> bytes:
        """The bytes of the image or file."""
        return b64decode(self.data)


@attrs.frozen
class Turn:
    """A message.

    Attributes:
        role: ``system``, ``user``, ``assistant`` or ``tool``.
        text: its content; for a tool, the result. Images and files are shown in it.
        parts: its content, if it has images or files; empty if it is all text.
        tool_calls: that an assistant requested.
        tool_call_id: the call that a tool's result belongs to.
        is_error: whether that call failed.
        thoughts: that the model gave with the turn; see `kando_llm.thoughts`.
    """

    role: str
    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    is_error: bool = False
    thoughts: dict[str, Any] | None = None
    parts: tuple[Part, ...] = ()

    @property
    def media(self) -> tuple[Part, ...]:
        """Its images and files."""
        return tuple(part for part in self.parts if part.kind != "text")


@attrs.frozen
class Tool:
    """A tool that a model may call.

    Attributes:
        name: of the tool.
        description: what it is for.
        schema: JSON Schema of its arguments, an object.
    """

    name: str
    description: str
    schema: dict[str, Any]


@attrs.frozen
class Request:
    """The data of an ``llm.request``, checked.

    Attributes:
        turns: the messages, in order.
        model: ``default`` or an id.
        max_tokens: limit of the answer; None for the default.
        temperature: None for the server's default.
        tools: that the model may call.
        output_schema: JSON Schema of the answer, or None for text.
        stop: strings that end the answer.
        size: bytes of all text that is sent, and the most tokens of images and files.
        pages: the most pages of its PDFs.
        options: all others by name, without those that are null.
    """

    turns: tuple[Turn, ...]
    model: str
    max_tokens: int | None
    temperature: float | None
    tools: tuple[Tool, ...]
    output_schema: dict[str, Any] | None
    stop: tuple[str, ...]
    size: int
    options: dict[str, Any] = attrs.field(factory=dict)
    pages: int = 0

    @property
    def media(self) -> tuple[Part, ...]:
        """The images and files of its messages."""
        return tuple(part for turn in self.turns for part in turn.media)

    @property
    def effort(self) -> str | None:
        """How much the model is to think, under either name of the option; None for the default."""
        effort = self.options.get("effort") or self.options.get("reasoning_effort")
        return effort if isinstance(effort, str) else None

    @property
    def caches_prompt(self) -> bool:
        """Whether the prompt is marked for the server's cache: a conversation sends it again."""
        is_conversation = bool(self.tools) or any(t.role == "assistant" for t in self.turns)
        return is_conversation and self.options.get("prompt_cache", True) is not False

    def further(self, *handled: str) -> dict[str, Any]:
        """Return the options that are sent as they are: all but those that `handled` names."""
        names = {"prompt_cache", "extra_body", *handled}
        rest = {name: value for name, value in self.options.items() if name not in names}
        return {**rest, **self.options.get("extra_body", {})}

    @property
    def system(self) -> str:
        """The texts of the system messages, one paragraph each."""
        return "\n\n".join(turn.text for turn in self.turns if turn.role == "system" and turn.text)


def read_request(data: Mapping[str, Any]) -> Request:
    """Read the data of an ``llm.request``.

    Raises:
        RequestRejected: a field is malformed; the message names it.
    """
    turns = read_turns(data)
    model = data.get("model") or "default"
    try:
        check_options(data)
    except ConfigurationError as error:
        raise RequestRejected(error.message, hint=error.hint) from None
    temperature = data.get("temperature")
    schema = data.get("output_schema")
    if not isinstance(model, str):
        raise _malformed("model", model, "a string")
    if schema is not None and not isinstance(schema, dict):
        raise _malformed("output_schema", schema, "a JSON Schema")
    tools = tuple(_tool(tool) for tool in _list(data, "tools"))
    stop = data.get("stop") or ()
    stop = (stop,) if isinstance(stop, str) else tuple(stop)
    messages = without_data(data["messages"])
    sent = json.dumps([messages, data.get("tools"), schema], ensure_ascii=False)
    size = len(sent.encode("utf-8", "surrogatepass")) + media_tokens(data["messages"], model)
    limit = max_tokens_of(data)
    apart = ("max_tokens", "temperature", "stop")
    options = {name: data[name] for name in option_names(data) if name not in apart}
    pages = most_pages(data["messages"])
    return Request(turns, model, limit, temperature, tools, schema, stop, size, options, pages)


def read_turns(data: Mapping[str, Any]) -> tuple[Turn, ...]:
    """Read the messages of a request.

    Raises:
        RequestRejected: the request has no messages, or a malformed one.
    """
    messages = data.get("messages")
    if not isinstance(messages, list) or not messages:
        msg = f"The request has no messages: {messages!r:.60}."
        raise RequestRejected(msg, hint='Give it "messages", a list of at least one.')
    return tuple(_turn(index, message) for index, message in enumerate(messages))


def max_tokens_of(data: Mapping[str, Any]) -> int | None:
    """Return the token limit of a request's answer; None if it sets none.

    Raises:
        RequestRejected: the limit is not a whole number of at least 1.
    """
    limit = data.get("max_tokens")
    if limit is None:
        return None
    if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0:
        return limit
    msg = f"max_tokens of the request must be a whole number of at least 1, not {limit!r:.60}."
    raise RequestRejected(msg, hint="Leave it out for the default.")


def _turn(index: int, message: object) -> Turn:
    wrong = f"messages[{index}] of the request is malformed: {shown(message)!r:.60}."
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise RequestRejected(wrong, hint=_SHAPE)
    role, content = message["role"], message.get("content")
    if role not in _ROLES:
        raise RequestRejected(wrong, hint=f"Its role must be one of {', '.join(_ROLES)}.")
    if role == "tool":
        id = message.get("tool_call_id")
        if not isinstance(id, str):
            hint = 'A result is {"role": "tool", "tool_call_id": "...", "content": "..."}.'
            raise RequestRejected(wrong, hint=hint)
        found = parts_in(content)
        parts = _parts(found, wrong) if found is not None else ()
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        text = text_of(parts) if parts else text
        is_error = bool(message.get("is_error"))
        return Turn(role, text, tool_call_id=id, is_error=is_error, parts=parts)
    calls = tuple(_call(call, wrong) for call in message.get("tool_calls") or ())
    if content is None and calls:
        content = ""
    parts = ()
    if isinstance(content, list):
        parts = _parts(content, wrong)
        content = text_of(parts)
        if all(part.kind == "text" for part in parts):
            parts = ()
        elif role != "user":
            msg = (
                f"messages[{index}] of the request has an image or a file, and its role is {role}."
            )
            raise UnsupportedContent(msg, hint="Move it into a message of the user.")
    if not isinstance(content, str):
        raise RequestRejected(wrong, hint=_SHAPE)
    thoughts = message.get("thoughts")
    kept = thoughts if isinstance(thoughts, dict) else None
    return Turn(role, content, calls, thoughts=kept, parts=parts)


def _parts(content: Sequence[object], wrong: str) -> tuple[Part, ...]:
    if not content:
        raise RequestRejected(wrong, hint=_SHAPE)
    return tuple(_part(each, wrong) for each in content)


def _part(part: object, wrong: str) -> Part:
    fields: Mapping[str, Any] = part if isinstance(part, Mapping) else {}
    kind = fields.get("type")
    if kind == "text" and isinstance(fields.get("text"), str):
        return Part("text", fields["text"])
    if kind not in ("image", "file"):
        hint = 'A part is {"type": "text", "text": "..."}, or an image or a file with its data.'
        raise RequestRejected(wrong, hint=hint)
    if problem := media_problem(fields):
        msg = f"{wrong.partition(' is malformed')[0]} is malformed: the {kind} {problem}."
        raise RequestRejected(msg, hint="Make it with kando.image or kando.file.")
    media_type = fields["media_type"].lower()
    media_type = "image/jpeg" if media_type == "image/jpg" else media_type
    return Part(kind, "", media_type, fields["data"], fields.get("name") or "")


def text_of(parts: Sequence[Part]) -> str:
    """Return parts as one text, in which images and files are shown as words."""
    return "\n".join(part.text if part.kind == "text" else shown_of(part) for part in parts)


def shown_of(part: Part) -> str:
    """Return an image or a file as words: its kind, media type and size."""
    named = {"name": part.name} if part.name else {}
    return shown_part(
        {"type": part.kind, "media_type": part.media_type, "data": part.data, **named}
    )


def _call(call: object, wrong: str) -> ToolCall:
    if isinstance(call, dict):
        id, name, arguments = call.get("id"), call.get("name"), call.get("arguments", {})
        if isinstance(id, str) and isinstance(name, str) and isinstance(arguments, dict):
            return ToolCall(id, name, arguments)
    hint = 'A tool call is {"id": "...", "name": "...", "arguments": {...}}.'
    raise RequestRejected(wrong, hint=hint)


def _tool(tool: object) -> Tool:
    if isinstance(tool, dict) and isinstance(tool.get("name"), str):
        names = ("schema", "parameters", "input_schema")
        schema = next((tool[name] for name in names if isinstance(tool.get(name), dict)), None)
        schema = {"type": "object", "properties": {}} if schema is None else schema
        return Tool(tool["name"], str(tool.get("description") or ""), schema)
    msg = f"A tool of the request is malformed: {tool!r:.60}."
    raise RequestRejected(
        msg, hint='Write it as {"name": "...", "description": "...", "schema": {...}}.'
    )


def _list(data: Mapping[str, Any], name: str) -> list[Any]:
    value = data.get(name) or []
    if isinstance(value, list):
        return value
    raise _malformed(name, value, "a list")


def _malformed(name: str, value: object, expected: str) -> RequestRejected:
    msg = f"{name} of the request must be {expected}, not {value!r:.60}."
    return RequestRejected(msg, hint="Leave it out for the default.")
