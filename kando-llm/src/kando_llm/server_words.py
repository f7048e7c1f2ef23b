"""The words in the body of an error, whose shape differs between servers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

__all__ = ["kind_of", "message_of", "status_in", "words_of"]

# The fields of the bodies of errors; others may echo the request.
_FIELDS = (
    "type",
    "code",
    "status",
    "param",
    "message",
    "msg",
    "detail",
    "details",
    "error",
    "errors",
    "error_description",
    "description",
    "title",
    "reason",
    "loc",
    "metadata",
    "raw",
    "error_message",
    "errorMessage",
)
_MESSAGES = ("message", "msg", "error_message", "errorMessage", "detail", "error_description")
_MAX_DEPTH = 6
_MAX_WORDS = 40
_TAG = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^>]{0,500}>", re.DOTALL | re.IGNORECASE)


def words_of(body: object, depth: int = 0) -> list[str]:
    """Return the texts in the body of an error, in order."""
    return list(_unique(_words(body, depth)))[:_MAX_WORDS]


def _words(body: object, depth: int) -> Iterator[str]:
    if depth > _MAX_DEPTH:
        return
    if isinstance(body, str):
        yield body
    elif isinstance(body, bool) or body is None:
        return
    elif isinstance(body, int):
        yield str(body)
    elif isinstance(body, list):
        for each in body:
            yield from _words(each, depth + 1)
    elif isinstance(body, Mapping):
        for name in _FIELDS:
            yield from _words(body.get(name), depth + 1)


def _unique(texts: Iterator[str]) -> Iterator[str]:
    return iter(dict.fromkeys(text for text in texts if text.strip()))


def kind_of(body: object) -> str:
    """Return the type and the code in the body of an error; empty if it has none."""
    inner = _inner(body)
    words = [inner.get(name) for name in ("type", "code", "status")]
    known = [str(word) for word in words if isinstance(word, str) and word != "error"]
    return " ".join(dict.fromkeys(known))


def message_of(body: object, max_chars: int = 500) -> str:
    """Return the message in the body of an error; of any other body, its start."""
    inner = _inner(body)
    message = next((inner[name] for name in _MESSAGES if inner.get(name)), None)
    if isinstance(message, str):
        raw = inner.get("metadata")
        more = raw.get("raw") if isinstance(raw, Mapping) else None
        return f"{message} ({more})" if isinstance(more, str) and more else message
    if isinstance(body, str):
        # The words of a page, without its markup.
        shown = _TAG.sub(" ", body[: 20 * max_chars]) if body.lstrip().startswith("<") else body
        return " ".join(shown.split())[:max_chars]
    return ": ".join(words_of(message if message is not None else body))[:max_chars]


def status_in(body: object) -> int | None:
    """Return the HTTP status that the body of an error names as its code, if it does."""
    inner = _inner(body)
    for name in ("code", "status", "status_code"):
        value = inner.get(name)
        if isinstance(value, str) and value.isdecimal():
            value = int(value)
        if type(value) is int and 400 <= value < 600:
            return value
    return None


def _inner(body: object) -> Mapping[str, object]:
    """Return the object in the body of an error that describes it."""
    for _ in range(_MAX_DEPTH):
        if isinstance(body, list) and body:
            body = body[0]
        elif isinstance(body, Mapping) and isinstance(body.get("error"), Mapping | list):
            body = body["error"]
        elif isinstance(body, Mapping) and not any(body.get(name) for name in _MESSAGES):
            inner = next((body[n] for n in ("errors", "detail") if body.get(n)), body.get("error"))
            if not inner:
                return body
            if isinstance(inner, str):
                return {**body, "message": inner}
            body = inner
        else:
            break
    return body if isinstance(body, Mapping) else {}
