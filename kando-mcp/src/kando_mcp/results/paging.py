"""Results of a bounded length: pages of items, and values cut where they are too long."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from kando.errors import ConfigurationError

__all__ = ["clip", "cursor_text", "cut", "page", "read_cursor", "to_json"]

_Item = TypeVar("_Item")

# What a page says beside its items.
_ENVELOPE_CHARS = 2_000

_SCALAR_CHARS = 1_000

_NUMBER = re.compile(r"[0-9]{1,12}")


def to_json(value: object) -> str:
    """Return `value` as JSON of one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def clip(text: str, chars: int) -> str:
    """Return `text`, or its beginning and what is missing, in at most `chars` characters."""
    if len(text) <= chars:
        return text
    note = f"... ({len(text)} characters)"
    return text[: max(0, chars - len(note))] + note


def cut(data: Any, chars: int) -> Any:
    """Return JSON data, its long texts and lists cut so that it takes at most `chars` characters.

    Args:
        data: JSON-able.
        chars: of its JSON.
    """
    if len(to_json(data)) <= chars:
        return data
    for texts, items in ((2_000, 100), (300, 20), (60, 5)):
        shorter = _shortened(data, texts, items, 6)
        if len(to_json(shorter)) <= chars:
            return shorter
    return {"cut": clip(to_json(data), max(0, chars // 2))}


def _shortened(data: Any, texts: int, items: int, depth: int) -> Any:
    if isinstance(data, str):
        return clip(data, texts)
    if depth == 0:
        return clip(to_json(data), texts)
    if isinstance(data, dict):
        kept = list(data.items())[:items]
        found = {clip(k, texts): _shortened(v, texts, items, depth - 1) for k, v in kept}
        return found | ({"...": f"{len(data)} fields"} if len(data) > items else {})
    if isinstance(data, list | tuple):
        found_items = [_shortened(each, texts, items, depth - 1) for each in data[:items]]
        return found_items + ([f"... ({len(data)} items)"] if len(data) > items else [])
    return data


def page(
    items: Sequence[_Item] | Iterable[_Item],
    start: int,
    limit: int,
    chars: int,
    shown: Callable[[_Item], Any],
) -> tuple[list[Any], int | None]:
    """Return as many shown items as fit, at least one, and the index at which the next page starts.

    Args:
        items: all of them, in an order that does not change.
        start: index of the first.
        limit: how many at most.
        chars: of the JSON of the whole page.
        shown: makes an item JSON-able; its data is cut if it does not fit alone.
    """
    room = chars - _ENVELOPE_CHARS
    found: list[Any] = []
    for index, item in enumerate(items):
        if index < start:
            continue
        if len(found) == limit:
            return found, index
        body = shown(item)
        size = len(to_json(body)) + 1
        if size > room and found:
            return found, index
        if size > room:
            body = _cut_body(body, room)
            size = room
        found.append(body)
        room -= size
    return found, None


def _cut_body(body: dict[str, Any], chars: int) -> dict[str, Any]:
    """Return an item whose largest fields are cut, so that ids stay whole."""
    body = {k: clip(v, _SCALAR_CHARS) if isinstance(v, str) else v for k, v in body.items()}
    rest = {k: v for k, v in body.items() if not isinstance(v, dict | list)}
    bulky = {k: v for k, v in body.items() if isinstance(v, dict | list)}
    room = max(200, (chars - len(to_json(rest))) // max(1, len(bulky)) - 100)
    return {k: cut(v, room) if k in bulky else v for k, v in body.items()}


def cursor_text(*numbers: int) -> str:
    """Return the cursor of a page: where each ledger stood, and the index of its first item."""
    return "-".join(map(str, numbers))


def read_cursor(cursor: str, count: int) -> list[int]:
    """Return the numbers of a cursor.

    Args:
        cursor: as `cursor_text` returned it.
        count: of the numbers it must have.

    Raises:
        ConfigurationError: it is none.
    """
    numbers = cursor.split("-")
    if len(numbers) != count or not all(map(_NUMBER.fullmatch, numbers)):
        msg = f"{clip(cursor, 100)!r} is not a cursor."
        raise ConfigurationError(msg, hint="Use the next_cursor of the page before, or none.")
    return [int(number) for number in numbers]
