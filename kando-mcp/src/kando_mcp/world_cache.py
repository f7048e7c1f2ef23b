"""The worlds that were shown last, so that the next page or question projects no ledger again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import attrs

from kando.app.inspect import world_at
from kando.app.opened import open_address
from kando.app.store import Store
from kando.ledger.interface import LedgerStore
from kando.world.graph import World
from kando.world.projection import apply

__all__ = ["KeptWorlds"]

#: Objects and relations of all kept worlds together; the newest world is kept however large.
_MAX_ITEMS = 200_000


@attrs.frozen
class _Kept:
    stream: str
    position: int
    digest: bytes
    world: World


@attrs.define
class KeptWorlds:
    """Worlds at the positions of ledgers at which they were shown last.

    They are worth nothing but time: one is used only if the ledger has the same digest there.
    """

    _kept: list[_Kept] = attrs.field(factory=list, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    @contextmanager
    def showing(self, app: Store, run: str, at: int | None) -> Iterator[tuple[World, str, int]]:
        """Lend the world of a run, with the run's id and the number of events it is made of.

        It belongs to the borrower for as long as it is shown, and must not be changed.

        Args:
            app: where.
            run: ``RUN`` or ``RUN@N``.
            at: the same as N.

        Raises:
            LedgerNotFound, AmbiguousName: there is no such run.
            PositionOutOfRange: it is shorter.
        """
        opened, end = open_address(app.context, run, at)
        ledger = opened.ledger
        kept = self._take(ledger, end)
        if kept is None:
            world = world_at(opened, end)
        else:
            world = kept.world
            if kept.position < end:
                since = opened.current.read(kept.position)
                for event in islice(since, end - kept.position):
                    apply(world, event)
        yield world, opened.id, end
        self._put(_Kept(ledger.stream_name(), end, ledger.digest(end), world))

    def _take(self, ledger: LedgerStore, end: int) -> _Kept | None:
        """Return the latest world of a ledger up to `end`, which nobody else has then."""
        stream = ledger.stream_name()
        with self._lock:
            usable = [kept for kept in self._kept if kept.stream == stream and kept.position <= end]
            if not usable:
                return None
            latest = max(usable, key=lambda kept: kept.position)
            self._kept.remove(latest)
        return latest if ledger.digest(latest.position) == latest.digest else None

    def _put(self, new: _Kept) -> None:
        with self._lock:
            self._kept.append(new)
            while len(self._kept) > 1 and sum(map(_size, self._kept)) > _MAX_ITEMS:
                del self._kept[0]


def _size(kept: _Kept) -> int:
    return len(kept.world.objects) + len(kept.world.relations)
