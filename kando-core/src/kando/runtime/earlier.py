"""Look-ups of a recorder about the events before the snapshot that it was restored from."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping

from kando.ledger.interface import LedgerStore
from kando.views.object_ids import Checksums

__all__ = ["LOOKUPS", "Earlier"]

#: Names of the sections of a snapshot that hold the look-ups: the recursion depth of each event, the
#: checksums of all explicit ids, and the lineage keys of all events that no firing produced.
LOOKUPS = _DEPTHS, _IDS, _ROOTS = "recovery-depths", "recovery-ids", "recovery-roots"

_BYTES_OF_KEY = 16


class Earlier:
    """The first events of a ledger: what is kept of them is small, the rest is read when it is needed.

    Args:
        ledger: that has them.
        length: their number.
        lookups: the encoded look-ups, by the names in `LOOKUPS`; none for no events.

    Attributes:
        depths: the recursion depth of each of them.

    Raises:
        ValueError: a look-up is missing or does not match the length.
    """

    def __init__(
        self, ledger: LedgerStore, length: int = 0, lookups: Mapping[str, bytes] | None = None
    ) -> None:
        self._ledger = ledger
        self.length = length
        self.depths = array("I")
        self._ids = Checksums(array("I"))
        self._roots = b""
        if lookups is not None:
            self.depths.frombytes(lookups[_DEPTHS])
            if sys.byteorder == "big":
                self.depths.byteswap()
            self._ids = Checksums.from_state(lookups[_IDS])
            self._roots = lookups[_ROOTS]
        if len(self.depths) != length or len(self._roots) % _BYTES_OF_KEY:
            msg = "it has another length"
            raise ValueError(msg)

    def position_of(self, event_id: str) -> int | None:
        """Return the position of the earlier event with an id, or None."""
        if not self.length:
            return None
        number = event_id.rpartition("-")[2]
        # A default id ends with a number; the id of the head of a branch is explicit here.
        if not number.isdecimal() and not self._ids.may_hold(event_id):
            return None
        found = self._ledger.find(event_id)
        return found.position if found is not None and found.position < self.length else None

    def has_root(self, key: str) -> bool:
        """Whether an earlier event that no firing produced has a lineage key."""
        if not self._roots:
            return False
        wanted, roots = bytes.fromhex(key), self._roots
        count = len(roots) // _BYTES_OF_KEY
        at = bisect_left(range(count), wanted, key=lambda n: _key(roots, n))
        return at < count and _key(roots, at) == wanted

    def extended(
        self, depths: array[int], ids: Iterable[str], roots: Collection[str]
    ) -> dict[str, bytes]:
        """Return the encoded look-ups of these and the following events.

        Args:
            depths: of the following events.
            ids: explicit ids; earlier ones may be among them.
            roots: lineage keys of the following events that no firing produced.
        """
        whole = self.depths + depths
        if sys.byteorder == "big":
            whole.byteswap()
        known = (_key(self._roots, n) for n in range(len(self._roots) // _BYTES_OF_KEY))
        keys = sorted({*known, *map(bytes.fromhex, roots)})
        return {
            _DEPTHS: whole.tobytes(),
            _IDS: self._ids.including(ids).state(),
            _ROOTS: b"".join(keys),
        }


def _key(roots: bytes, number: int) -> bytes:
    return roots[number * _BYTES_OF_KEY : (number + 1) * _BYTES_OF_KEY]
