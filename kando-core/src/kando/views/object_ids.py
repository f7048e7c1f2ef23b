"""The view object-ids: which objects a world surely does not have, told without its objects."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from zlib import crc32

from kando.world.graph import World

__all__ = ["ObjectIds"]


class ObjectIds:
    """Checksums of the ids of all objects of a world.

    An object once created is there for good, so what is not there now was not there before.

    Args:
        sums: ascending.
    """

    def __init__(self, sums: array[int]) -> None:
        self._sums = sums

    @classmethod
    def of(cls, world: World) -> ObjectIds:
        """Return those of a world."""
        return cls(array("I", sorted(map(_sum, world.objects))))

    def may_hold(self, id: str) -> bool:
        """Whether the world has an object with this id, or by a rare chance another one like it."""
        wanted = _sum(id)
        at = bisect_left(self._sums, wanted)
        return at < len(self._sums) and self._sums[at] == wanted

    def state(self) -> bytes:
        """Return the view as it is stored."""
        return _little_endian(self._sums).tobytes()

    @classmethod
    def from_state(cls, state: bytes) -> ObjectIds:
        """Return the view that `state` returned.

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
