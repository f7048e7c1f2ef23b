"""The provider ``anthropic``: the Messages API, through the official SDK."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs

from kando_llm.endpoints import SERVERS
from kando_llm.live_provider import Connection, LiveProvider, OnText, Reply, connection_of
from kando_llm.message_replies import read_events, read_message
from kando_llm.request import Request, Turn
from kando_llm.sdk import adapted, body_of, failure_in_answer, headers_for, is_stream, sdk_provider

__all__ = ["open_anthropic"]

# Above this limit the SDK requires streaming: a single response could take too long.
_MAX_TOKENS_AT_ONCE = 16_000
# Newer models reject a temperature.
_TAKES_TEMPERATURE = re.compile(r"claude-(3|(opus|sonnet|haiku)-4(-[0-6])?(-\d{8})?$)")


def open_anthropic(argument: str, environ: Mapping[str, str]) -> LiveProvider:
    """Return a provider that sends requests to Anthropic.

    Args:
        argument: the model; ``ANTHROPIC_MODEL``, else ``claude-haiku-4-5``, if empty.
        environ: keys and settings.

    Raises:
        MissingKey: no key is set.
        ProviderError: a setting is malformed.
    """
    connection = connection_of(SERVERS["anthropic"], argument, environ)
    import anthropic

    return sdk_provider(anthropic, anthropic.Anthropic, connection, _send)


def _send(client: Any, request: Request, on_text: OnText | None, connection: Connection) -> Reply:
    arguments, dropped = _arguments(request)
    if on_text is not None or request.max_tokens > _MAX_TOKENS_AT_ONCE:
        arguments["stream"] = True
    return adapted(
        arguments,
        dropped,
        connection.adaptations,
        lambda sent: _send_once(client, sent, on_text, connection),
        required=frozenset({"max_tokens"}),
    )


def _send_once(
    client: Any, arguments: dict[str, Any], on_text: OnText | None, connection: Connection
) -> Reply:
    arguments = {**arguments, "extra_headers": headers_for(arguments)}
    raw = client.messages.with_raw_response.create(**arguments)
    attempts, id = raw.retries_taken + 1, raw.headers.get("request-id")
    try:
        if arguments.get("stream") and is_stream(raw.http_response):
            read = read_events(raw.parse(), on_text or (lambda piece: None))
        else:
            read = read_message(body_of(raw.http_response))
        return attrs.evolve(read, attempts=attempts, request_id=id)
    except Exception as error:
        failure = failure_in_answer(error, connection, attempts)
    raise failure


def _arguments(request: Request) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the arguments of the SDK's method, and the options that the model does not support."""
    arguments: dict[str, Any] = {
        "model": request.model,
        "max_tokens": request.max_tokens,
        "messages": _messages(request.turns),
    }
    dropped: tuple[str, ...] = ()
    if request.system:
        arguments["system"] = request.system
    if request.stop:
        arguments["stop_sequences"] = list(request.stop)
    if request.tools:
        arguments["tools"] = [
            {"name": tool.name, "description": tool.description, "input_schema": tool.schema}
            for tool in request.tools
        ]
    if request.output_schema is not None:
        format = {"type": "json_schema", "schema": request.output_schema}
        arguments["output_config"] = {"format": format}
    if request.temperature is not None:
        if _TAKES_TEMPERATURE.match(request.model):
            arguments["extra_body"] = {"temperature": request.temperature}
        else:
            dropped = ("temperature",)
    return arguments, dropped


def _messages(turns: tuple[Turn, ...]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for turn in turns:
        blocks: list[dict[str, Any]] = []
        if turn.role == "tool":
            result = {"type": "tool_result", "tool_use_id": turn.tool_call_id, "content": turn.text}
            blocks.append({**result, "is_error": True} if turn.is_error else result)
        elif turn.role != "system":
            # The API rejects empty text.
            blocks += [{"type": "text", "text": turn.text}] if turn.text else []
            blocks += [
                {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}
                for call in turn.tool_calls
            ]
        role = "assistant" if turn.role == "assistant" else "user"
        # The results of parallel calls belong in one message.
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += blocks
        elif blocks:
            messages.append({"role": role, "content": blocks})
    return messages
