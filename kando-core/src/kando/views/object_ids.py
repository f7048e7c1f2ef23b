"""The view object-ids: rules out that a world has an object, without loading its objects."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from typing import Self
from zlib import crc32

from kando.world.graph import World

__all__ = ["Checksums", "ObjectIds"]


class Checksums:
    """Checksums of ids, to rule out that an id is among them.

    Args:
        sums: checksums, ascending.
    """

    def __init__(self, sums: array[int]) -> None:
        self._sums = sums

    def including(self, ids: Iterable[str]) -> Self:
        """Return the checksums of these and more ids, which may be among these."""
        return type(self)(array("I", sorted({*self._sums, *map(_sum, ids)})))

    def may_hold(self, id: str) -> bool:
        """Whether an id may be among them; rarely a false positive."""
        wanted = _sum(id)
        at = bisect_left(self._sums, wanted)
        return at < len(self._sums) and self._sums[at] == wanted

    def state(self) -> bytes:
        """Return the encoded view."""
        return _little_endian(self._sums).tobytes()

    @classmethod
    def from_state(cls, state: bytes) -> Self:
        """Decode a view that `state` encoded.

        Raises:
            ValueError: it is damaged.
        """
        sums = array("I")
        sums.frombytes(state)
        return cls(_little_endian(sums))


class ObjectIds(Checksums):
    """Checksums of the ids of all objects of a world.

    Objects are never deleted, so an object that does not exist now did not exist earlier.
    """

    @classmethod
    def of(cls, world: World) -> ObjectIds:
        """Return the checksums for a world."""
        return cls(array("I", sorted(map(_sum, world.objects))))


def _sum(id: str) -> int:
    return crc32(id.encode("utf-8", "surrogatepass"))


def _little_endian(sums: array[int]) -> array[int]:
    if sys.byteorder == "big":
        sums = array("I", sums)
        sums.byteswap()
    return sums
