"""How a firing is stored: its lifecycle events follow from the rows of its outputs.

The row of the first output of a firing stands for its lifecycle events too: its ``firing`` is twice
the number of outputs, plus one for a call, and its ``trigger_key`` the lineage key of the trigger (and
what else does not follow from this row). For the output with index i, ``firing`` is -i. All other
rows have 0; those that were written before format 2 have NULL.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from kando.errors import StoreDamaged
from kando.ledger._sqlite_rows import (
    DAMAGED,
    INSERT,
    INSERT_NAMED,
    NO_KEY,
    RESTORE,
    UNNAMED,
    Names,
    Segment,
    decoded,
    events_of,
    row_of,
)
from kando.ledger.chain import link, link_fields
from kando.schema.events import OBSERVED, RecordedEvent
from kando.schema.exact_json import encode
from kando.schema.firing import Firing
from kando.schema.parts import Parts

__all__ = ["firing_of", "insert", "items_of", "storable"]

#: Places of the two columns in a row.
_FIRING, _TRIGGER_KEY = 10, 11
_KEY_BYTES = 16

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def insert(
    connection: sqlite3.Connection,
    items: Sequence[RecordedEvent | Firing],
    names: Sequence[Names],
    segment: Segment,
    previous: bytes,
) -> bytes:
    """Insert consecutive events and firings into the table; return the chained hash after them.

    Args:
        connection: in a transaction.
        items: complete; the firings are as `storable` returned them.
        names: of each event that gets a row, as `names_of` returns them.
        segment: of the ledger's own events.
        previous: the chained hash before the first of them.

    Raises:
        InvalidData: an event contains text that is not valid Unicode.
    """
    last = bytearray()
    rows = _rows_of(items, segment.base, previous, last)
    if names.count(UNNAMED) == len(names):
        connection.executemany(INSERT, rows)
    else:
        named = (row + own for row, own in zip(rows, names, strict=True))
        connection.executemany(INSERT_NAMED, named)
    return bytes(last)


def _rows_of(
    items: Iterable[RecordedEvent | Firing], base: int, previous: bytes, last: bytearray
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of events and firings, then put the chained hash after them into `last`."""
    for item in items:
        if not isinstance(item, Firing):
            previous = link(previous, item)
            yield row_of(item, base, previous, 0, NO_KEY)
            continue
        count = len(item.outputs)
        fired, completed = item.lifecycle_fields(count)
        previous = link_fields(previous, fired)
        mark, key = 2 * count + item.is_call, _trigger_column(item)
        for number, event in enumerate(item.outputs, 1):
            previous = link(previous, event)
            yield row_of(event, base, previous, mark, key)
            mark, key = -number, NO_KEY
        previous = link_fields(previous, completed)
    last += previous


def storable(
    firing: Firing, segment: Segment, key_of: Callable[[str], str | None]
) -> Firing | None:
    """Return a firing whose lifecycle events need no rows, or None if they need them.

    Args:
        firing: complete.
        segment: of the ledger's own events.
        key_of: returns the lineage key of an event of the ledger by its id, or None.
    """
    outputs = firing.outputs
    if not outputs or firing.heads != segment.heads or firing.source != segment.stream:
        return None
    if outputs[0].timestamp != firing.timestamp:
        return None
    if firing.trigger_key:
        return firing
    key = key_of(firing.trigger_id)
    return firing.with_key(key) if key else None


def _trigger_column(firing: Firing) -> bytearray:
    """Return the lineage key of the trigger, and as JSON what the first output does not show."""
    first, column = firing.outputs[0], bytearray.fromhex(firing.trigger_key)
    more: dict[str, Any] = {}
    if first.cause != [firing.trigger_id]:
        more["trigger"] = firing.trigger_id
    if first.actor != firing.responder:
        more["responder"] = firing.responder
    if firing.observed is not None:
        more[OBSERVED] = firing.observed
    return column + encode(more) if more else column


def firing_of(row: Sequence[Any], segment: Segment, parts: Parts) -> tuple[Firing, int]:
    """Return the firing of its first row, without its outputs, and their number.

    Raises:
        StoreDamaged: the row cannot be decoded.
    """
    (event,) = events_of([row], segment, parts)
    return _firing_of(event, row[_FIRING], row[_TRIGGER_KEY], segment), row[_FIRING] >> 1


