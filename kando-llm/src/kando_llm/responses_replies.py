"""Read answers of OpenAI's Responses API, whole or as a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
from kando_llm.thoughts import kept_items

__all__ = ["read_response", "read_response_events"]

_CALLS = ("function_call", "custom_tool_call")
#: Events that add a piece to a field of an item.
_PIECES = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "refusal",
    "response.function_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "arguments",
}
#: Events that end an answer.
_ENDS = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")


@attrs.define
class _Streamed:
    """An item of a stream so far.

    Attributes:
        item: as the server sent it last.
        text: pieces of its text.
        refusal: pieces of a refusal.
        arguments: pieces of the arguments of a call.
    """

    item: dict[str, Any] = attrs.field(factory=dict)
    text: str = ""
    refusal: str = ""
    arguments: str = ""

    def whole(self) -> dict[str, Any]:
        """Return the item, with the pieces where the server did not repeat them."""
        if self.item.get("type") in _CALLS or (not self.item and self.arguments):
            whole = {"type": "function_call", **self.item}
            name = "input" if "input" in whole else "arguments"
            return {**whole, name: whole.get(name) or self.arguments or None}
        if not (self.text or self.refusal) or "".join(_said(self.item)):
            return self.item
        parts = [{"type": "output_text", "text": self.text}] if self.text else []
        refused = [{"type": "refusal", "refusal": self.refusal}] if self.refusal else []
        return {**self.item, "type": "message", "content": [*parts, *refused]}


@attrs.define
class _SoFar:
    """The content of an answer, or of the events of a stream so far.

    Attributes:
        model: that answers.
        usage: as reported, by the names of the API.
        end: the response as the server sent it last.
        items: of a stream, by their place.
    """

    model: Any = None
    usage: Any = None
    end: dict[str, Any] = attrs.field(factory=dict)
    items: dict[Any, _Streamed] = attrs.field(factory=dict)


def read_response(response: Any) -> Reply:
    """Read a whole answer.

    Raises:
        IncompleteAnswer: it is broken or malformed; with the usage that it reports.
    """
    so_far = _SoFar()
    try:
        _note(response, so_far)
        _check_error(so_far.end)
        output = so_far.end.get("output")
        if not isinstance(output, list):
            raise NotAnAnswer
        return _reply(so_far, _objects(output))
    except Exception as error:
        failure = _failed_with_usage(so_far, error)
    raise failure


def read_response_events(events: Iterable[Any], on_text: OnText) -> Reply:
    """Read a stream, and pass each piece of text to `on_text`.

    Raises:
        IncompleteAnswer: as for `read_response`.
    """
    so_far, is_over = _SoFar(), False
    try:
        for event in events:
            kind = field_of(event, "type")
            if kind == "error" or (kind is None and field_of(event, "error")):
                raise BrokenAnswer(field_of(event, "error") or as_dict(event))
            _note(field_of(event, "response"), so_far)
            if kind in _ENDS:
                is_over = True
                so_far.end.setdefault("status", kind.removeprefix("response."))
            _read_event(kind, event, so_far, on_text)
        if not is_over:
            msg = "the stream was cut off"
            raise ValueError(msg)
        _check_error(so_far.end)
        return _reply(so_far, _whole_output(so_far))
    except Exception as error:
        failure = _failed_with_usage(so_far, error)
    raise failure


def _failed_with_usage(so_far: _SoFar, error: Exception) -> IncompleteAnswer:
    """Return the error for an unusable answer, with the usage that it reports."""
    return IncompleteAnswer(error, so_far.model or "", _usage(so_far.usage))


def _note(response: Any, so_far: _SoFar) -> None:
    found = as_dict(response)
    if found:
        so_far.end = found
        so_far.model = found.get("model") or so_far.model
        so_far.usage = found.get("usage") or so_far.usage


def _check_error(response: Mapping[str, Any]) -> None:
    """Raise the error that a server put into an answer."""
    error = response.get("error") or (response.get("errors") if "output" not in response else None)
    if error:
        raise BrokenAnswer(error)
    if response.get("status") == "failed":
        raise BrokenAnswer({"message": "it failed, and its server names no error"})


def _read_event(kind: Any, event: Any, so_far: _SoFar, on_text: OnText) -> None:
    place = _place(event)
    if kind in ("response.output_item.added", "response.output_item.done"):
        begun = so_far.items.setdefault(place, _Streamed())
        require_object(field_of(event, "item"), "an item of the stream")
        begun.item = as_dict(field_of(event, "item")) or begun.item
    elif kind in _PIECES:
        piece, name = field_of(event, "delta"), _PIECES[kind]
        if isinstance(piece, str):
            begun = so_far.items.setdefault(place, _Streamed())
            setattr(begun, name, getattr(begun, name) + piece)
            if name == "text":
                on_text(piece)


def _place(event: Any) -> Any:
    """Return the place of an item: its number, or its id if the server sends no number."""
    number = field_of(event, "output_index")
    if isinstance(number, int):
        return number
    item = field_of(event, "item")
    id = field_of(event, "item_id") or field_of(item, "id")
    return id if isinstance(id, str) else None


def _whole_output(so_far: _SoFar) -> list[dict[str, Any]]:
    """Return the items of a streamed answer.

    The last event repeats all of them. Some servers leave items out there: then the items are taken
    as they were streamed.
    """
    output = so_far.end.get("output")
    last = _objects(output) if isinstance(output, list) else []
    streamed = [each.whole() for each in so_far.items.values()]
    if all(_amount(last, kind) >= _amount(streamed, kind) for kind in ("message", *_CALLS)):
        is_said = bool("".join(_all_said(last))) or not "".join(_all_said(streamed))
        if is_said and _amount(last, "reasoning") >= _amount(streamed, "reasoning"):
            return last
    return streamed


def _objects(output: list[Any]) -> list[dict[str, Any]]:
    for item in output:
        require_object(item, "an item of the answer")
    return [as_dict(item) for item in output]


def _amount(items: list[dict[str, Any]], kind: str) -> int:
    return sum(item.get("type") == kind for item in items)


def _all_said(items: list[dict[str, Any]]) -> Iterator[str]:
    for item in items:
        yield from _said(item)


def _said(item: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts and refusals of a message that are plain."""
    content = item.get("content")
    for part in content if isinstance(content, list) else [content]:
        for text in (part, *(field_of(part, name) for name in ("text", "refusal"))):
            if isinstance(text, str):
                yield text


