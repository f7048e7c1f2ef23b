"""Requests in the form of OpenAI's Responses API."""

from __future__ import annotations

import json
import re
from typing import Any

from kando_llm.adaptations import with_schema_in_last_turn
from kando_llm.json_schema import is_strict, typed
from kando_llm.live_provider import Connection
from kando_llm.media import responses_part
from kando_llm.request import Request, Turn
from kando_llm.thoughts import message_items, thoughts_in

__all__ = ["needs_responses", "refers_to_responses", "responses_arguments"]

# Models of OpenAI that Chat Completions does not have.
_ONLY_RESPONSES = re.compile(r"codex|(o\d|gpt-\d[\d.]*)-pro|deep-research|computer-use")
# The words with which a server sends a model to the other API, or says that it is not for chat.
_SAYS_RESPONSES = re.compile(
    r"v1/responses|/responses\b|responses api|not a chat model|chatcompletions? operation does not work",
    re.IGNORECASE,
)
# Reasoning models reject these.
_NO_SAMPLING = re.compile(r"(o\d|gpt-5(?!.*chat))")
_SAMPLING = ("temperature", "top_p")
# Models that do not reason, and refuse to be asked for it.
_NO_REASONING = re.compile(r"(gpt-(3|4)|chatgpt-|gpt-5.*chat)")
#: Options of Chat Completions that the Responses API does not have.
_NOT_HERE = (
    "stop",
    "top_k",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
)
_ENCRYPTED = "reasoning.encrypted_content"


def needs_responses(model: str) -> bool:
    """Whether OpenAI has a model in its Responses API only, as far as its name says so.

    Args:
        model: its id.
    """
    return _ONLY_RESPONSES.search(model) is not None


def refers_to_responses(words: str) -> bool:
    """Whether the words of a server's error say that the model needs the Responses API."""
    return _SAYS_RESPONSES.search(words) is not None


def responses_arguments(
    request: Request, connection: Connection, by: str
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the arguments of the SDK's method, and the options that the model does not support.

    The server stores nothing: so the reasoning of each turn is asked for in an encrypted form, and
    returned with the next request.

    Args:
        request: to send.
        connection: to the server.
        by: whose thoughts are returned; see `kando_llm.thoughts.giver`.
    """
    is_own = connection.endpoint.is_own
    arguments: dict[str, Any] = {
        "model": request.model,
        "input": [item for turn in request.turns for item in _items(turn, by)],
        "store": False,
    }
    if request.system:
        arguments["instructions"] = request.system
    if request.max_tokens is not None:
        arguments["max_output_tokens"] = request.max_tokens
    if not (is_own and _NO_REASONING.match(request.model)):
        arguments["include"] = [_ENCRYPTED]
    if request.tools:
        arguments["tools"] = [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": typed(tool.schema),
                # Without it, the server changes the schema: it makes every argument required.
                "strict": False,
            }
            for tool in request.tools
        ]
    options, dropped = _options(request, is_own=is_own)
    text = {"verbosity": options.pop("verbosity")} if "verbosity" in options else {}
    if request.output_schema is not None:
        schema, knows_strict = typed(request.output_schema), connection.server.knows_strict_schemas
        if request.tools and not knows_strict:
            # As in Chat Completions: most such servers call no tool next to a schema.
            arguments = with_schema_in_last_turn(arguments, schema)
        else:
            strict = knows_strict and is_strict(schema)
            format = {"type": "json_schema", "name": "answer", "schema": schema, "strict": strict}
            text = {"format": format, **text}
    if text:
        arguments["text"] = text
    if "temperature" in options:
        arguments["temperature"] = options.pop("temperature")
    if options:
        arguments["extra_body"] = options
    return arguments, dropped


def _options(request: Request, *, is_own: bool) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the options that are sent as they are, and the names of those that are not sent."""
    thinking = request.options.get("thinking")
    options = request.further("effort", "reasoning_effort", "thinking")
    if request.temperature is not None:
        options = {"temperature": request.temperature, **options}
    if request.stop:
        options = {"stop": list(request.stop), **options}
    reasoning = dict(thinking) if isinstance(thinking, dict) else {}
    if request.effort:
        reasoning = {"effort": request.effort, **reasoning}
    if reasoning:
        options = {"reasoning": reasoning, **options}
    if "tool_choice" in options:
        options["tool_choice"] = _tool_choice(options["tool_choice"])
    unsupported = list(_NOT_HERE) if is_own else []
    if is_own and _NO_SAMPLING.match(request.model):
        unsupported += _SAMPLING
    if not request.tools:
        unsupported += ["tool_choice", *(["parallel_tool_calls"] if is_own else [])]
    dropped = [name for name in unsupported if name in options]
    # How much to think is an effort here: yes, no or a number of tokens cannot be sent.
    if thinking is not None and not isinstance(thinking, dict):
        dropped.append("thinking")
    return {n: v for n, v in options.items() if n not in dropped}, tuple(sorted(dropped))


def _tool_choice(asked: Any) -> Any:
    if isinstance(asked, str) and asked not in ("auto", "none", "required"):
        return {"type": "function", "name": asked}
    if isinstance(asked, dict) and isinstance(asked.get("function"), dict):
        return {"type": "function", "name": asked["function"].get("name")}
    return asked


def _items(turn: Turn, by: str) -> list[dict[str, Any]]:
    """Return the items of a turn; the system's are in the instructions."""
    if turn.role == "system":
        return []
    content = [*map(responses_part, turn.parts)] or turn.text
    if turn.role == "tool":
        return [
            {
                "type": "function_call_output",
                "call_id": turn.tool_call_id,
                "output": content,
            }
        ]
    if turn.role == "user":
        return [{"role": "user", "content": content}]
    calls = [
        {
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": json.dumps(call.arguments),
        }
        for call in turn.tool_calls
    ]
    return message_items(turn, calls, thoughts_in(turn, by))
