"""A cache of recently shown worlds, so that the next page or query need not project the ledger."""

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

__all__ = ["WorldCache"]

#: Limit for the objects and relations of all cached worlds; the newest world is always kept.
_MAX_ITEMS = 200_000


@attrs.frozen
class _Entry:
    stream: str
    position: int
    digest: bytes
    world: World


@attrs.define
class WorldCache:
    """Worlds of ledgers, each at the position at which it was last shown.

    A world is used only if the ledger still has the same digest at its position.
    """

    _entries: list[_Entry] = attrs.field(factory=list, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    @contextmanager
    def borrow(self, store: Store, run: str, at: int | None) -> Iterator[tuple[World, str, int]]:
        """Lend the world of a run, with the run's id and the position of the world.

        No other thread uses the world until it is given back. The borrower must not change it.

        Args:
            store: the store of the run.
            run: ``RUN`` or ``RUN@N``.
            at: the same as N.

        Raises:
            LedgerNotFound, AmbiguousName: no run, or more than one, has this id.
            PositionOutOfRange: the run has fewer events.
        """
        opened, end = open_address(store.context, run, at)
        ledger = opened.ledger
        cached = self._take(ledger, end)
        if cached is None:
            world = world_at(opened, end)
        else:
            world = cached.world
            if cached.position < end:
                since = opened.current.read(cached.position)
                for event in islice(since, end - cached.position):
                    apply(world, event)
        yield world, opened.id, end
        self._put(_Entry(ledger.stream_name(), end, ledger.digest(end), world))

    def _take(self, ledger: LedgerStore, end: int) -> _Entry | None:
        """Remove and return the latest world of a ledger up to position `end`, if it is valid."""
        stream = ledger.stream_name()
        with self._lock:
            usable = [e for e in self._entries if e.stream == stream and e.position <= end]
            if not usable:
                return None
            latest = max(usable, key=lambda entry: entry.position)
            self._entries.remove(latest)
        return latest if ledger.digest(latest.position) == latest.digest else None

    def _put(self, new: _Entry) -> None:
        with self._lock:
            self._entries.append(new)
            while len(self._entries) > 1 and sum(map(_size, self._entries)) > _MAX_ITEMS:
                del self._entries[0]


def _size(entry: _Entry) -> int:
    return len(entry.world.objects) + len(entry.world.relations)
