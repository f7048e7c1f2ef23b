"""The provider ``anthropic``: the Messages API, through the official SDK."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kando_llm.endpoints import SERVERS
from kando_llm.live_provider import (
    Connection,
    LiveProvider,
    OnText,
    Reply,
    connection_of,
    is_token_count,
)
from kando_llm.request import Request, ToolCall, Turn
from kando_llm.sdk import IncompleteAnswer, headers_for, sdk_provider
from kando_llm.sdk_errors import bad_reply

__all__ = ["open_anthropic"]

_STOPS = {
    "end_turn": "end",
    "stop_sequence": "end",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool",
    "refusal": "refusal",
}
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
    arguments["extra_headers"] = headers_for(arguments)
    if on_text is None and request.max_tokens <= _MAX_TOKENS_AT_ONCE:
        raw = client.messages.with_raw_response.create(**arguments)
        attempts, id = raw.retries_taken + 1, raw.headers.get("request-id")
        message = _parsed(raw, connection, attempts)
    else:
        with client.messages.stream(**arguments) as stream:
            message = _streamed(stream, on_text)
            sent = stream.response.request.headers.get("x-stainless-retry-count", "0")
            attempts, id = int(sent) + 1, stream.request_id
    try:
        return _reply(message, attempts, id, dropped)
    except Exception as error:
        bad = bad_reply(error, connection, attempts)
        failure = IncompleteAnswer(bad, getattr(message, "model", ""), _usage_in(message))
    raise failure


def _streamed(stream: Any, on_text: OnText | None) -> Any:
    try:
        for piece in stream.text_stream:
            if on_text is not None:
                on_text(piece)
        return stream.get_final_message()
    except Exception as error:
        failure = error
    try:
        # Fails if the message has not even begun.
        begun = stream.current_message_snapshot
    except Exception:
        begun = None
    raise IncompleteAnswer(failure, getattr(begun, "model", ""), _usage_in(begun))


def _parsed(raw: Any, connection: Connection, attempts: int) -> Any:
    try:
        return raw.parse()
    except Exception as error:
        failure = bad_reply(error, connection, attempts)
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


def _reply(message: Any, attempts: int, id: str | None, dropped: tuple[str, ...]) -> Reply:
    if not isinstance(message.stop_reason, str):
        msg = "the message has no stop reason"
        raise ValueError(msg)
    texts, calls = [], []
    for block in message.content:
        if block.type == "text":
            texts.append(str(block.text))
        elif block.type == "tool_use":
            calls.append(ToolCall(str(block.id), str(block.name), dict(block.input)))
    return Reply(
        text="".join(texts),
        model=str(message.model),
        stop=_STOPS.get(message.stop_reason, "other"),
        stop_raw=message.stop_reason,
        usage=_usage(getattr(message, "usage", None)),
        tool_calls=tuple(calls),
        attempts=attempts,
        request_id=id,
        dropped=dropped,
    )


def _usage_in(message: Any) -> dict[str, int]:
    """Return the usage that a message reports, even if the rest of it is malformed."""
    return _usage(getattr(message, "usage", None))


def _usage(reported: Any) -> dict[str, int]:
    """Return the usage; the API's input count excludes tokens read from or written to its cache."""
    counts = {
        "input_tokens": getattr(reported, "input_tokens", None),
        "output_tokens": getattr(reported, "output_tokens", None),
        "cache_read_tokens": getattr(reported, "cache_read_input_tokens", None),
        "cache_write_tokens": getattr(reported, "cache_creation_input_tokens", None),
        "reasoning_tokens": getattr(
            getattr(reported, "output_tokens_details", None), "thinking_tokens", None
        ),
    }
    usage = {name: count for name, count in counts.items() if is_token_count(count)}
    if "input_tokens" in usage:
        usage["input_tokens"] += usage.get("cache_read_tokens", 0)
        usage["input_tokens"] += usage.get("cache_write_tokens", 0)
    return usage
