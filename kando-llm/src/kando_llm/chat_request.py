"""Requests in the form of OpenAI's Chat Completions API."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from kando_llm.adaptations import with_schema_in_last_turn
from kando_llm.json_schema import is_strict, typed
from kando_llm.live_provider import Connection
from kando_llm.media import PDF, chat_part
from kando_llm.request import Request, Turn
from kando_llm.thoughts import returned_fields, thoughts_in

__all__ = ["chat_arguments"]

# Reasoning models reject these.
_NO_SAMPLING = re.compile(r"(o\d|gpt-5(?!.*chat))")
_SAMPLING = ("temperature", "top_p")
#: Options that OpenAI's own server does not have.
_NOT_OPENAI = ("top_k", "thinking")
_MARK = {"type": "ephemeral"}
#: Has OpenRouter read PDFs for models that do not.
_READS_FILES = {"id": "file-parser"}


def chat_arguments(
    request: Request, connection: Connection, by: str
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the arguments of the SDK's method, and the options that the model does not support.

    Args:
        request: to send.
        connection: to the server.
        by: whose thoughts are returned; see `kando_llm.thoughts.giver`.
    """
    server, is_own = connection.server, connection.endpoint.is_own
    arguments: dict[str, Any] = {
        "model": request.model,
        "messages": _messages(request, connection, by),
    }
    if request.max_tokens is not None:
        # Compatible servers know only the older name.
        arguments[server.limit if is_own else "max_tokens"] = request.max_tokens
    if request.stop:
        arguments["stop"] = list(request.stop)
    if request.tools:
        arguments["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": typed(tool.schema),
                },
            }
            for tool in request.tools
        ]
    if request.output_schema is not None:
        arguments = _with_schema(arguments, request.output_schema, connection)
    body, dropped = _options(request, connection)
    # Their names are those of the SDK's arguments; what it does not know goes into the body as well.
    if "temperature" in body:
        arguments["temperature"] = body.pop("temperature")
    if server.has_usage_option:
        has_pdf = any(part.media_type == PDF for part in request.media)
        plugins = {"plugins": [_READS_FILES]} if has_pdf else {}
        body = {"usage": {"include": True}, **plugins, **body}
    if body:
        arguments["extra_body"] = body
    return arguments, dropped


def _options(request: Request, connection: Connection) -> tuple[dict[str, Any], tuple[str, ...]]:
    server = connection.server
    is_openai = server.provider == "openai" and connection.endpoint.is_own
    options = request.further("effort", "reasoning_effort", "thinking")
    if request.temperature is not None:
        options = {"temperature": request.temperature, **options}
    thinking = request.options.get("thinking")
    if server.has_usage_option:
        reasoning = _reasoning(request)
        options |= {"reasoning": reasoning} if reasoning else {}
    else:
        options |= {"reasoning_effort": request.effort} if request.effort else {}
        options |= {"thinking": _thinking(thinking)} if thinking is not None else {}
    choice = options.get("tool_choice")
    if isinstance(choice, str) and choice not in ("auto", "none", "required"):
        options["tool_choice"] = {"type": "function", "function": {"name": choice}}
    unsupported = list(_NOT_OPENAI) if is_openai else []
    if is_openai and _NO_SAMPLING.match(request.model):
        unsupported += _SAMPLING
    if not request.tools:
        # Other servers take the second one without tools.
        unsupported += ["tool_choice", *(["parallel_tool_calls"] if is_openai else [])]
    dropped = [name for name in unsupported if name in options]
    return {n: v for n, v in options.items() if n not in dropped}, tuple(sorted(dropped))


def _reasoning(request: Request) -> dict[str, Any]:
    """Return how much a model is to think, as OpenRouter takes it."""
    thinking = request.options.get("thinking")
    if isinstance(thinking, dict):
        return thinking
    effort = {"effort": request.effort} if request.effort else {}
    if isinstance(thinking, bool):
        return {**effort, "enabled": thinking}
    return {**effort, **({"max_tokens": thinking} if thinking is not None else {})}


def _thinking(asked: Any) -> dict[str, Any]:
    if isinstance(asked, dict):
        return asked
    if isinstance(asked, bool):
        return {"type": "enabled" if asked else "disabled"}
    return {"type": "enabled", "budget_tokens": asked}


def _messages(request: Request, connection: Connection, by: str) -> list[dict[str, Any]]:
    messages = _with_media([_message(turn, by) for turn in request.turns], request.turns)
    is_marked = connection.server.has_usage_option and request.model.startswith("anthropic/")
    if is_marked and request.caches_prompt:
        prompts = [each for each in messages if each["role"] in ("user", "tool")]
        _mark([*[each for each in messages if each["role"] == "system"][-1:], *prompts[-2:]])
    return messages


def _with_media(messages: list[dict[str, Any]], turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """Return messages in which a message of the user has the images of the results before it.

    The API takes only text as the result of a tool, and all results of a turn one after the other.
    """
    found: list[dict[str, Any]] = []
    waiting: list[dict[str, Any]] = []
    for message, turn in zip(messages, turns, strict=True):
        if waiting and turn.role != "tool":
            found.append({"role": "user", "content": waiting})
            waiting = []
        found.append(message)
        if turn.role == "tool" and turn.media:
            about = f"Of the result of the call {turn.tool_call_id}:"
            waiting += [{"type": "text", "text": about}, *map(chat_part, turn.media)]
    return [*found, {"role": "user", "content": waiting}] if waiting else found


def _mark(messages: list[dict[str, Any]]) -> None:
    for message in messages:
        content = message["content"]
        if isinstance(content, str) and content:
            content = [{"type": "text", "text": content}]
        if content:
            *first, last = content
            message["content"] = [*first, {**last, "cache_control": _MARK}]


def _message(turn: Turn, by: str) -> dict[str, Any]:
    if turn.role == "tool":
        return {"role": "tool", "tool_call_id": turn.tool_call_id, "content": turn.text}
    if turn.parts:
        return {"role": turn.role, "content": [*map(chat_part, turn.parts)]}
    thoughts = thoughts_in(turn, by)
    kept = returned_fields(thoughts)
    if not turn.tool_calls:
        return {**kept, "role": turn.role, "content": turn.text}
    calls = [
        {
            **returned_fields(thoughts, number),
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
        }
        for number, call in enumerate(turn.tool_calls)
    ]
    return {**kept, "role": turn.role, "content": turn.text or None, "tool_calls": calls}


def _with_schema(
    arguments: dict[str, Any], schema: dict[str, Any], connection: Connection
) -> dict[str, Any]:
    """Return arguments that ask for JSON of a schema.

    Most servers that take a schema next to tools keep the model from calling a tool.
    """
    knows_strict, schema = connection.server.knows_strict_schemas, typed(schema)
    if arguments.get("tools") and not knows_strict:
        return with_schema_in_last_turn(arguments, schema)
    strict = knows_strict and is_strict(schema)
    format = {"name": "answer", "schema": schema, "strict": strict}
    return {**arguments, "response_format": {"type": "json_schema", "json_schema": format}}