def _reply(so_far: _SoFar, output: list[dict[str, Any]]) -> Reply:
    parts, refusals, thoughts = list[Any](), list[str](), list[str]()
    calls, kept = list[dict[str, Any]](), list[dict[str, Any]]()
    for item in output:
        if _is_call(item):
            given = item["arguments"] if "arguments" in item else item.get("input")
            id = item.get("call_id") or item.get("id")
            calls.append({"id": id, "name": item.get("name"), "arguments": given})
            kept.append({"type": "call"})
        elif _is_message(item):
            said = [each for each in _parts(item) if not _refusal(each)]
            parts += said
            refusals += filter(None, map(_refusal, _parts(item)))
            text = "".join(_plain(each) or "" for each in said)
            kept.append({"type": "message", "text": text, "phase": item.get("phase")})
        else:
            kept.append(item)
            thoughts += _thoughts(item)
    stop, raw = _stop(so_far.end, is_calling=bool(calls), is_refused=bool(refusals))
    if parts and refusals:
        refusals = [f"\n\n{each}" for each in refusals]
    content = [*parts, *refusals]
    is_plain = all(_plain(each) is not None for each in content)
    blocks = kept_items(kept)
    return Reply(
        text="".join(_plain(each) or "" for each in content) if is_plain else content,
        model=str(so_far.model),
        stop=stop,
        stop_raw=raw,
        usage=_usage(so_far.usage),
        tool_calls=tuple(calls),
        reasoning="\n\n".join(thoughts),
        thoughts={"blocks": blocks} if blocks else {},
    )


def _stop(end: Mapping[str, Any], *, is_calling: bool, is_refused: bool) -> tuple[str, str]:
    """Return why an answer ended, and the server's own word for it."""
    status = end.get("status")
    if not isinstance(status, str):
        msg = "the answer has no status"
        raise ValueError(msg)
    if status == "completed":
        return "tool" if is_calling else "refusal" if is_refused else "end", status
    reason = field_of(end.get("incomplete_details"), "reason")
    stop = stop_of(reason) if status == "incomplete" else "error"
    if isinstance(reason, str) and stop in ("length", "filtered", "refusal"):
        return stop, reason
    because = f" and the reason {reason!r}" if reason else ""
    raise BrokenAnswer({"message": f"it ended with status {status!r}{because}"})


def _is_call(item: Mapping[str, Any]) -> bool:
    return item.get("type") in _CALLS


def _is_message(item: Mapping[str, Any]) -> bool:
    """Whether an item is a message; an item of an unknown type is one if it has text."""
    kind = item.get("type")
    return kind == "message" or (kind != "reasoning" and any(_said(item)))


def _parts(message: Mapping[str, Any]) -> list[Any]:
    content = message.get("content")
    parts = content if isinstance(content, list) else [content]
    return [part for part in parts if part is not None]


def _plain(part: Any) -> str | None:
    """Return the text of a part of a message; None if the part is of another kind."""
    if isinstance(part, str):
        return part
    is_text = field_of(part, "type") in ("output_text", "text", None)
    text = field_of(part, "text")
    return text if is_text and isinstance(text, str) else None


def _refusal(part: Any) -> str:
    refusal = field_of(part, "refusal")
    return refusal if isinstance(refusal, str) else ""


def _thoughts(item: Mapping[str, Any]) -> list[str]:
    """Return what a model thought: the summary, or the reasoning itself if there is no summary."""
    if item.get("type") != "reasoning":
        return []
    for name in ("summary", "content"):
        parts = item.get(name)
        texts = [_plain_thought(part) for part in parts] if isinstance(parts, list) else []
        if any(texts):
            return [text for text in texts if text]
    return []


def _plain_thought(part: Any) -> str:
    text = part if isinstance(part, str) else field_of(part, "text")
    return text if isinstance(text, str) else ""


def _usage(reported: Any) -> dict[str, int]:
    """Return the usage; the API counts cached tokens as input."""
    given = field_of(reported, "input_tokens_details")
    answered = field_of(reported, "output_tokens_details")
    counts = {
        "input_tokens": field_of(reported, "input_tokens"),
        "output_tokens": field_of(reported, "output_tokens"),
        "cache_read_tokens": field_of(given, "cached_tokens"),
        "cache_write_tokens": field_of(given, "cache_write_tokens"),
        "reasoning_tokens": field_of(answered, "reasoning_tokens"),
    }
    return {name: count for name, count in counts.items() if is_token_count(count)}
