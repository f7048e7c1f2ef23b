"""The recorder: checks, identifies, applies and counts a batch of events in one step, or refuses it."""

# long: each way to record or restore an event, next to the look-ups that it updates.

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from kando.ledger.interface import LedgerStore
from kando.responders.base import Responder
from kando.responders.budget import BudgetEnforcer
from kando.runtime.cursor import TRACKED
from kando.runtime.declared_types import DeclaredTypes
from kando.runtime.earlier import Earlier
from kando.schema.events import (
    BOOKKEEPING,
    BUDGET_EXHAUSTED,
    RESPONDER_COMPLETED,
    RESPONDER_FAILED,
    RESPONDER_FIRED,
    RecordedEvent,
)
from kando.schema.exact_json import encode
from kando.schema.firing import Firing
from kando.schema.identity import (
    default_event_id,
    number_of_default_id,
    position_of_number,
    root_key,
)
from kando.schema.parts import Chains, Split, split
from kando.world.graph import World
from kando.world.projection import Change, change_of, commit

__all__ = ["Entry", "Recorder", "RecorderState"]

#: An event that has passed every check: the complete event, its change of the world, its recursion
#: depth, and whether it has the default id.
Entry = tuple[RecordedEvent, Change, int, bool]


# Events that the runtime records about another event, without a firing.
_ALONE = frozenset({BUDGET_EXHAUSTED, RESPONDER_FAILED})


class RecorderState(msgspec.Struct, frozen=True):
    """The state of a recorder, except for its world, its account and what `Recorder.lookups` returns.

    Attributes:
        length: number of events.
        last_type: type of the last of them, or None.
        heads: positions of the heads of branches.
        future_ids: explicit ids that are the default ids of later positions.
    """

    length: int
    last_type: str | None
    heads: list[int]
    future_ids: dict[str, int]