def _firing_of(first: RecordedEvent, mark: int, column: bytes, segment: Segment) -> Firing:
    if isinstance(column, bytes) and len(column) == _KEY_BYTES and first.cause:
        # Almost every firing.
        firing = Firing(
            first.position - 1,
            segment.heads,
            segment.stream,
            first.timestamp,
            first.actor,
            first.cause[0],
            column.hex(),
            (),
        )
        if mark & 1:
            firing.is_call = True
        return firing
    try:
        more = _decode(column[_KEY_BYTES:]) if len(column) > _KEY_BYTES else {}
        return Firing(
            first.position - 1,
            segment.heads,
            segment.stream,
            first.timestamp,
            _text(more, "responder", first.actor),
            _text(more, "trigger", first.cause[0] if first.cause else None),
            column[:_KEY_BYTES].hex(),
            [],
            is_call=bool(mark & 1),
            observed=more.get(OBSERVED),
        )
    except DAMAGED as error:
        msg = f"{segment.stream}: the firing at position {first.position} is damaged: {error}."
        raise StoreDamaged(msg, hint=RESTORE) from error


def _text(values: dict[str, Any], name: str, default: str | None) -> str:
    value = values.get(name, default)
    if not isinstance(value, str):
        msg = f"its {name} is lost"
        raise TypeError(msg)
    return value


def items_of(
    rows: Iterable[Sequence[Any]], segment: Segment, start: int, stop: int, parts: Parts
) -> Iterator[RecordedEvent | Firing]:
    """Yield the events of a segment from `start` up to `stop`, each whole firing as one item.

    Args:
        rows: all from `start` to `stop`, including that of `stop` if it exists.
        segment: contains the positions.
        start: not inside a firing.
        stop: may be inside one.
        parts: of the events of the file.

    Raises:
        StoreDamaged: a row is missing, cannot be decoded, or does not belong there.
    """
    position = start
    firing: Firing | None = None
    outputs: list[RecordedEvent] = []
    # Number of the outputs of `firing`, and the position after its ``responder.completed``.
    count = end = 0
    for event, mark, column in decoded(rows, segment, parts):
        at = event.position
        if firing is None:
            if mark > 0 and at == position + 1:
                firing, outputs = _firing_of(event, mark, column, segment), [event]
                firing.outputs = outputs
                count = mark >> 1
                end = at + count + 1
                if count == 1 and end <= stop:
                    # Most firings have one output.
                    yield firing
                    position, firing = end, None
                    continue
            elif at >= stop:
                break
            elif mark or at != position:
                begins = mark > 0 and at > position
                raise _misplaced(segment, position, at - 1 if begins else at)
            else:
                yield event
                position += 1
                continue
        elif at >= stop:
            break
        elif mark != -len(outputs) or at != position + 1 + len(outputs):
            yield from _part(firing, at)
            raise _misplaced(segment, position + 1 + len(outputs), at)
        else:
            outputs.append(event)
        if len(outputs) == count:
            if end > stop:
                break
            yield firing
            position, firing = end, None
    if firing is not None:
        # A branch may be forked in the middle of a firing.
        yield from _part(firing, stop)
        position = min(position + 1 + len(outputs), stop)
    if position < stop:
        raise _misplaced(segment, position, stop)


def _part(firing: Firing, stop: int) -> Iterator[RecordedEvent]:
    """Yield the events of a firing before a position; its ``responder.completed`` is not reached."""
    yield firing.lifecycle_event(firing.position, 0)
    yield from (event for event in firing.outputs if event.position < stop)


def _misplaced(segment: Segment, expected: int, at: int) -> StoreDamaged:
    if at > expected:
        lost = f"{at - expected} of its events {expected} to {at - 1}"
        msg = f"{segment.stream} lacks {lost}."
        return StoreDamaged(msg, position=expected, hint=RESTORE)
    msg = f"{segment.stream}: the event at position {at} is not part of the firing around it."
    return StoreDamaged(msg, position=at, hint=RESTORE)
