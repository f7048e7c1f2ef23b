"""The view object-ids: rules out that a world has an object, without loading its objects."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from zlib import crc32

from kando.world.graph import World

__all__ = ["ObjectIds"]


class ObjectIds:
    """Checksums of the ids of all objects of a world.

    Objects are never deleted, so an object that does not exist now did not exist earlier.

    Args:
        sums: checksums, ascending.
    """

    def __init__(self, sums: array[int]) -> None:
        self._sums = sums

    @classmethod
    def of(cls, world: World) -> ObjectIds:
        """Return the checksums for a world."""
        return cls(array("I", sorted(map(_sum, world.objects))))

    def may_hold(self, id: str) -> bool:
        """Whether the world may have an object with this id; rarely a false positive."""
        wanted = _sum(id)
        at = bisect_left(self._sums, wanted)
        return at < len(self._sums) and self._sums[at] == wanted

    def state(self) -> bytes:
        """Return the encoded view."""
        return _little_endian(self._sums).tobytes()

    @classmethod
    def from_state(cls, state: bytes) -> ObjectIds:
        """Decode a view that `state` encoded.

        Raises:
            ValueError: it is damaged.
        """
        sums = array("I")
        sums.frombytes(state)
        return cls(_little_endian(sums))


def _sum(id: str) -> int:
    return crc32(id.encode("utf-8", "surrogatepass"))


def _little_endian(sums: array[int]) -> array[int]:
    if sys.byteorder == "big":
        sums = array("I", sums)
        sums.byteswap()
    return sums
