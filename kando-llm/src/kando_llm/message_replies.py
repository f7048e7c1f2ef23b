"""Read answers of Anthropic's Messages, whole or as a stream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from kando.responders.replies import stop_of
from kando_llm.live_provider import OnText, Reply, is_token_count
from kando_llm.sdk import (
    BrokenAnswer,
    IncompleteAnswer,
    NotAnAnswer,
    as_dict,
    field_of,
    require_object,
)
from kando_llm.thoughts import kept_blocks

__all__ = ["read_events", "read_message"]


@attrs.define
class _SoFar:
    """The content of a message, or of the events of a stream so far.

    Attributes:
        model: that answers.
        usage: as reported, by the names of the API.
        stop: the stop reason; None until there is one.
        blocks: the content, each block with its fields.
        is_over: whether the server has ended the message.
    """

    model: Any = None
    usage: dict[str, Any] = attrs.field(factory=dict)
    stop: Any = None
    blocks: list[dict[str, Any]] = attrs.field(factory=list)
    is_over: bool = False


def read_message(message: Any) -> Reply:
    """Read a whole message.

    Raises:
        IncompleteAnswer: it is broken or malformed; with the usage that it reports.
    """
    so_far = _SoFar()
    try:
        so_far.model = field_of(message, "model")
        so_far.usage = _known(field_of(message, "usage"))
        _check_error(message)
        content = field_of(message, "content")
        if not isinstance(content, list | str):
            raise NotAnAnswer
        blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
        so_far.blocks = [_known(block) for block in blocks]
        so_far.stop = field_of(message, "stop_reason")
        return _reply(so_far)
    except Exception as error:
        failure = IncompleteAnswer(error, so_far.model or "", _usage(so_far.usage))
    raise failure


def read_events(events: Iterable[Any], on_text: OnText) -> Reply:
    """Read a stream, and pass each piece of text to `on_text`.

    The SDK completes JSON that was cut off, so the arguments of calls are collected as text here.

    Raises:
        IncompleteAnswer: as for `read_message`.
    """
    so_far, at = _SoFar(), dict[Any, dict[str, Any]]()
    try:
        for event in events:
            _read_event(event, so_far, at, on_text)
        if not so_far.is_over:
            msg = "the stream was cut off"
            raise ValueError(msg)
        return _reply(so_far)
    except Exception as error:
        failure = IncompleteAnswer(error, so_far.model or "", _usage(so_far.usage))
    raise failure


def _read_event(event: Any, so_far: _SoFar, at: dict[Any, dict[str, Any]], on_text: OnText) -> None:
    kind = field_of(event, "type")
    if kind == "message_start":
        message = field_of(event, "message")
        so_far.model = field_of(message, "model")
        so_far.usage = _known(field_of(message, "usage"))
    elif kind == "content_block_start":
        block = _known(field_of(event, "content_block"))
        at[field_of(event, "index")] = block
        so_far.blocks.append(block)
        if block.get("type") == "text" and isinstance(block.get("text"), str) and block["text"]:
            on_text(block["text"])
    elif kind == "content_block_delta":
        begun = at.get(field_of(event, "index"))
        if begun is None:
            msg = "the stream has a piece of a block that did not begin"
            raise ValueError(msg)
        _read_delta(field_of(event, "delta"), begun, on_text)
    elif kind == "message_delta":
        so_far.stop = field_of(field_of(event, "delta"), "stop_reason") or so_far.stop
        reported = _known(field_of(event, "usage"))
        so_far.usage |= {name: count for name, count in reported.items() if count is not None}
    elif kind == "message_stop":
        so_far.is_over = True
    elif kind == "error":
        raise BrokenAnswer(field_of(event, "error") or event)


def _read_delta(delta: Any, block: dict[str, Any], on_text: OnText) -> None:
    require_object(delta, "a piece of the stream")
    fields = {
        "text_delta": ("text", "text"),
        "input_json_delta": ("partial_json", "json"),
        "thinking_delta": ("thinking", "thinking"),
        "signature_delta": ("signature", "signature"),
    }
    kind = field_of(delta, "type")
    if kind not in fields:
        return
    sent, kept = fields[kind]
    piece = field_of(delta, sent)
    if isinstance(piece, str):
        block[kept] = (block.get(kept) or "") + piece
        if kind == "text_delta":
            on_text(piece)


def _reply(so_far: _SoFar) -> Reply:
    if not isinstance(so_far.stop, str):
        msg = "the message has no stop reason"
        raise ValueError(msg)
    stop = stop_of(so_far.stop)
    if stop == "error":
        raise BrokenAnswer({"message": f"it ended with stop_reason {so_far.stop!r}"})
    texts, thoughts, calls = list[Any](), list[str](), list[dict[str, Any]]()
    for block in so_far.blocks:
        kind = block.get("type")
        if kind == "thinking":
            thoughts.append(str(block.get("thinking") or ""))
        elif kind == "tool_use":
            # A block without pieces has its arguments in it.
            given = block["json"] if block.get("json") else block.get("input")
            calls.append({"id": block.get("id"), "name": block.get("name"), "arguments": given})
        elif block.get("text") is not None:
            texts.append(block["text"])
    is_plain = all(isinstance(text, str) for text in texts)
    return Reply(
        text="".join(texts) if is_plain else texts,
        model=str(so_far.model),
        stop=stop,
        stop_raw=so_far.stop,
        usage=_usage(so_far.usage),
        tool_calls=tuple(calls),
        reasoning="\n\n".join(filter(None, thoughts)),
        thoughts={"blocks": blocks} if (blocks := kept_blocks(so_far.blocks)) else {},
    )


def _check_error(message: Any) -> None:
    error = field_of(message, "error")
    if error or field_of(message, "type") == "error":
        raise BrokenAnswer(error or message)


def _known(block: Any) -> dict[str, Any]:
    """Return a block of the SDK, or text that a server sent instead, as a dictionary.

    Raises:
        ValueError: it is neither.
    """
    if not isinstance(block, str):
        require_object(block, "a part of the message")
    return {"type": "text", "text": block} if isinstance(block, str) else as_dict(block)


def _usage(reported: dict[str, Any]) -> dict[str, int]:
    """Return the usage; the API's input count excludes tokens read from or written to its cache."""
    counts = {
        "input_tokens": reported.get("input_tokens"),
        "output_tokens": reported.get("output_tokens"),
        "cache_read_tokens": reported.get("cache_read_input_tokens"),
        "cache_write_tokens": reported.get("cache_creation_input_tokens"),
        "reasoning_tokens": field_of(reported.get("output_tokens_details"), "thinking_tokens"),
    }
    usage = {name: count for name, count in counts.items() if is_token_count(count)}
    if "input_tokens" in usage:
        usage["input_tokens"] += usage.get("cache_read_tokens", 0)
        usage["input_tokens"] += usage.get("cache_write_tokens", 0)
    return usage
