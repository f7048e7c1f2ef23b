"""Compaction: when a conversation becomes too long for its model, and what stays of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from kando.errors import ConfigurationError, ContextOverflow, InvalidData
from kando.schema.exact_json import encode, exact

__all__ = [
    "DEFAULT_WINDOW",
    "WINDOW",
    "Compaction",
    "checked_messages",
    "estimated_tokens",
    "is_overflow",
    "replaced_by",
    "shortened",
    "summarized",
    "tokens_in",
    "window_after",
]

#: Field of an answer, which a conversation keeps: how many tokens the model reads, with its answer.
WINDOW = "window"

#: Tokens that a model is assumed to read if nothing is known of it.
DEFAULT_WINDOW = 128_000

_RESERVE = 16_384
_KEPT = 20_000
_CHARS_PER_TOKEN = 4
# For the marks around a message in the form of a model.
_TOKENS_PER_MESSAGE = 4
# An image takes about this, whatever its size.
_TOKENS_PER_PART = 1_500

_PROMPT = (
    "Summarize this conversation for a model that continues it and does not see it: what the person "
    "wants, what was decided and why, what was done and with which result, which facts, names, "
    "numbers and files matter, and what is still to be done. Call no tool. Answer with the summary "
    "alone."
)
_HEAD = "[Summary of the earlier part of this conversation]"
_WITHOUT = "The earlier part was too long to be summarized, and was removed."


@attrs.frozen
class Compaction:
    """When the older part of a conversation is replaced by a summary, and by which.

    Before a request whose messages would take more than `window` minus `reserve` tokens, and after
    an answer that says that the request was too long, the model is asked for a summary of all
    messages but the last ones.

    Attributes:
        window: how many tokens the model reads, with its answer; if None, what the provider says of the
            model that answered last, or 128,000 if it does not.
        reserve: tokens that stay free for the answer; 16,384 or a quarter of the window if None.
        keep: tokens of the last messages, which stay as they are; 20,000 or a quarter of what the
            messages may take if None.
        prompt: what the model is asked for.

    Raises:
        ConfigurationError: a number is not positive, or the reserve is not less than the window.
    """

    window: int | None = None
    reserve: int | None = None
    keep: int | None = None
    prompt: str = _PROMPT

    def __attrs_post_init__(self) -> None:
        for name in ("window", "reserve", "keep"):
            value = getattr(self, name)
            is_count = isinstance(value, int) and not isinstance(value, bool) and value > 0
            if not is_count and value is not None:
                msg = f"{name} of a compaction is {value!r:.60}."
                raise ConfigurationError(msg, hint="Set it to a number of tokens, from 1.")
        reserve, window = self.reserve, self.window
        if reserve is not None and window is not None and reserve >= window:
            msg = f"A compaction reserves {reserve:,} of {window:,} tokens."
            raise ConfigurationError(msg, hint="Reserve less than the window.")

    def of_model(self, window: int | None) -> Compaction:
        """Return this compaction for a model; a window that the kit sets is kept.

        Args:
            window: how many tokens the model reads; None if that is unknown.
        """
        if self.window is not None or window is None:
            return self
        # The kit did not know how small the window would be.
        reserve = self.reserve if self.reserve is None else min(self.reserve, window // 2)
        return attrs.evolve(self, window=window, reserve=reserve or None)

    @property
    def limit(self) -> int:
        """How many tokens the messages of a request may take."""
        window = DEFAULT_WINDOW if self.window is None else self.window
        reserve = min(_RESERVE, window // 4) if self.reserve is None else self.reserve
        return max(window - reserve, 1)

    def cut(self, messages: Sequence[Mapping[str, Any]], tokens: int) -> int | None:
        """Return how many messages are replaced, the system message included; None for none.

        A call of a tool and its result stay together: either both are replaced, or both are kept.

        Args:
            messages: of a request that is too long.
            tokens: that they take.
        """
        sizes = [*map(estimated_tokens, messages)]
        # Usage that the provider reported may differ from the estimate for each message.
        scale = max(1.0, tokens / max(sum(sizes), 1))
        # A model that overflows may have a smaller window than this one.
        keep = min(self.kept, tokens // 2)
        first, last, kept = _after_system(messages), None, 0.0
        for n in range(len(messages) - 1, first, -1):
            kept += sizes[n] * scale
            if last is not None and kept > keep:
                break
            if messages[n].get("role") != "tool":
                last = n
        if last is None:
            return None
        gained = sum(
            size
            for size, each in zip(sizes[first:last], messages[first:last], strict=True)
            if not _is_summary(each)
        )
        if (words := _last_words(messages, last)) is not None:
            gained -= min(estimated_tokens(words), keep)
        # A summary of little costs more than it spares.
        return last if gained * scale > min(self.limit, tokens) // 8 else None

    @property
    def kept(self) -> int:
        """How many tokens of the last messages stay as they are."""
        return min(_KEPT, self.limit // 4) if self.keep is None else self.keep


def estimated_tokens(message: Mapping[str, Any]) -> int:
    """Return about how many tokens a message takes: one for each four characters."""
    content = message.get("content")
    parts = content if isinstance(content, list) else [content]
    chars = others = 0
    for part in parts:
        text = part.get("text") if isinstance(part, Mapping) else part
        if isinstance(text, str):
            chars += len(text)
        elif text is not None or part is not None:
            others += 1
    for name in ("tool_calls", "thoughts"):
        if message.get(name):
            chars += len(encode(exact(message[name], name)))
    return chars // _CHARS_PER_TOKEN + others * _TOKENS_PER_PART + _TOKENS_PER_MESSAGE


def tokens_in(answer: Mapping[str, Any]) -> int | None:
    """Return the tokens of a request and its answer together, or None if they are not reported.

    Args:
        answer: the data of an ``llm.response``.
    """
    usage = answer.get("usage")
    if not isinstance(usage, Mapping):
        return None
    counts = [usage.get(name) for name in ("input_tokens", "output_tokens")]
    known = [each for each in counts if isinstance(each, int) and not isinstance(each, bool)]
    return sum(known) if len(known) == len(counts) and min(known) >= 0 else None


def window_after(data: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the change of a conversation by what its answer says of the model's window.

    Args:
        data: of the conversation.
        answer: the data of an ``llm.response``.
    """
    window = answer.get(WINDOW)
    is_count = isinstance(window, int) and not isinstance(window, bool) and window > 0
    return {WINDOW: window} if is_count and window != data.get(WINDOW) else {}


