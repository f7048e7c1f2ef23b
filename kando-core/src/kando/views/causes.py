"""The view lineage-index: the positions of each event's causes, without ids and data."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Self

import msgspec

from kando.schema.events import RESPONDER_COMPLETED, RESPONDER_FIRED, KandoEvent
from kando.schema.firing import Firing

__all__ = ["LineageIndex"]

_BYTES = 4


class _Rare(msgspec.Struct):
    """The stored form of event types and of the causes that the arrays cannot express."""

    length: int
    types: list[str]
    others: list[tuple[int, tuple[int, ...] | None]]


_decode_rare = msgspec.json.Decoder(_Rare).decode


class LineageIndex:
    """The positions of the causes of a ledger's first events, by position."""

    def __init__(self) -> None:
        # Distance from an event to its only cause; 0 if its causes are in `_others`.
        self._back = array("I")
        self._kinds = array("I")
        self._types: dict[str, int] = {}
        # No cause or several causes; None if a cause is unknown and must be read from the ledger.
        self._others: dict[int, tuple[int, ...] | None] = {}

    @property
    def length(self) -> int:
        """The number of events that it covers."""
        return len(self._back)

    def extend(
        self, items: Iterable[KandoEvent | Firing], position_of: Callable[[str], int | None]
    ) -> None:
        """Add the next events of the ledger.

        Args:
            items: events and firings, in the order of the ledger.
            position_of: returns the position of an event by its id, or None if it is unknown.
        """
        # The cause of an event was mostly recorded in the same batch.
        near: dict[str, int] = {}
        for item in items:
            if not isinstance(item, Firing):
                self._add(item.type, item.id, item.cause, near, position_of)
                continue
            self._add(RESPONDER_FIRED, item.fired_id, [item.trigger_id], near, position_of)
            for event in item.outputs:
                self._add(event.type, event.id, event.cause, near, position_of)
            self._add(RESPONDER_COMPLETED, item.completed_id, [item.fired_id], near, position_of)

    def _add(
        self,
        type: str,
        id: str,
        cause: Sequence[str],
        near: dict[str, int],
        position_of: Callable[[str], int | None],
    ) -> None:
        position = len(self._back)
        kind = self._types.get(type)
        if kind is None:
            kind = self._types[type] = len(self._types)
        self._kinds.append(kind)
        distance = 0
        if len(cause) == 1:
            place = near.get(cause[0])
            if place is None:
                place = position_of(cause[0])
            distance = position - place if place is not None and place < position else 0
        if not distance:
            self._others[position] = _places(cause, position, near, position_of)
        self._back.append(distance)
        near[id] = position

    def causes_of(self, position: int) -> tuple[int, ...] | None:
        """Return the positions of an event's causes, or None if they must be read from the ledger."""
        distance = self._back[position]
        return (position - distance,) if distance else self._others[position]

    def causes(
        self, start: int, stop: int, excluding: Collection[str]
    ) -> Iterator[tuple[int, tuple[int, ...] | None]]:
        """Yield positions and what `causes_of` returns for them.

        Args:
            start: first position.
            stop: position after the last.
            excluding: types of events to leave out.
        """
        left_out = {self._types[type] for type in excluding if type in self._types}
        others, position = self._others, start
        for distance, kind in zip(self._back[start:stop], self._kinds[start:stop], strict=True):
            if kind not in left_out:
                yield position, (position - distance,) if distance else others[position]
            position += 1

    def state(self) -> bytes:
        """Return the encoded index."""
        rare = msgspec.json.encode(
            _Rare(self.length, list(self._types), list(self._others.items()))
        )
        return b"".join(
            (len(rare).to_bytes(_BYTES, "big"), rare, _bytes(self._back), _bytes(self._kinds))
        )

    @classmethod
    def from_state(cls, state: bytes) -> Self:
        """Decode an index that `state` encoded.

        Raises:
            ValueError: it is damaged.
        """
        split = _BYTES + int.from_bytes(state[:_BYTES], "big")
        rare = _decode_rare(state[_BYTES:split])
        middle = split + _BYTES * rare.length
        index = cls()
        index._back, index._kinds = _array(state[split:middle]), _array(state[middle:])
        index._types = {type: kind for kind, type in enumerate(rare.types)}
        index._others = dict(rare.others)
        lengths = {len(index._back), len(index._kinds), rare.length}
        if len(lengths) > 1 or max(index._kinds, default=-1) >= len(rare.types):
            msg = "its parts do not match"
            raise ValueError(msg)
        return index


def _places(
    cause: Sequence[str],
    position: int,
    near: dict[str, int],
    position_of: Callable[[str], int | None],
) -> tuple[int, ...] | None:
    places = []
    for id in cause:
        place = near.get(id)
        if place is None:
            place = position_of(id)
        if place is None or place >= position:
            return None
        places.append(place)
    return tuple(places)


def _bytes(numbers: array[int]) -> bytes:
    if sys.byteorder == "big":
        numbers = array("I", numbers)
        numbers.byteswap()
    return numbers.tobytes()


def _array(encoded: bytes) -> array[int]:
    numbers = array("I")
    numbers.frombytes(encoded)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