class Recorder:
    """The tail of one ledger: its world, its account, and the recorded events not yet saved.

    Args:
        ledger: `save` appends to it.
        types: the declared types.
        account: charged for every event.
        max_payload_bytes: limit of one event's encoded data.
        clock: returns the time of recording.
    """

    def __init__(
        self,
        ledger: LedgerStore,
        types: DeclaredTypes,
        account: BudgetEnforcer,
        *,
        max_payload_bytes: int,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.ledger = ledger
        self.source = ledger.stream_name()
        self.types = types
        self.account = account
        self.max_payload_bytes = max_payload_bytes
        self.clock = clock
        # The lists of messages that were recorded last.
        self._chains = Chains()
        self.world = World()
        self.length = 0
        self.last_type: str | None = None
        # Called with each event of the types in `observed_types`, and the world after it.
        self.on_recorded: Callable[[RecordedEvent, World], None] = lambda event, world: None
        self.observed_types: frozenset[str] = frozenset()
        # In a strict replay: the event that the ledger holds at a position.
        self.recorded_at: Callable[[int], RecordedEvent | None] | None = None
        # Called before each append; raises if this process must not append.
        self.before_save: Callable[[], None] = lambda: None
        # Called with the events and firings that were saved.
        self.on_saved: Callable[[Sequence[RecordedEvent | Firing]], None] | None = None
        self._saved = 0
        self._unsaved: list[RecordedEvent | Firing] = []
        # The events before the state that was restored, if any.
        self._earlier = Earlier(ledger)
        # From there on: the recursion depth of each event, and its type if it has a default id.
        self._depths = array("I")
        self._types: list[str | None] = []
        # Positions of the events with other ids. Of the earlier events, it holds only those with an
        # id that a later one would have by default.
        self.explicit_ids: dict[str, int] = {}
        self._last_lookup: tuple[str, int | None] = ("", None)
        # Number and positions of the heads of branches, which default ids do not count.
        self.heads = 0
        self._heads: list[int] = []
        self._root_keys: set[str] = set()
        self._root_counts: dict[str, int] = {}

    def find(self, event_id: str) -> RecordedEvent | None:
        """Return the recorded event with an id, saved or not, or None."""
        position = self.position_of(event_id)
        if position is None:
            return None
        return self._at(position)

    def _at(self, position: int) -> RecordedEvent | None:
        for item in reversed(self._unsaved):
            if item.position <= position:
                return item.events()[position - item.position] if isinstance(item, Firing) else item
        return self.ledger.at(position)

    def at_recorded(self, position: int) -> RecordedEvent:
        """Return the event at a position.

        Raises:
            ValueError: the position is outside the ledger.
        """
        event = self._at(position) if 0 <= position < self.length else None
        if event is None:
            msg = f"there is no event at position {position}"
            raise ValueError(msg)
        return event

    def position_of(self, event_id: str) -> int | None:
        """Return the position of a recorded event, or None."""
        # Most lookups repeat the last one, for the trigger of a firing.
        if event_id == self._last_lookup[0]:
            return self._last_lookup[1]
        position = self.explicit_ids.get(event_id)
        if position is None:
            position = self._position_by_default(event_id)
        if position is None:
            position = self._earlier.position_of(event_id)
        if position is not None:
            self._last_lookup = (event_id, position)
        return position

    def _position_by_default(self, event_id: str) -> int | None:
        """Return the position of an event with a default id that is not earlier, or None."""
        number = number_of_default_id(event_id)
        if number is None:
            return None
        position, first = position_of_number(number, self._heads), self._earlier.length
        if not first <= position < self.length:
            return None
        type = self._types[position - first]
        return position if type and event_id == default_event_id(type, number) else None

    @property
    def restored_length(self) -> int:
        """Number of the first events whose state was restored without reading them; 0 for none."""
        return self._earlier.length

    @property
    def number(self) -> int:
        """The number of events, not counting the heads of branches (see `default_event_id`)."""
        return self.length - self.heads

    def is_handled(self, responder: Responder, event: RecordedEvent) -> bool:
        """Whether a responder handles a recorded event, in the world at the time of the event."""
        if not self.world.objects.former_types:
            return responder.handles(event, self.world)

        def is_later(event_id: str) -> bool:
            position = self.position_of(event_id)
            return position is not None and position > event.position

        return responder.handles(event, self.world, is_later)

    def encoded(self, data: Any) -> tuple[Any, bytes, Split | None]:
        """Return checked data, what the ledger stores of it, and its parts (see `split`).

        Raises:
            InvalidData: a value in it has no exact JSON form; the message names its path.
        """
        whole, encoded, parts = split(data, self._chains)
        if parts is not None and not self.ledger.keeps_blobs:
            encoded = encode(whole)
        return whole, encoded, parts

    def completed(self, type: str, data: dict[str, Any], position: int) -> dict[str, Any]:
        """Return the data of a new event with the defaults of its declared class.

        A strict replay leaves them out if the ledger was recorded before they were filled in.
        """
        recorded = self.recorded_at(position) if self.recorded_at is not None else None
        if recorded is not None and recorded.type == type and recorded.data == data:
            return data
        return self.types.completed(type, data)

    def has_default_id(self, event: RecordedEvent) -> bool:
        """Whether an event that is not yet recorded has the default id of its position."""
        return event.id == default_event_id(event.type, event.position, self.heads)

    def depth_of(self, position: int) -> int:
        """Return the recursion depth of the event at a position."""
        index = position - self._earlier.length
        return self._depths[index] if index >= 0 else self._earlier.depths[position]

    def free_root_key(self, type: str, identity: bytes, reserved: dict[str, int]) -> str:
        """Return the lineage key of a root; equal roots are distinguished by counting them.

        Args:
            type: of the root.
            identity: see `kando.schema.identity.root_key`.
            reserved: number of equal roots, by the key of the first; updated.
        """
        first = key = root_key(type, identity, 0)
        occurrence = reserved.get(first, self._root_counts.get(first, 0))
        if occurrence:
            key = root_key(type, identity, occurrence)
        while key in self._root_keys or self._earlier.has_root(key):
            occurrence += 1
            key = root_key(type, identity, occurrence)
        reserved[first] = occurrence + 1
        return key

    def record(
        self,
        batch: Sequence[Entry],
        roots: Mapping[str, int] | None = None,
        *,
        is_external: bool,
    ) -> list[RecordedEvent]:
        """Record checked entries: apply and count them, and keep them for `save`.

        Args:
            batch: as `check` returned them.
            roots: the keys that `free_root_key` reserved for them.
            is_external: whether they are external events, which no firing produced.
        """
        events = self._apply(batch, is_external=is_external)
        if roots:
            self._root_counts.update(roots)
        self._unsaved += events
        return events

    def record_firing(
        self,
        firing: Firing,
        entries: Sequence[Entry],
        of_trigger: int,
        greatest: int,
        tracked: Sequence[RecordedEvent] | None = None,
    ) -> None:
        """Record a whole firing, as `record` records the events of a part of one.

        Args:
            firing: its outputs are those of the entries.
            entries: checked.
            of_trigger: recursion depth of the event that it handles.
            greatest: recursion depth among the events.
            tracked: those of its outputs that may be charged; found if None.
        """
        world, observed, types, depths = self.world, self.observed_types, self._types, self._depths
        types.append(RESPONDER_FIRED)
        depths.append(of_trigger)
        for event, change, depth, has_default_id in entries:
            kind = event.type
            if change is not None:
                commit(world, change)
            if has_default_id:
                types.append(kind)
            else:
                types.append(None)
                self.explicit_ids[event.id] = event.position
            depths.append(depth)
            if kind in observed:
                self.length = event.position + 1
                self.on_recorded(event, world)
        types.append(RESPONDER_COMPLETED)
        depths.append(of_trigger)
        self.length = firing.position + len(entries) + 2
        self.account.count_firing(firing, greatest, tracked)
        self.last_type = RESPONDER_COMPLETED
        self._unsaved.append(firing)

    def _apply(self, batch: Sequence[Entry], *, is_external: bool) -> list[RecordedEvent]:
        """Apply entries, just recorded or restored, to world, account and indexes."""
        world, observed, types, depths = self.world, self.observed_types, self._types, self._depths
        events: list[RecordedEvent] = []
        for event, change, depth, has_default_id in batch:
            if change is not None:
                commit(world, change)
            is_head = is_external and self._apply_external(event)
            if has_default_id and not is_head:
                types.append(event.type)
            else:
                types.append(None)
                self.explicit_ids[event.id] = event.position
            depths.append(depth)
            self.account.count(event, depth)
            events.append(event)
            self.length += 1
            if event.type in observed:
                self.on_recorded(event, world)
        if events:
            if not is_external and events[0].type in _ALONE:
                # As on recovery, which cannot distinguish it from an external event.
                self._root_keys.add(events[0].lineage_key)
            self.last_type = events[-1].type
        return events

    def _apply_external(self, event: RecordedEvent) -> bool:
        """Apply an external event to the roots; return whether it is a branch's head."""
        self._root_keys.add(event.lineage_key)
        if event.is_head:
            self.heads += 1
            self._heads.append(event.position)
            return True
        return False

    def state(self) -> RecorderState:
        """Return the state after the events so far."""
        future = {}
        for id, position in self.explicit_ids.items():
            number = number_of_default_id(id)
            if number is not None and number >= self.number:
                future[id] = position
        return RecorderState(self.length, self.last_type, [*self._heads], future)

    def lookups(self) -> dict[str, bytes]:
        """Return what is looked up of the events so far; see `Earlier`."""
        return self._earlier.extended(self._depths, self.explicit_ids, self._root_keys)

    def restore_state(
        self, state: RecorderState, world: World, lookups: Mapping[str, bytes]
    ) -> None:
        """Restore what `state` returned.

        Args:
            state: of another recorder of the ledger.
            world: of the same events.
            lookups: what `lookups` returned.

        Raises:
            ValueError: they do not match.
        """
        self._earlier = Earlier(self.ledger, state.length, lookups)
        self.length = self._saved = state.length
        self.last_type = state.last_type
        self._heads, self.heads = [*state.heads], len(state.heads)
        self.explicit_ids = dict(state.future_ids)
        world.context = self.world.context
        self.world = world

    def restore(self, event: RecordedEvent, *, is_external: bool) -> None:
        """Apply an event that the ledger holds.

        Raises:
            RefusedEvent: it cannot be applied to the world before it.
        """
        depth = self._depth_of_restored(event)
        entry = (event, change_of(event, self.world), depth, self.has_default_id(event))
        self._apply([entry], is_external=is_external)
        self._saved += 1

    def _depth_of_restored(self, event: RecordedEvent) -> int:
        depths = [
            self.depth_of(position)
            for cause in event.cause
            if (position := self.position_of(cause)) is not None
        ]
        depth = max(depths, default=-1)
        return max(depth, 0) if event.type in BOOKKEEPING else depth + 1

    def restore_firing(self, trigger: RecordedEvent, firing: Firing) -> Sequence[RecordedEvent]:
        """Apply a firing that the ledger holds: the same as `restore` for its events, but faster.

        Args:
            trigger: the event it handles.
            firing: of the ledger.

        Returns:
            Those of its outputs whose types are `kando.runtime.cursor.TRACKED`.

        Raises:
            RefusedEvent: an event cannot be applied to the world before it.
        """
        world, types, depths = self.world, self._types, self._depths
        caused, heads, observed = [trigger.id], self.heads, self.observed_types
        position, outputs = firing.position, firing.outputs
        tracked: list[RecordedEvent] = []
        of_trigger = greatest = self.depth_of(trigger.position)
        types.append(RESPONDER_FIRED)
        depths.append(of_trigger)
        for event in outputs:
            position += 1
            kind, depth = event.type, of_trigger
            if kind not in BOOKKEEPING:
                if event.cause == caused:
                    depth += 1
                else:
                    # Earlier outputs of the firing may be among its causes.
                    self.length = position
                    depth = self._depth_of_restored(event)
                if (change := change_of(event, world)) is not None:
                    commit(world, change)
            if event.id == f"{kind}-{position - heads}":
                types.append(kind)
            else:
                types.append(None)
                self.explicit_ids[event.id] = position
            depths.append(depth)
            if depth > greatest:
                greatest = depth
            if kind in TRACKED:
                tracked.append(event)
            if kind in observed:
                self.length = position + 1
                self.on_recorded(event, world)
        types.append(RESPONDER_COMPLETED)
        depths.append(of_trigger)
        self.length = position + 2
        self.account.count_firing(firing, greatest, tracked)
        self.last_type = RESPONDER_COMPLETED
        self._saved += len(outputs) + 2
        return tracked

    @property
    def has_unsaved(self) -> bool:
        """Whether an event is recorded that the ledger does not have yet."""
        return bool(self._unsaved)

    def save(self) -> None:
        """Append the recorded events to the ledger, as one step.

        Raises:
            ConcurrencyError: another writer appended; nothing was written.
        """
        if self._unsaved:
            self.before_save()
            items, self._unsaved = self._unsaved, []
            # After a failed append it is unknown whether it was written; the ledger is read again.
            self._saved = self.ledger.append_firings(items, expected_length=self._saved)
            if self.on_saved is not None:
                self.on_saved(items)
