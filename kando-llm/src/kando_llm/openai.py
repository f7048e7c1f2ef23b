"""The provider ``openai`` and others with its Chat Completions API, through the official SDK."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

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
from kando_llm.sdk_errors import incomplete_answer

__all__ = [
    "open_compatible",
    "open_lmstudio",
    "open_ollama",
    "open_openai",
    "open_openrouter",
    "open_vllm",
]

_STOPS = {
    "stop": "end",
    "length": "length",
    "tool_calls": "tool",
    "function_call": "tool",
    "content_filter": "refusal",
}
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
    arguments["extra_headers"] = headers_for(arguments)
    if on_text is not None:
        arguments |= {"stream": True, "stream_options": {"include_usage": True}}
    raw = client.chat.completions.with_raw_response.create(**arguments)
    attempts, id = raw.retries_taken + 1, raw.headers.get("x-request-id")
    try:
        parsed = raw.parse()
        read = _read(parsed) if on_text is None else _read_stream(parsed, on_text)
        # The cost that other servers report may not be in US dollars.
        cost = read.cost_usd if connection.server.has_usage_option else None
        facts = {"attempts": attempts, "request_id": id, "dropped": dropped, "cost_usd": cost}
        return attrs.evolve(read, **facts)
    except Exception as error:
        failure = _failure_of(error, connection, attempts)
    raise failure


def _failure_of(error: Exception, connection: Connection, attempts: int) -> Exception:
    if isinstance(error, IncompleteAnswer):
        inner = _failure_of(error.error, connection, attempts)
        return IncompleteAnswer(inner, error.model, error.usage)
    if getattr(error, "body", None) is not None:
        # The server reported the error itself, as an event of the stream.
        return error
    return incomplete_answer(error, connection, attempts)


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
        schema = request.output_schema
        format = {"name": "answer", "schema": schema, "strict": _is_strict(schema)}
        arguments["response_format"] = {"type": "json_schema", "json_schema": format}
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


def _is_strict(schema: Any) -> bool:
    """Whether OpenAI can enforce a schema: every property is required, and no others are allowed."""
    if isinstance(schema, list):
        return all(map(_is_strict, schema))
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object":
        required = set(schema.get("required", ()))
        if schema.get("additionalProperties") is not False or "properties" not in schema:
            return False
        if required != set(schema["properties"]):
            return False
    return all(map(_is_strict, schema.values()))


def _read(completion: Any) -> Reply:
    try:
        return _read_completion(completion)
    except Exception as error:
        failure = _failed_with_usage(completion, error)
    raise failure


def _failed_with_usage(answer: Any, error: Exception) -> IncompleteAnswer:
    """Return the error for an unusable answer, with the usage that it reports."""
    usage, _ = _usage(getattr(answer, "usage", None))
    return IncompleteAnswer(error, getattr(answer, "model", ""), usage)


def _read_completion(completion: Any) -> Reply:
    choice = completion.choices[0]
    message = choice.message
    calls = [
        (str(call.id), str(call.function.name), str(call.function.arguments or ""))
        for call in message.tool_calls or ()
    ]
    return _reply(
        completion,
        choice.finish_reason,
        message.content or "",
        getattr(message, "refusal", None) or "",
        calls,
    )


def _read_stream(chunks: Iterable[Any], on_text: OnText) -> Reply:
    so_far = _SoFar()
    try:
        return _read_chunks(chunks, on_text, so_far)
    except Exception as error:
        failure = _failed_with_usage(so_far, error)
    raise failure


def _read_chunks(chunks: Iterable[Any], on_text: OnText, so_far: _SoFar) -> Reply:
    texts, refusals = list[str](), list[str]()
    calls: dict[int, list[str]] = {}
    finish = None
    for chunk in chunks:
        so_far.model = getattr(chunk, "model", None) or so_far.model
        so_far.usage = getattr(chunk, "usage", None) or so_far.usage
        for choice in chunk.choices or ():
            finish = choice.finish_reason or finish
            delta = choice.delta
            if delta.content:
                texts.append(delta.content)
                on_text(delta.content)
            refusals.append(getattr(delta, "refusal", None) or "")
            for piece in delta.tool_calls or ():
                call = calls.setdefault(piece.index, ["", "", ""])
                call[0] = call[0] or piece.id or ""
                call[1] += (piece.function and piece.function.name) or ""
                call[2] += (piece.function and piece.function.arguments) or ""
    found = [(call[0], call[1], call[2]) for _, call in sorted(calls.items())]
    return _reply(so_far, finish, "".join(texts), "".join(refusals), found)


@attrs.define
class _SoFar:
    """Model and usage that the chunks of a stream have reported so far."""

    model: Any = None
    usage: Any = None


def _reply(
    whole: Any, finish: Any, text: str, refusal: str, calls: list[tuple[str, str, str]]
) -> Reply:
    if not isinstance(finish, str):
        msg = "the answer has no finish reason"
        raise ValueError(msg)
    usage, cost = _usage(getattr(whole, "usage", None))
    found, problem = list[ToolCall](), None
    for id, name, arguments in calls:
        try:
            parsed = json.loads(arguments or "{}")
        except ValueError:
            parsed = None
        if isinstance(parsed, dict):
            found.append(ToolCall(id, name, parsed))
        else:
            problem = (
                f"The arguments of tool call {name!r} are not a JSON object: {arguments!r:.100}."
            )
    stop = "refusal" if refusal else _STOPS.get(finish, "other")
    if stop == "end" and found:
        stop = "tool"
    return Reply(
        text=text or refusal,
        model=str(whole.model),
        stop=stop,
        stop_raw=finish,
        usage=usage,
        # All or none: a model that requested two calls waits for two results.
        tool_calls=() if problem else tuple(found),
        cost_usd=cost,
        problem=problem,
    )


def _usage(reported: Any) -> tuple[dict[str, int], float | None]:
    """Return the usage, with cached tokens counted as input, and the cost if it is reported."""
    prompt = getattr(reported, "prompt_tokens_details", None)
    completion = getattr(reported, "completion_tokens_details", None)
    counts = {
        "input_tokens": getattr(reported, "prompt_tokens", None),
        "output_tokens": getattr(reported, "completion_tokens", None),
        "cache_read_tokens": getattr(prompt, "cached_tokens", None),
        "cache_write_tokens": getattr(prompt, "cache_write_tokens", None),
        "reasoning_tokens": getattr(completion, "reasoning_tokens", None),
    }
    cost = getattr(reported, "cost", None)
    is_cost = isinstance(cost, int | float) and not isinstance(cost, bool) and 0 <= cost < 1e6
    usage = {name: count for name, count in counts.items() if is_token_count(count)}
    return usage, float(cost) if is_cost and cost is not None else None
