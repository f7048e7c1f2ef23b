"""Recording: a batch of events is checked, identified, applied and counted in one step, or refused."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from kando.errors import DuplicateEvent, PayloadTooLarge, UnknownReference
from kando.ledger.interface import LedgerStore
from kando.responders.base import BOOKKEEPING
from kando.responders.budget import BudgetEnforcer
from kando.runtime.declared_types import DeclaredTypes
from kando.schema.events import RecordedEvent
from kando.schema.identity import (
    default_event_id,
    number_of_default_id,
    position_of_number,
    root_key,
)
from kando.world.graph import World
from kando.world.projection import Change, change_of, commit
from kando.world.staged import StagedWorld

__all__ = ["Entry", "Recorder"]


#: An event that has passed every check, and what recording it means: the event, identified and
#: complete; what it does to the world; its recursion depth; whether its id is the default one.
Entry = tuple[RecordedEvent, Change, int, bool]


class Recorder:
    """The tail of one ledger: its world, its account, and what is recorded but not yet saved.

    Args:
        ledger: events are appended to it by `save`.
        types: what declared types allow.
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
        self.world = World()
        self.length = 0
        self.last_type: str | None = None
        # Shown each event, in the world as it is behind it.
        self.watch: Callable[[RecordedEvent, World], None] | None = None
        # Shown what is saved.
        self.saved: Callable[[Sequence[RecordedEvent]], None] | None = None
        self._saved = 0
        self._unsaved: list[RecordedEvent] = []
        self._depths = array("q")
        # By position: the type of an event with a default id, else None.
        self._types: list[str | None] = []
        # Positions of the other events, by id.
        self.explicit_ids: dict[str, int] = {}
        self._asked: tuple[str, int | None] = ("", None)
        # How many heads of branches there are, and their positions: they are not numbered.
        self.heads = 0
        self._heads: list[int] = []
        self._root_keys: set[str] = set()
        self._root_counts: dict[str, int] = {}

    def position_of(self, event_id: str) -> int | None:
        """Return the position of a recorded event, or None."""
        # What is asked for is mostly what was asked for last: the trigger of a firing.
        if event_id == self._asked[0]:
            return self._asked[1]
        position = self.explicit_ids.get(event_id)
        if position is None:
            number = number_of_default_id(event_id)
            if number is None:
                return None
            position = position_of_number(number, self._heads)
            if position >= self.length:
                return None
            type = self._types[position]
            if not type or event_id != default_event_id(type, number):
                return None
        self._asked = (event_id, position)
        return position

    @property
    def number(self) -> int:
        """How many events there are, not counting the heads of branches (see `default_id`)."""
        return self.length - self.heads

    def has_default_id(self, event: RecordedEvent) -> bool:
        """Whether the id of an event to be recorded next, or after others, is the default one."""
        return event.id == default_event_id(event.type, event.position, self.heads)

    def depth_of(self, position: int) -> int:
        """Return the recursion depth of the event at a position."""
        return self._depths[position]

    def free_root_key(self, type: str, identity: bytes, reserved: dict[str, int]) -> str:
        """Return the lineage key of a root; equal roots are told apart by counting them.

        Args:
            type: of the root.
            identity: see `kando.schema.identity.root_key`.
            reserved: how many equal roots are known by the key of their first; brought up to date.
        """
        first = key = root_key(type, identity, 0)
        occurrence = reserved.get(first, self._root_counts.get(first, 0))
        if occurrence:
            key = root_key(type, identity, occurrence)
        while key in self._root_keys:
            occurrence += 1
            key = root_key(type, identity, occurrence)
        reserved[first] = occurrence + 1
        return key

    def check(
        self,
        event: RecordedEvent,
        staged: StagedWorld,
        batch: Mapping[str, Entry],
        trigger: RecordedEvent | None = None,
        trigger_depth: int = 0,
        *,
        has_default_id: bool,
    ) -> Entry:
        """Return what recording `event` after `batch` means, changing nothing.

        Args:
            event: identified, at position ``length + len(batch)``.
            staged: the world after `batch`.
            batch: entries to be recorded before it, in the same step, by event id.
            trigger: the event whose firing produced it; None if no firing did.
            trigger_depth: recursion depth of the trigger.
            has_default_id: whether its id is the default one.

        Raises:
            RefusedEvent: it must not be recorded.
        """
        if len(event.encoded) > self.max_payload_bytes:
            msg = (
                f"{event.id} by {event.actor}: its data takes {len(event.encoded):,} bytes; the "
                f"limit is {self.max_payload_bytes:,}."
            )
            raise PayloadTooLarge(
                msg, hint="Split it, or put it into a file and record path and hash."
            )
        id = event.id
        # The default id of its position only an author can have given to another event.
        taken = self.explicit_ids.get(id) if has_default_id else self.position_of(id)
        if taken is not None or id in batch:
            raise self.duplicate(id, batch)
        if trigger is not None and event.cause == [trigger.id] and event.type not in BOOKKEEPING:
            depth = trigger_depth + 1
        else:
            depth = self._depth_after(event, batch)
        change = change_of(event, staged)
        if change is not None:
            self.types.check(event, change, staged)
        return event, change, depth, has_default_id

    def duplicate(self, id: str, batch: Mapping[str, Entry]) -> DuplicateEvent:
        """Return the error for an event whose id another one has, in the ledger or in `batch`."""
        position = batch[id][0].position if id in batch else self.position_of(id)
        msg = f"{self.source} has an event {id!r} already, at position {position}."
        return DuplicateEvent(msg, hint="Give the event another id, or none.")

    def _depth_after(self, event: RecordedEvent, batch: Mapping[str, Entry]) -> int:
        depth = -1
        for cause in event.cause:
            position = self.position_of(cause)
            if position is not None:
                depth = max(depth, self._depths[position])
            elif cause in batch:
                _, _, of_cause, _ = batch[cause]
                depth = max(depth, of_cause)
            else:
                msg = f"{event.id} by {event.actor} names cause {cause!r}: no such event."
                raise UnknownReference(msg, hint=f"Use ids of events of {self.source}.")
        return max(depth, 0) if event.type in BOOKKEEPING else depth + 1

    def record(
        self,
        batch: Sequence[Entry],
        roots: Mapping[str, int] | None = None,
        *,
        is_outside: bool,
    ) -> list[RecordedEvent]:
        """Record checked entries: apply, count, and keep them for `save`.

        Args:
            batch: as `check` returned them.
            roots: what `free_root_key` reserved for them.
            is_outside: whether no firing produced them.
        """
        events = self._take(batch, is_outside=is_outside)
        if roots:
            self._root_counts.update(roots)
        self._unsaved += events
        return events

    def _take(self, batch: Sequence[Entry], *, is_outside: bool) -> list[RecordedEvent]:
        """Take entries, just recorded or read back, into world, account and indexes."""
        world, watch, types, depths = self.world, self.watch, self._types, self._depths
        events: list[RecordedEvent] = []
        greatest = 0
        for event, change, depth, has_default_id in batch:
            if change is not None:
                commit(world, change)
            is_head = is_outside and self._take_outside(event, depth)
            if has_default_id and not is_head:
                types.append(event.type)
            else:
                types.append(None)
                self.explicit_ids[event.id] = event.position
            depths.append(depth)
            if depth > greatest:
                greatest = depth
            events.append(event)
            self.length += 1
            if watch is not None:
                watch(event, world)
        if not is_outside:
            self.account.count_firing(events, greatest)
        if events:
            self.last_type = events[-1].type
        return events

    def _take_outside(self, event: RecordedEvent, depth: int) -> bool:
        """Take an event that no firing produced into account and roots; return if it is a head."""
        self.account.count(event, depth)
        self._root_keys.add(event.lineage_key)
        if event.is_head:
            self.heads += 1
            self._heads.append(event.position)
            return True
        return False

    def take_saved(self, event: RecordedEvent, *, is_outside: bool) -> None:
        """Take an event that the ledger holds.

        Raises:
            RefusedEvent: it cannot be applied to the world before it.
        """
        depth = self._depth_of_saved(event)
        entry = (event, change_of(event, self.world), depth, self.has_default_id(event))
        self._take([entry], is_outside=is_outside)
        self._saved += 1

    def _depth_of_saved(self, event: RecordedEvent) -> int:
        depths = [
            self._depths[position]
            for cause in event.cause
            if (position := self.position_of(cause)) is not None
        ]
        depth = max(depths, default=-1)
        return max(depth, 0) if event.type in BOOKKEEPING else depth + 1

    def take_saved_firing(self, trigger: RecordedEvent, events: Sequence[RecordedEvent]) -> None:
        """Take a whole firing that the ledger holds: the same as `take_saved` for each event.

        Args:
            trigger: the event it handles.
            events: from its ``responder.fired`` to its ``responder.completed``.

        Raises:
            RefusedEvent: an event cannot be applied to the world before it.
        """
        world, types, depths = self.world, self._types, self._depths
        caused, heads = [trigger.id], self.heads
        of_trigger = greatest = depths[trigger.position]
        for event in events:
            kind, depth = event.type, of_trigger
            if kind not in BOOKKEEPING:
                depth = of_trigger + 1 if event.cause == caused else self._depth_of_saved(event)
                change = change_of(event, world)
                if change is not None:
                    commit(world, change)
            if event.id == default_event_id(kind, event.position, heads):
                types.append(kind)
            else:
                types.append(None)
                self.explicit_ids[event.id] = event.position
            depths.append(depth)
            if depth > greatest:
                greatest = depth
            self.length += 1
            if self.watch is not None:
                self.watch(event, world)
        self.account.count_firing(events, greatest)
        self.last_type = events[-1].type
        self._saved += len(events)

    def save(self) -> None:
        """Append what is recorded to the ledger, as one step.

        Raises:
            ConcurrencyError: another writer appended; nothing was written.
        """
        if self._unsaved:
            events, self._unsaved = self._unsaved, []
            # Whether a failed append was written nobody here can tell: the ledger is asked anew.
            self._saved = self.ledger.append([*events], expected_length=self._saved)
            if self.saved is not None:
                self.saved(events)