def is_overflow(answer: Mapping[str, Any]) -> bool:
    """Whether an answer says that its request was longer than the model can read.

    Args:
        answer: the data of an ``llm.response``.
    """
    error = answer.get("error")
    return isinstance(error, Mapping) and error.get("code") == ContextOverflow.code


def summarized(
    messages: Sequence[Mapping[str, Any]], cut: int, summary: str | None, keep: int
) -> list[dict[str, Any]]:
    """Return the messages that replace the first ones.

    They are the system message, the summary, and the last words of a person if these are among the
    replaced messages while the model still works on them.

    Args:
        messages: all of them.
        cut: how many are replaced.
        summary: by the model; None if there is none.
        keep: tokens that the words may take; longer ones are shortened.
    """
    by = [dict(each) for each in messages[: _after_system(messages)]]
    text = _WITHOUT if summary is None else summary
    by.append({"role": "user", "content": f"{_HEAD}\n\n{text}"})
    words = _last_words(messages, cut)
    return [*by, *shortened([words], keep)] if words is not None else by


def shortened(messages: Sequence[Mapping[str, Any]], tokens: int) -> list[dict[str, Any]]:
    """Return messages whose texts are shortened until they take about this many tokens.

    Args:
        messages: to shorten; those with short texts stay as they are.
        tokens: that they may take together.
    """
    found = [dict(each) for each in messages]
    longest = max((len(each["content"]) for each in found if _is_text(each)), default=0)
    while sum(map(estimated_tokens, found)) > tokens and longest > 100:
        longest //= 2
        for new, old in zip(found, messages, strict=True):
            if _is_text(new) and len(new["content"]) > longest:
                new["content"] = f"{old['content'][:longest]} [...]"
    return found


def checked_messages(messages: object, where: str) -> list[dict[str, Any]]:
    """Return the messages that a kit's own compaction returned.

    Args:
        messages: what it returned.
        where: names the function, in errors.

    Raises:
        InvalidData: the list is malformed, or separates a call of a tool from its result.
    """
    is_list = isinstance(messages, list) and all(isinstance(each, dict) for each in messages)
    if not isinstance(messages, list) or not is_list or not messages:
        msg = f"{where} returned {messages!r:.60}, not a list of messages."
        raise InvalidData(msg, hint='Return [{"role": "user", "content": "..."}, ...].')
    wanted: list[str] = []
    for each in messages:
        if each.get("role") == "tool":
            if each.get("tool_call_id") not in wanted:
                raise _separated(where)
            wanted.remove(each["tool_call_id"])
        elif wanted:
            raise _separated(where)
        else:
            wanted = [call["id"] for call in each.get("tool_calls") or ()]
    if wanted:
        raise _separated(where)
    return messages


def replaced_by(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]
) -> tuple[list[Any], list[Any]]:
    """Return what was replaced and by what: two lists without the end that they share."""
    same = 0
    while same < min(len(before), len(after)) and before[-1 - same] == after[-1 - same]:
        same += 1
    return [*before[: len(before) - same]], [*after[: len(after) - same]]


def _after_system(messages: Sequence[Mapping[str, Any]]) -> int:
    return next((n for n, each in enumerate(messages) if each.get("role") != "system"), 0)


def _last_words(messages: Sequence[Mapping[str, Any]], cut: int) -> Mapping[str, Any] | None:
    """Return the last message of a person, if it is before the cut and the model still works on it."""
    if any(each.get("role") == "user" for each in messages[cut:]):
        return None
    return next((each for each in reversed(messages[:cut]) if _is_said(each)), None)


def _is_summary(message: Mapping[str, Any]) -> bool:
    content = message.get("content")
    return isinstance(content, str) and content.startswith(_HEAD)


def _is_said(message: Mapping[str, Any]) -> bool:
    return message.get("role") == "user" and not _is_summary(message)


def _is_text(message: Mapping[str, Any]) -> bool:
    return isinstance(message.get("content"), str)


def _separated(where: str) -> InvalidData:
    msg = f"{where} separated a call of a tool from its result."
    return InvalidData(msg, hint="Keep an answer with calls and all its results, or neither.")
