"""What SQLite finds by itself: the links of a ledger, and the events about some objects."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import msgspec

from kando.errors import StoreDamaged
from kando.ledger._sqlite_rows import COLUMNS, Segment
from kando.ledger.interface import WORLD_TYPES, Link

__all__ = ["TOUCHING", "ids_parameter", "links_of", "links_query"]

_TYPES = ", ".join(f"'{type}'" for type in WORLD_TYPES)

# The body is stored as bytes, which SQLite's functions would take for its own binary JSON.
TOUCHING = f"""
    SELECT {COLUMNS} FROM events
    WHERE address >= ? AND address < ? AND type IN ({_TYPES})
    AND json_extract(CAST(body AS TEXT), '$.id') IN (SELECT value FROM json_each(?))
    ORDER BY address
"""

_decode_cause = msgspec.json.Decoder(list[str]).decode


def links_query(besides: Collection[str]) -> tuple[str, tuple[str, ...]]:
    """Return the query of a span's links, and its parameters after the span.

    Args:
        besides: types of events to leave out.
    """
    marks = ", ".join("?" * len(besides))
    query = (
        "SELECT address, id, type, cause FROM events "
        f"WHERE address >= ? AND address < ? AND type NOT IN ({marks}) ORDER BY address"
    )
    return query, tuple(sorted(besides))


def links_of(rows: Iterable[tuple[Any, ...]], segment: Segment) -> Iterator[Link]:
    """Yield the links that rows of a segment hold.

    Raises:
        StoreDamaged: the causes of an event cannot be decoded.
    """
    for address, id, type, cause in rows:
        position = address - segment.base
        try:
            causes = [] if cause is None else _decode_cause(cause)
        except (msgspec.DecodeError, TypeError) as error:
            msg = f"{segment.stream}: the causes of the event at position {position} are damaged: {error}."
            raise StoreDamaged(msg, hint="Restore the store from a copy.") from error
        yield Link(position, segment.default_id(type, position) if id is None else id, causes)


def ids_parameter(ids: Iterable[str]) -> str | None:
    """Return ids as the parameter of `TOUCHING`; None if SQLite cannot look for one of them."""
    text = json.dumps(sorted(ids), ensure_ascii=False)
    # To SQLite a text may end at its first NUL.
    return None if "\\u0000" in text else text
