"""Requests: the data of an ``llm.request``, as llama.cpp takes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs

from kando.errors import ConfigurationError, RequestRejected, UnsupportedContent
from kando.responders.options import DEFAULT_MAX_TOKENS, check_options, option_names
from kando.schema.content import is_media, media_in, parts_in, shown, shown_part, text_of_content
from kando_llamacpp._outline import outline_of
from kando_llamacpp._tools import Tools, tools_in

__all__ = ["Body", "body_for", "with_grammar", "without_schema"]

_ROLES = ("system", "user", "assistant", "tool")
_SHAPE = 'Write it as {"role": "user", "content": "..."}, both texts.'
_CALL_SHAPE = 'A tool call is {"id": "...", "name": "...", "arguments": {...}}.'
# A model that is asked for a schema has to see it: llama.cpp only keeps it from writing anything else.
_SCHEMA_PROMPT = "Answer with JSON that matches this JSON Schema, and with nothing else:\n{schema}"
_OUTLINE_PROMPT = "Answer with JSON of this form on one line, and with nothing else:\n{outline}"
#: Options that llama.cpp does not have, or not in this form.
_UNSUPPORTED = ("effort", "reasoning_effort", "parallel_tool_calls")
_OWN = ("max_tokens", "tool_choice", "thinking", "prompt_cache", "extra_body", *_UNSUPPORTED)


@attrs.frozen
class Body:
    """The body of a request to llama.cpp.

    Attributes:
        fields: of the body.
        tools: how tools are offered to the model.
        dropped: options of the request that are not sent.
    """

    fields: dict[str, Any]
    tools: Tools
    dropped: tuple[str, ...] = ()


def body_for(request: Mapping[str, Any], knows_tools: bool) -> Body:
    """Return the body for the data of an ``llm.request``.

    Args:
        request: its data.
        knows_tools: whether the chat template of the model shows it tools.

    Raises:
        RequestRejected: a field is malformed; the message names it.
    """
    try:
        check_options(request)
    except ConfigurationError as error:
        raise RequestRejected(error.message, hint=error.hint) from None
    schema = request.get("output_schema")
    if schema is not None and not isinstance(schema, dict):
        msg = f"output_schema of the request must be a JSON Schema, not {schema!r:.60}."
        raise RequestRejected(msg, hint="Leave it out for text.")
    tools = tools_in(request, knows_tools)
    messages = tools.shown_in(_messages(request))
    fields: dict[str, Any] = {
        "messages": messages,
        "max_tokens": request.get("max_tokens") or DEFAULT_MAX_TOKENS,
        "stream": True,
        "stream_options": {"include_usage": True},
        **tools.fields(),
    }
    form = tools.schema() or schema
    if form is not None:
        fields["messages"] = messages if schema is None else with_note(messages, _shown(schema))
        fields["response_format"] = {"type": "json_schema", "json_schema": {"schema": form}}
    options, dropped = _options(request)
    # Those of the user were refused.
    dropped += tuple(dict.fromkeys(part["type"] for part in media_in(request["messages"])))
    return Body({**fields, **options}, tools, dropped)


def with_grammar(body: Body, grammar: str) -> Body:
    """Return a body that asks for what a grammar allows, instead of what its schema allows."""
    fields = {name: value for name, value in body.fields.items() if name != "response_format"}
    return attrs.evolve(body, fields={**fields, "grammar": grammar})


def without_schema(body: Body) -> Body:
    """Return a body that asks for any JSON object instead of one that matches a schema."""
    fields = {**body.fields, "response_format": {"type": "json_object"}}
    return attrs.evolve(body, fields=fields, dropped=(*body.dropped, "output_schema"))


def _shown(schema: dict[str, Any]) -> str:
    """Return how a model is asked for an answer that matches a schema."""
    outline = outline_of(schema)
    if outline is not None:
        return _OUTLINE_PROMPT.format(outline=outline)
    return _SCHEMA_PROMPT.format(schema=json.dumps(schema, ensure_ascii=False))


def with_note(messages: list[dict[str, Any]], note: str) -> list[dict[str, Any]]:
    """Return messages whose last one, of the user, ends with a note."""
    *others, last = messages
    if last["role"] != "user":
        return [*messages, {"role": "user", "content": note}]
    return [*others, {**last, "content": f"{last['content']}\n\n{note}"}]


def _options(request: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    names = option_names(request)
    options = {name: request[name] for name in names if name not in _OWN}
    if "prompt_cache" in names:
        options["cache_prompt"] = request["prompt_cache"]
    thinking = request.get("thinking")
    if isinstance(thinking, bool):
        options["chat_template_kwargs"] = {"enable_thinking": thinking}
    dropped = [name for name in _UNSUPPORTED if name in names]
    if thinking is not None and not isinstance(thinking, bool):
        dropped.append("thinking")
    if "tool_choice" in names and not request.get("tools"):
        dropped.append("tool_choice")
    return {**options, **(request.get("extra_body") or {})}, tuple(sorted(dropped))


def _messages(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the messages of a request, in Kando's own form, checked."""
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        msg = f"The request has no messages: {messages!r:.60}."
        raise RequestRejected(msg, hint='Give it "messages", a list of at least one.')
    return [_message(index, each) for index, each in enumerate(messages)]


def _message(index: int, message: object) -> dict[str, Any]:
    wrong = f"messages[{index}] of the request is malformed: {shown(message)!r:.60}."
    if not isinstance(message, dict) or message.get("role") not in _ROLES:
        raise RequestRejected(wrong, hint=f"{_SHAPE} The role is one of {', '.join(_ROLES)}.")
    role, content = message["role"], message.get("content")
    if role != "tool" or parts_in(content) is not None:
        content = _text_in(index, role, content)
    if role == "tool":
        if not isinstance(message.get("tool_call_id"), str):
            hint = 'A result is {"role": "tool", "tool_call_id": "...", "content": "..."}.'
            raise RequestRejected(wrong, hint=hint)
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        return {"role": role, "tool_call_id": message["tool_call_id"], "content": text}
    calls = message.get("tool_calls") or []
    if not all(_is_call(call) for call in calls):
        raise RequestRejected(wrong, hint=_CALL_SHAPE)
    if content is None and calls:
        content = ""
    if not isinstance(content, str):
        raise RequestRejected(wrong, hint=_SHAPE)
    return {"role": role, "content": content, **({"tool_calls": calls} if calls else {})}


def _text_in(index: int, role: str, content: Any) -> Any:
    """Return content that is a list of texts as one text; images and files of the user are refused.

    In the result of a tool, words stand for them: a tool cannot know the model.
    """
    if not isinstance(content, list):
        return content
    found = next(media_in(content), None)
    if found is not None and role != "tool":
        msg = f"messages[{index}] of the request has {shown_part(found)}, and provider 'llamacpp' takes only text."
        raise UnsupportedContent(msg, hint="Send its text, or choose another provider.")
    are_texts = all(
        isinstance(each, dict) and (is_media(each) or each.get("type") == "text")
        for each in content
    )
    return text_of_content(content) if content and are_texts else content


def _is_call(call: object) -> bool:
    if not isinstance(call, dict):
        return False
    is_named = isinstance(call.get("id"), str) and isinstance(call.get("name"), str)
    return is_named and isinstance(call.get("arguments", {}), dict)
