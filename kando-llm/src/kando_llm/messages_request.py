"""Requests in the form of Anthropic's Messages API."""

from __future__ import annotations

import re
from typing import Any

from kando.responders.options import DEFAULT_MAX_TOKENS
from kando_llm.json_schema import typed
from kando_llm.media import message_block
from kando_llm.request import Request, Turn
from kando_llm.thoughts import message_blocks, thoughts_in

__all__ = ["messages_arguments"]

# Newer models reject these.
_TAKES_SAMPLING = re.compile(r"claude-(3|(opus|sonnet|haiku)-4(-[0-6])?(-\d{8})?$)")
# These know thinking with a number of tokens only.
_THINKS_BY_TOKENS = re.compile(r"claude-(3-7|(opus|sonnet)-4(-[015])?(-\d{8})?$|haiku-4-5)")
# Bedrock has it after the name.
_VERSION = re.compile(r"-v\d+(:\d+)?$")
_SAMPLING = ("temperature", "top_p", "top_k")
#: Options of other servers that Anthropic's does not have.
_UNKNOWN = ("seed", "presence_penalty", "frequency_penalty", "logprobs", "logit_bias")
_MARK = {"type": "ephemeral"}
_THINKING_TOKENS = 8192


def messages_arguments(request: Request, by: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the arguments of the SDK's method, and the options that the model does not support.

    Args:
        request: to send.
        by: whose thoughts are returned; see `kando_llm.thoughts.giver`.
    """
    options = request.options
    further = request.further(
        *("effort", "reasoning_effort", "thinking", "tool_choice", "parallel_tool_calls", "user"),
        *_SAMPLING,
        *_UNKNOWN,
    )
    dropped = [name for name in _UNKNOWN if name in options]
    thinking = _thinking(request)
    body = {**({"thinking": thinking} if thinking else {}), **further}
    sampling = {name: options[name] for name in _SAMPLING if name in options}
    if request.temperature is not None:
        sampling = {"temperature": request.temperature, **sampling}
    if _TAKES_SAMPLING.match(_bare(request.model)) and not _is_on(thinking):
        body = {**sampling, **body}
    else:
        dropped = [*sampling, *dropped]
    if "user" in options:
        body.setdefault("metadata", {"user_id": str(options["user"])})
    arguments: dict[str, Any] = {
        "model": request.model,
        "max_tokens": request.max_tokens or DEFAULT_MAX_TOKENS,
        "messages": _messages(request, by),
    }
    if request.system:
        arguments["system"] = request.system
    if request.stop:
        arguments["stop_sequences"] = list(request.stop)
    if request.tools:
        arguments["tools"] = [
            {"name": tool.name, "description": tool.description, "input_schema": typed(tool.schema)}
            for tool in request.tools
        ]
        choice = _tool_choice(options)
        if choice is not None:
            arguments["tool_choice"] = choice
    elif "tool_choice" in options or "parallel_tool_calls" in options:
        dropped += [name for name in ("tool_choice", "parallel_tool_calls") if name in options]
    output = _output_config(request)
    if output:
        arguments["output_config"] = output
    if request.caches_prompt:
        _mark(arguments)
    if body:
        arguments["extra_body"] = body
    return arguments, tuple(dropped)


def _bare(model: str) -> str:
    """Return a model as Anthropic names it, without what other servers put around the name."""
    at = model.find("claude-")
    bare = _VERSION.sub("", model[at:] if at >= 0 else model)
    return bare.replace("@", "-")


def _is_on(thinking: dict[str, Any] | None) -> bool:
    return thinking is not None and thinking.get("type") != "disabled"


def _thinking(request: Request) -> dict[str, Any] | None:
    asked = request.options.get("thinking")
    if asked is None or isinstance(asked, dict):
        return asked
    if asked is False:
        return {"type": "disabled"}
    if asked is not True:
        return {"type": "enabled", "budget_tokens": asked}
    if _THINKS_BY_TOKENS.match(_bare(request.model)):
        # Fewer than the whole answer may have.
        limit = request.max_tokens or DEFAULT_MAX_TOKENS
        return {"type": "enabled", "budget_tokens": max(1024, min(_THINKING_TOKENS, limit // 2))}
    return {"type": "adaptive"}


def _output_config(request: Request) -> dict[str, Any]:
    schema = typed(request.output_schema)
    format = {"format": {"type": "json_schema", "schema": schema}} if schema is not None else {}
    return {**format, **({"effort": request.effort} if request.effort else {})}


def _tool_choice(options: dict[str, Any]) -> dict[str, Any] | None:
    asked = options.get("tool_choice")
    words = {"auto": {"type": "auto"}, "none": {"type": "none"}, "required": {"type": "any"}}
    choice: dict[str, Any] | None
    if isinstance(asked, str):
        choice = dict(words.get(asked, {"type": "tool", "name": asked}))
    elif isinstance(asked, dict) and isinstance(asked.get("function"), dict):
        choice = {"type": "tool", "name": asked["function"].get("name")}
    else:
        choice = asked
    if "parallel_tool_calls" in options and (choice or {}).get("type") != "none":
        alone = not options["parallel_tool_calls"]
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": alone}
    return choice


def _messages(request: Request, by: str) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for turn in request.turns:
        if turn.role == "system":
            continue
        blocks = _blocks(turn, by)
        role = "assistant" if turn.role == "assistant" else "user"
        # The results of parallel calls belong in one message.
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += blocks
        elif blocks:
            messages.append({"role": role, "content": blocks})
    return messages


def _blocks(turn: Turn, by: str) -> list[dict[str, Any]]:
    parts = [block for part in turn.parts if (block := message_block(part)) is not None]
    if turn.role == "tool":
        content = parts or turn.text
        result = {"type": "tool_result", "tool_use_id": turn.tool_call_id, "content": content}
        return [{**result, "is_error": True} if turn.is_error else result]
    calls = [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}
        for call in turn.tool_calls
    ]
    if turn.role == "assistant":
        return message_blocks(turn, calls, thoughts_in(turn, by))
    # The API rejects empty text.
    return parts or [{"type": "text", "text": turn.text}] if turn.text else []


def _mark(arguments: dict[str, Any]) -> None:
    """Mark the ends of the prefixes that the next requests of the conversation repeat.

    They are: the tools and the system message; the conversation so far; and the conversation up to
    the turn before, since the server looks back over a few blocks only.
    """
    if "system" in arguments:
        text = arguments["system"]
        arguments["system"] = [{"type": "text", "text": text, "cache_control": _MARK}]
    elif "tools" in arguments:
        *first, last = arguments["tools"]
        arguments["tools"] = [*first, {**last, "cache_control": _MARK}]
    of_user = [each for each in arguments["messages"] if each["role"] == "user"]
    for message in of_user[-2:]:
        *first, last = message["content"]
        message["content"] = [*first, {**last, "cache_control": _MARK}]
