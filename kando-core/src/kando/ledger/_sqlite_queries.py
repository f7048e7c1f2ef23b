"""Queries for the links of a ledger and for the events about some objects and relations."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import msgspec

from kando.errors import StoreDamaged
from kando.ledger._sqlite_rows import DAMAGED, Segment
from kando.ledger.interface import OBJECT_TYPES, Link
from kando.schema.events import (
    OBJECT_CREATED,
    OBJECT_PATCHED,
    RELATION_CREATED,
    RELATION_REMOVED,
    RecordedEvent,
)

__all__ = ["EVENTS_ABOUT", "Search", "links_of", "links_query"]

# Data with references has one more byte in front (see `kando.schema.parts`).
_ID = (
    "json_extract(CAST(iif(hex(substr(body, 1, 1)) = '01', substr(body, 2), body) AS TEXT), '$.id')"
)

# Cast, since SQLite's functions would read the stored bytes as its own binary JSON.
EVENTS_ABOUT = f"""
    WHERE address >= ? AND address < ? AND (
        type IN ('{OBJECT_CREATED}', '{OBJECT_PATCHED}')
        AND {_ID} IN (SELECT value FROM json_each(?))
        OR type IN ('{RELATION_CREATED}', '{RELATION_REMOVED}')
        AND {_ID} IN (SELECT value FROM json_each(?))
    )
    ORDER BY address DESC
"""

_decode_cause = msgspec.json.Decoder(list[str]).decode


def links_query(excluding: Collection[str]) -> tuple[str, tuple[str, ...]]:
    """Return the query for the links in a span, and its parameters after the span.

    Args:
        excluding: types of events to leave out.
    """
    marks = ", ".join("?" * len(excluding))
    query = (
        "SELECT address, id, type, cause FROM events "
        f"WHERE address >= ? AND address < ? AND type NOT IN ({marks}) ORDER BY address"
    )
    return query, tuple(sorted(excluding))


def links_of(rows: Iterable[tuple[Any, ...]], segment: Segment) -> Iterator[Link]:
    """Yield the links that rows of a segment hold.

    Raises:
        StoreDamaged: the causes of an event cannot be decoded.
    """
    for address, id, type, cause in rows:
        position = address - segment.base
        try:
            causes = [] if cause is None else _decode_cause(cause)
        except DAMAGED as error:
            msg = f"{segment.stream}: the causes of the event at position {position} are damaged: {error}."
            raise StoreDamaged(msg, hint="Restore the store from a copy.") from error
        yield Link(position, segment.default_id(type, position) if id is None else id, causes)


class Search:
    """A search for the events about some objects and relations, from the newest to the oldest.

    Args:
        objects: ids.
        relations: ids.
    """

    def __init__(self, objects: Iterable[str], relations: Iterable[str]) -> None:
        self._objects, self._relations = set(objects), set(relations)
        self._found: list[RecordedEvent] = []
        # SQLite may truncate a text at its first NUL.
        self.is_possible = not any("\x00" in id for id in self._objects | self._relations)

    @property
    def is_incomplete(self) -> bool:
        """Whether older events can still matter."""
        return bool(self._objects or self._relations)

    def parameters(self) -> tuple[str, str]:
        """Return the parameters of `EVENTS_ABOUT` after the span."""
        objects, relations = sorted(self._objects), sorted(self._relations)
        return json.dumps(objects, ensure_ascii=False), json.dumps(relations, ensure_ascii=False)

    def add(self, event: RecordedEvent) -> None:
        """Add an event that the query found; it must be older than the previous one."""
        id = event.data.get("id")
        wanted = self._objects if event.type in OBJECT_TYPES else self._relations
        if not isinstance(id, str) or id not in wanted:
            return
        if event.type != RELATION_REMOVED:
            self._found.append(event)
        if event.type != OBJECT_PATCHED:
            wanted.discard(id)

    def found(self) -> Iterator[RecordedEvent]:
        """Return the events that were found, in order."""
        return reversed(self._found)
