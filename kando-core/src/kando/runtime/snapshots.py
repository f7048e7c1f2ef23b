"""Snapshots of a run: its world, other views, and what recovery restores, kept as its ledger grows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from kando.cache.llm import LLMCache
from kando.cache.recorded import cached_while_read, restore_answer
from kando.errors import StoreError
from kando.ledger.interface import LedgerStore
from kando.runtime.approval_gate import NotRestorable
from kando.runtime.earlier import LOOKUPS
from kando.runtime.recovery import RecoveryState
from kando.schema.events import RecordedEvent
from kando.schema.firing import Firing
from kando.views.answered import AnsweredRequests, OpenRequests
from kando.views.status import StatusFold
from kando.views.stored import Views
from kando.world.graph import World
from kando.world.snapshot import (
    SnapshotStore,
    StoredSnapshot,
    note_rest,
    open_snapshot,
    save_snapshot,
)

if TYPE_CHECKING:
    from kando.runtime.loop import Loop

__all__ = ["RECOVERY", "Snapshots", "decode_state"]

#: How many events the views process together.
_AT_ONCE = 1000

#: Name of the section that holds what recovery restores, except for look-ups and world.
RECOVERY = "recovery"

#: Decodes that section.
decode_state = msgspec.json.Decoder(RecoveryState).decode


class Snapshots:
    """Keeps the snapshot of one ledger up to date, and recovers a loop from it.

    During a run, the snapshot is replaced only when the ledger has grown by half since the last one,
    so all snapshots together take a bounded share of the time of the run, however long it is.

    Args:
        ledger: of the run.
        store: stores the snapshot.
        interval: minimum number of events between two snapshots during a run.
        cache: of the run.
        cache_from: position of the first event whose answer goes into the cache.
    """

    def __init__(
        self,
        ledger: LedgerStore,
        store: SnapshotStore,
        interval: int,
        cache: LLMCache,
        cache_from: int,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._interval = interval
        self._least = store.least
        self._cache, self._cache_from = cache, cache_from
        self._loop: Loop | None = None
        self._views: Views | None = Views(self._position_of)
        # A snapshot that does not match its ledger is ignored and replaced.
        stored = open_snapshot(ledger, store) if ledger.length() >= self._least else None
        world = stored.world() if stored is not None else None
        is_whole = stored is not None and world is not None and self._views.restore(stored)
        # Until a loop is recovered.
        self._stored = stored if is_whole else None
        self._world = world
        # The views have observed the events before it.
        self._position = self._stored.position if self._stored is not None else 0
        # Position of the last snapshot, which the next one must exceed; 0 if it must be replaced.
        self._kept = self._position

    def _position_of(self, event_id: str) -> int | None:
        return self._loop.recorder.position_of(event_id) if self._loop is not None else None

    def recover(self, new_loop: Callable[[], Loop]) -> Loop:
        """Return a loop at the tail of the ledger.

        Its state is that of the snapshot and the events after it. Without a snapshot, or with one that
        does not match, the whole ledger is read.

        Args:
            new_loop: returns a loop that has observed no event.
        """
        loop, start = new_loop(), 0
        requests: OpenRequests[RecordedEvent] = OpenRequests()
        stored, world, self._stored, self._world = self._stored, self._world, None, None
        state = stored.view(RECOVERY, decode_state) if stored is not None else None
        if stored is not None and state is not None and world is not None and self._views:
            try:
                self._restore(loop, stored, state, world)
                requests = self._restore_cache(loop, self._views.answered, state)
                start = stored.position
            except NotRestorable:
                loop = new_loop()
            except (ValueError, TypeError, LookupError) as error:
                stored.ignore(f"its {RECOVERY} does not match ({type(error).__name__})")
                loop, self._kept = new_loop(), 0
        else:
            self._kept = 0
        self._loop = loop
        loop.committer.snapshots = self
        loop.recorder.on_saved = self.observe
        events = self._observe_restored(self._ledger.read_firings(start))
        loop.recover(cached_while_read(events, self._cache, self._cache_from, requests))
        return loop

    def _restore(
        self, loop: Loop, stored: StoredSnapshot, state: RecoveryState, world: World
    ) -> None:
        if state.recorder.length != stored.position:
            msg = "it has another position"
            raise ValueError(msg)
        lookups = {name: stored.view(name, bytes) for name in LOOKUPS}
        loop.restore(
            state, world, {name: each for name, each in lookups.items() if each is not None}
        )

    def _restore_cache(
        self, loop: Loop, answered: AnsweredRequests, state: RecoveryState
    ) -> OpenRequests[RecordedEvent]:
        """Put the answers into the cache that it may lack, and return the open requests."""
        at, cache = loop.recorder.at_recorded, self._cache
        has_all = state.cached_from is not None and state.cached_from <= self._cache_from
        # A process may die after it has recorded an answer and before it caches it.
        count = 1 if has_all and cache.is_durable else cache.max_entries
        for request, answer, model in answered.last(count):
            if answer >= self._cache_from:
                restore_answer(cache, at(request), at(answer), model)
        values = {id: at(position) for id, position in answered.open.values.items()}
        return OpenRequests(values, answered.open.choices)

    @property
    def status(self) -> StatusFold | None:
        """The fold of the run's status; None if the views cannot process its events."""
        return self._views.status if self._views is not None else None

    def _observe_restored(
        self, items: Iterable[RecordedEvent | Firing]
    ) -> Iterator[RecordedEvent | Firing]:
        """Pass on the items of the ledger, and show the views the events that they have not seen."""
        new: list[RecordedEvent | Firing] = []
        for item in items:
            # The positions of the earlier events are known: their items are restored.
            if len(new) >= _AT_ONCE:
                self.observe(new)
                new = []
            if item.position >= self._position:
                new.append(item)
            elif isinstance(item, Firing):
                # The snapshot may have been taken within it.
                new += [each for each in item.events() if each.position >= self._position]
            yield item
        self.observe(new)

    def observe(self, items: Sequence[RecordedEvent | Firing]) -> None:
        """Show recorded events to the views."""
        if self._views is None:
            return
        try:
            self._views.observe(items)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            # Views must not stop the run: events written by hand may lack fields that they count.
            problem = f"{type(error).__name__}: {error}"
            self._warn(f"they cannot process one of its events ({problem})", "views", "are")
            self._views = None

    def update(self, world: World, position: int) -> None:
        """Store a snapshot of the world of the first `position` events, if it is time for one."""
        if position - self._kept >= max(self._interval, self._kept // 2):
            self._keep(world, position)

    def finish(
        self, world: World, position: int, resting_kit: Mapping[str, Any] | None = None
    ) -> None:
        """Store the snapshot at the end of a run.

        Args:
            world: of the first `position` events, which are saved.
            position: the length of the ledger.
            resting_kit: name, version and distribution of the kit, if the run is idle with it; None
                if work may be pending.
        """
        if position - self._kept >= self._least:
            self._keep(world, position, resting_kit)
        elif resting_kit is not None:
            self._note_rest(resting_kit)

    def _keep(
        self, world: World, position: int, resting_kit: Mapping[str, Any] | None = None
    ) -> None:
        try:
            views = self._views.states(world) if self._views is not None else {}
            views |= self._recovery()
            save_snapshot(
                world, self._ledger, self._store, position, views=views, resting_kit=resting_kit
            )
        except (OSError, StoreError) as error:
            # Nothing is lost but time: the next reader projects the ledger.
            self._warn(str(error))
        self._kept = position

    def _recovery(self) -> dict[str, bytes]:
        """Return the encoded sections from which `recover` restores a loop."""
        if self._loop is None:
            return {}
        cached_from = self._cache_from if self._cache.is_durable else None
        state = msgspec.structs.replace(self._loop.state(), cached_from=cached_from)
        return {RECOVERY: msgspec.json.encode(state), **self._loop.recorder.lookups()}

    def _note_rest(self, kit: Mapping[str, Any]) -> None:
        """Note in the stored snapshot that the run is idle with this kit."""
        try:
            note_rest(self._ledger, self._store, kit)
        except (OSError, StoreError) as error:
            self._warn(str(error))

    def _warn(self, problem: str, what: str = "snapshot", verb: str = "is") -> None:
        msg = f"The {what} of {self._ledger.stream_name()} {verb} not stored: {problem}."
        warnings.warn(msg, stacklevel=3)
