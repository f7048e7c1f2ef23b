"""The provider ``openai`` and others with its Chat Completions API, through the official SDK."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import attrs

from kando_llm.adaptations import with_schema_in_last_turn
from kando_llm.chat_replies import read_completion, read_stream
from kando_llm.endpoints import SERVERS
from kando_llm.json_schema import is_strict
from kando_llm.live_provider import Connection, LiveProvider, OnText, Reply, connection_of
from kando_llm.request import Request, Turn
from kando_llm.sdk import adapted, body_of, failure_in_answer, headers_for, is_stream, sdk_provider

__all__ = [
    "open_compatible",
    "open_lmstudio",
    "open_ollama",
    "open_openai",
    "open_openrouter",
    "open_vllm",
]

# Reasoning models reject a temperature.
_NO_TEMPERATURE = re.compile(r"(o\d|gpt-5(?!.*chat))")


def open_openai(argument: str, environ: Mapping[str, str]) -> LiveProvider:
    """Return a provider that sends requests to OpenAI, or to the server at ``OPENAI_BASE_URL``.

    Args:
        argument: the model; ``OPENAI_MODEL``, else ``gpt-5.4-mini``, if empty.
        environ: keys and settings.

    Raises:
        MissingKey: no key is set.
        ProviderError: a setting is malformed.
    """
    return _open("openai", argument, environ)


def open_openrouter(argument: str, environ: Mapping[str, str]) -> LiveProvider:
    """Return a provider that sends requests to OpenRouter; arguments and errors as `open_openai`."""
    return _open("openrouter", argument, environ)


def open_compatible(argument: str, environ: Mapping[str, str]) -> LiveProvider:
    """Return a provider for ``OPENAI_COMPATIBLE_BASE_URL``; arguments and errors as `open_openai`."""
    return _open("openai-compatible", argument, environ)


def open_ollama(argument: str, environ: Mapping[str, str]) -> LiveProvider:
    """Return a provider for Ollama; arguments and errors as `open_openai`."""
    return _open("ollama", argument, environ)


def open_vllm(argument: str, environ: Mapping[str, str]) -> LiveProvider:
    """Return a provider for vLLM; arguments and errors as `open_openai`."""
    return _open("vllm", argument, environ)


def open_lmstudio(argument: str, environ: Mapping[str, str]) -> LiveProvider:
    """Return a provider for LM Studio; arguments and errors as `open_openai`."""
    return _open("lmstudio", argument, environ)


def _open(provider: str, argument: str, environ: Mapping[str, str]) -> LiveProvider:
    connection = connection_of(SERVERS[provider], argument, environ)
    import openai

    return sdk_provider(openai, openai.OpenAI, connection, _send)


def _send(client: Any, request: Request, on_text: OnText | None, connection: Connection) -> Reply:
    arguments, dropped = _arguments(request, connection)
    if on_text is not None:
        arguments |= {"stream": True, "stream_options": {"include_usage": True}}
    return adapted(
        arguments,
        dropped,
        connection.adaptations,
        lambda sent: _send_once(client, sent, on_text, connection),
    )


def _send_once(
    client: Any, arguments: dict[str, Any], on_text: OnText | None, connection: Connection
) -> Reply:
    arguments = {**arguments, "extra_headers": headers_for(arguments)}
    raw = client.chat.completions.with_raw_response.create(**arguments)
    attempts, id = raw.retries_taken + 1, raw.headers.get("x-request-id")
    try:
        if on_text is not None and is_stream(raw.http_response):
            read = read_stream(raw.parse(), on_text)
        else:
            read = read_completion(body_of(raw.http_response))
        # The cost that other servers report may not be in US dollars.
        cost = read.cost_usd if connection.server.has_usage_option else None
        return attrs.evolve(read, attempts=attempts, request_id=id, cost_usd=cost)
    except Exception as error:
        failure = failure_in_answer(error, connection, attempts)
    raise failure


def _arguments(request: Request, connection: Connection) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the arguments of the SDK's method, and the options that the model does not support."""
    server, is_own = connection.server, connection.endpoint.is_own
    # Compatible servers know only the older name.
    limit = server.limit if is_own else "max_tokens"
    arguments: dict[str, Any] = {
        "model": request.model,
        limit: request.max_tokens,
        "messages": [_message(turn) for turn in request.turns],
    }
    dropped: tuple[str, ...] = ()
    if request.stop:
        arguments["stop"] = list(request.stop)
    if request.tools:
        arguments["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.schema,
                },
            }
            for tool in request.tools
        ]
    if request.output_schema is not None:
        arguments = _with_schema(arguments, request.output_schema, connection)
    if request.temperature is not None:
        if server.provider == "openai" and is_own and _NO_TEMPERATURE.match(request.model):
            dropped = ("temperature",)
        else:
            arguments["temperature"] = request.temperature
    if server.has_usage_option:
        arguments["extra_body"] = {"usage": {"include": True}}
    return arguments, dropped


def _message(turn: Turn) -> dict[str, Any]:
    if turn.role == "tool":
        return {"role": "tool", "tool_call_id": turn.tool_call_id, "content": turn.text}
    if not turn.tool_calls:
        return {"role": turn.role, "content": turn.text}
    calls = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
        }
        for call in turn.tool_calls
    ]
    return {"role": turn.role, "content": turn.text or None, "tool_calls": calls}


def _with_schema(
    arguments: dict[str, Any], schema: dict[str, Any], connection: Connection
) -> dict[str, Any]:
    """Return arguments that ask for JSON of a schema.

    Most servers that take a schema next to tools keep the model from calling a tool.
    """
    knows_strict = connection.server.knows_strict_schemas
    if arguments.get("tools") and not knows_strict:
        return with_schema_in_last_turn(arguments, schema)
    strict = knows_strict and is_strict(schema)
    format = {"name": "answer", "schema": schema, "strict": strict}
    return {**arguments, "response_format": {"type": "json_schema", "json_schema": format}}
