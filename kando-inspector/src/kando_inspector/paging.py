"""Pages of lists, and the tags that say whether a result has changed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from itertools import islice
from typing import Any

from kando.errors import ConfigurationError
from kando_inspector.encoding import encoded
from kando_inspector.service import VERSION
from kando_inspector.table import Call

__all__ = [
    "MAX_BYTES",
    "cursor_number",
    "entity_tag",
    "is_known",
    "page",
    "page_from",
    "page_of",
    "tag_of_run",
]

#: A page ends after this many bytes, however few items it has.
MAX_BYTES = 4_000_000

_NUMBER = re.compile(r"[0-9]{1,15}")


def page(items: list[Any], cursor: str | None = None) -> dict[str, Any]:
    """Return the JSON of a page.

    Args:
        items: of the page.
        cursor: of the next page; None on the last one.
    """
    return {"items": items, "next": cursor}


def page_of(items: Iterable[Any], limit: int, cursor: str | None) -> dict[str, Any]:
    """Return the JSON of a page of a list that is computed as a whole.

    Args:
        items: all of them, in an order that does not change; read as far as needed.
        limit: maximum number of items of the page.
        cursor: of the page, which is the number of items before it; None for the first page.

    Raises:
        ConfigurationError: the cursor is malformed.
    """
    start = cursor_number(cursor) if cursor is not None else 0
    return page_from(islice(items, start, None), limit, start)


def page_from(items: Iterable[Any], limit: int, start: int) -> dict[str, Any]:
    """Return the JSON of a page.

    Args:
        items: those of the page and after it, in an order that does not change.
        limit: maximum number of items of the page.
        start: number of items before the page.
    """
    found: list[Any] = []
    size = 0
    for item in items:
        size += len(encoded(item))
        if len(found) == limit or (found and size > MAX_BYTES):
            return page(found, str(start + len(found)))
        found.append(item)
    return page(found)


def cursor_number(cursor: str) -> int:
    """Return the number that a cursor is.

    Raises:
        ConfigurationError: the cursor is malformed.
    """
    if not _NUMBER.fullmatch(cursor):
        msg = f"{cursor!r:.100} is not a cursor of this list."
        raise ConfigurationError(msg, hint="Use the next of the previous page.")
    return int(cursor)


def entity_tag(body: bytes) -> str:
    """Return the tag of a body."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def tag_of_run(call: Call) -> str:
    """Return the tag of what follows from the events of a run: the hash of the last one that counts.

    Another version of this distribution may show them differently.

    Raises:
        KandoError: the run does not exist, is ambiguous, or is shorter than ``at``.
    """
    run, at = call.run_at()
    return f'"{run.head(at=at)}-{VERSION}"'


def is_known(tag: str, given: str | None) -> bool:
    """Whether a client has a result already.

    Args:
        tag: of the result.
        given: ``If-None-Match`` of the request, or None.
    """
    if given is None:
        return False
    return any(each.strip().removeprefix("W/") in (tag, "*") for each in given.split(","))
