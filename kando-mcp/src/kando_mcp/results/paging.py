"""Results of limited length: pages of items, and truncated values."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from kando.errors import ConfigurationError
from kando.responders.redaction import replace_surrogates
from kando.schema.content import is_media, shown_part
from kando.schema.visible import with_length as truncate

__all__ = [
    "format_cursor",
    "has_surrogates",
    "page",
    "parse_cursor",
    "to_json",
    "truncate",
    "truncate_data",
    "without_surrogates",
]

_Item = TypeVar("_Item")
_Value = TypeVar("_Value")

# Reserved for the fields of a page other than its items.
_ENVELOPE_CHARS = 2_000

_SCALAR_CHARS = 1_000

_NUMBER = re.compile(r"[0-9]{1,12}")


def to_json(value: object) -> str:
    """Return `value` as JSON on one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def has_surrogates(value: object) -> bool:
    """Whether the texts in a JSON value hold a lone surrogate, which UTF-8 cannot encode."""
    try:
        to_json(value).encode()
    except UnicodeEncodeError:
        return True
    return False


def without_surrogates(value: _Value) -> _Value:
    """Return a JSON value with U+FFFD for each lone surrogate in its texts."""
    return _replaced(value) if has_surrogates(value) else value


def _replaced(value: Any) -> Any:
    if isinstance(value, str):
        return replace_surrogates(value)
    if isinstance(value, dict):
        return {_replaced(key): _replaced(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(each) for each in value]
    return value


def truncate_data(data: Any, chars: int) -> Any:
    """Return JSON data with its long texts and lists truncated.

    Args:
        data: JSON-serializable.
        chars: maximum length of its JSON.
    """
    if len(to_json(data)) <= chars:
        return data
    for texts, items in ((2_000, 100), (300, 20), (60, 5)):
        shorter = _truncated(data, texts, items, 6)
        if len(to_json(shorter)) <= chars:
            return shorter
    return {"cut": truncate(to_json(data), max(0, chars // 2))}


def _truncated(data: Any, texts: int, items: int, depth: int) -> Any:
    if isinstance(data, str):
        return truncate(data, texts)
    if depth == 0:
        return truncate(to_json(data), texts)
    if is_media(data):
        return shown_part(data)
    if isinstance(data, dict):
        kept = list(data.items())[:items]
        found = {truncate(k, texts): _truncated(v, texts, items, depth - 1) for k, v in kept}
        return found | ({"...": f"{len(data)} fields"} if len(data) > items else {})
    if isinstance(data, list | tuple):
        found_items = [_truncated(each, texts, items, depth - 1) for each in data[:items]]
        return found_items + ([f"... ({len(data)} items)"] if len(data) > items else [])
    return data


def page(
    items: Sequence[_Item] | Iterable[_Item],
    start: int,
    limit: int,
    chars: int,
    render: Callable[[_Item], Any],
) -> tuple[list[Any], int | None]:
    """Return the items that fit on a page, at least one, and the index of the next page or None.

    Args:
        items: all items, in an order that does not change.
        start: index of the first item.
        limit: maximum number of items.
        chars: maximum length of the page, in characters of its JSON.
        render: makes an item JSON-serializable; an item that does not fit alone is truncated.
    """
    room = chars - _ENVELOPE_CHARS
    found: list[Any] = []
    for index, item in enumerate(items):
        if index < start:
            continue
        if len(found) == limit:
            return found, index
        body = render(item)
        size = len(to_json(body)) + 1
        if size > room and found:
            return found, index
        if size > room:
            body = _truncate_body(body, room)
            size = room
        found.append(body)
        room -= size
    return found, None


def _truncate_body(body: dict[str, Any], chars: int) -> dict[str, Any]:
    """Return an item with its largest fields truncated, so that ids stay complete."""
    body = {k: truncate(v, _SCALAR_CHARS) if isinstance(v, str) else v for k, v in body.items()}
    rest = {k: v for k, v in body.items() if not isinstance(v, dict | list)}
    bulky = {k: v for k, v in body.items() if isinstance(v, dict | list)}
    room = max(200, (chars - len(to_json(rest))) // max(1, len(bulky)) - 100)
    return {k: truncate_data(v, room) if k in bulky else v for k, v in body.items()}


def format_cursor(*numbers: int) -> str:
    """Return the cursor of a page: the position of each ledger, and the index of the first item."""
    return "-".join(map(str, numbers))


def parse_cursor(cursor: str, count: int) -> list[int]:
    """Return the numbers in a cursor.

    Args:
        cursor: a result of `format_cursor`.
        count: required number of numbers.

    Raises:
        ConfigurationError: the cursor is malformed.
    """
    numbers = cursor.split("-")
    if len(numbers) != count or not all(map(_NUMBER.fullmatch, numbers)):
        msg = f"The cursor {truncate(cursor, 100)!r} is malformed."
        raise ConfigurationError(msg, hint="Use next_cursor of the previous page, or omit it.")
    return [int(number) for number in numbers]
