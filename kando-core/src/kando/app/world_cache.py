"""A cache of worlds, so that the next page, query or position need not project the whole ledger."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import attrs

from kando.app.opened import OpenedRun, open_address
from kando.app.store import Store
from kando.ledger.interface import LedgerStore
from kando.world.graph import World
from kando.world.projection import change_of, commit

__all__ = ["WorldCache"]

#: Limit for the objects and relations of all cached worlds; the newest world is always kept.
_MAX_ITEMS = 200_000

#: A world is kept on the way to another one after this many events.
_STEP = 4_000


@attrs.frozen
class _Entry:
    stream: str
    position: int
    digest: bytes
    world: World


@attrs.define
class WorldCache:
    """Worlds of ledgers: those that were shown last, and some that were passed on the way to them.

    To go back in a long run, or to move in it by small steps, costs a few thousand events at most. A
    world is used only if the ledger still has the same digest at its position.
    """

    _entries: list[_Entry] = attrs.field(factory=list, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    @contextmanager
    def borrow(self, store: Store, run: str, at: int | None) -> Iterator[tuple[World, str, int]]:
        """Lend the world of a run, with the run's id and the position of the world.

        The borrower must not change it: others may have it at the same time.

        Args:
            store: the store of the run.
            run: ``RUN`` or ``RUN@N``.
            at: the same as N.

        Raises:
            LedgerNotFound, AmbiguousName: no run, or more than one, has this id.
            PositionOutOfRange: the run has fewer events.
        """
        opened, end = open_address(store.context, run, at)
        cached = self._latest(opened.ledger, end)
        if cached is not None and cached.position == end:
            world = cached.world
        else:
            world = self._project(opened, end, cached)
            self._put(opened.ledger, end, world)
        yield world, opened.id, end

    def _project(self, opened: OpenedRun, end: int, cached: _Entry | None) -> World:
        """Return the world at a position, projected from the latest one before it that is known."""
        start, world = (cached.position, _copy(cached.world)) if cached else (0, World())
        stored = opened.snapshot_at(end)
        if stored is not None and start < stored.position:
            restored = stored.world()
            if restored is not None:
                start, world = stored.position, restored
        for event in islice(opened.current.read(start), end - start):
            # Its objects share the data of the events, which nothing changes.
            commit(world, change_of(event, world))
            position = event.position + 1
            if (position - start) % _STEP == 0 and position < end:
                self._put(opened.ledger, position, _copy(world))
        return world

    def _latest(self, ledger: LedgerStore, end: int) -> _Entry | None:
        """Return the latest cached world of a ledger up to a position, if it is valid."""
        stream = ledger.stream_name()
        with self._lock:
            usable = [e for e in self._entries if e.stream == stream and e.position <= end]
            if not usable:
                return None
            latest = max(usable, key=lambda entry: entry.position)
            # Those that are used stay longest.
            self._entries.remove(latest)
            self._entries.append(latest)
        if ledger.digest(latest.position) == latest.digest:
            return latest
        with self._lock:
            self._entries = [each for each in self._entries if each is not latest]
        return None

    def _put(self, ledger: LedgerStore, position: int, world: World) -> None:
        new = _Entry(ledger.stream_name(), position, ledger.digest(position), world)
        with self._lock:
            self._entries = [
                e for e in self._entries if (e.stream, e.position) != (new.stream, position)
            ]
            self._entries.append(new)
            while len(self._entries) > 1 and sum(map(_size, self._entries)) > _MAX_ITEMS:
                del self._entries[0]


def _copy(world: World) -> World:
    """Return a world with the same objects and relations, which never change themselves."""
    copy = World()
    copy.objects.load(world.objects.values())
    for each in world.relations.values():
        copy.relations.put(each.id, each)
    copy.kit_settings, copy.tool_servers = world.kit_settings, world.tool_servers
    return copy


def _size(entry: _Entry) -> int:
    # An empty world takes memory, too.
    return len(entry.world.objects) + len(entry.world.relations) + 100
