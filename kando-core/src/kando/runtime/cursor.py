"""The cursor: derives from the ledger which events are still to be dispatched, and what is open."""

# long: the state of a cursor, how the ledger changes it, and how it is stored, side by side.

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs
import msgspec

from kando.errors import StoreDamaged
from kando.responders.base import Responder
from kando.schema.events import (
    APPROVAL_GRANTED,
    KIT_LOADED,
    OBSERVED,
    PARKED,
    PERSON_ASKED,
    PERSON_REMINDED,
    RESPONDER_COMPLETED,
    RESPONDER_FAILED,
    RESPONDER_FIRED,
    RETRIED,
    RUN_CANCELLED,
    TIMER_SET,
    RecordedEvent,
)
from kando.schema.firing import Firing, firing_of
from kando.schema.identity import step_key
from kando.views.approvals import GATE
from kando.views.firings import FiringOrders, parked_by_person, remaining
from kando.views.pending import ANSWERS, INTENTS, PENDING, Pending, answered_by, track
from kando.views.questions import Question, track_questions
from kando.views.spending import CHARGED

__all__ = ["AFTER", "TRACKED", "Cursor", "CursorState", "OpenFiring", "names_after"]

#: Key of ``observed`` under which an event notes firings that emitted nothing and so are not in the
#: ledger: their trigger, and the names of the responders.
AFTER = "after"

_PENDING = PENDING | {APPROVAL_GRANTED, PERSON_REMINDED}

#: The beginnings of the ids of the lifecycle events of whole firings.
_LIFECYCLE_IDS = (f"{RESPONDER_FIRED}-", f"{RESPONDER_COMPLETED}-")

#: Types of events that change more than the world: what is pending, or the account.
TRACKED = _PENDING | CHARGED


@attrs.define
class OpenFiring:
    """A firing that the ledger holds in part; a branch may be forked in the middle of one.

    Attributes:
        fired: its ``responder.fired``.
        trigger: the event it handles.
        responder: name of the responder.
        outputs: the outputs that the ledger holds.
    """

    fired: RecordedEvent
    trigger: RecordedEvent
    responder: str
    outputs: list[RecordedEvent] = attrs.field(factory=list)

    def is_whole(self, *, is_call: bool) -> bool:
        """Whether the ledger holds all outputs: the answer of a call, or what the gate says of an intent.

        A plain responder may emit answers, too, and further events after them.
        """
        if self.responder == GATE and self.trigger.type in INTENTS:
            return bool(self.outputs)
        has_one = is_call or self.responder == GATE
        return has_one and any(output.type in ANSWERS for output in self.outputs)


class _Lifecycle:
    """A lifecycle event of a whole firing, which is built when its turn to be dispatched comes."""

    __slots__ = ("_firing", "position")

    def __init__(self, firing: Firing, position: int) -> None:
        self._firing = firing
        self.position = position

    @property
    def id(self) -> str:
        """Its id."""
        firing = self._firing
        return firing.fired_id if self.position == firing.position else firing.completed_id

    def event(self) -> RecordedEvent:
        """Return the event."""
        firing = self._firing
        return firing.fired if self.position == firing.position else firing.completed


class CursorState(msgspec.Struct, frozen=True):
    """The state of a cursor as the ledger shows it; events are given by their positions.

    Attributes:
        shown_at: position of the event that the ledger shows the cursor at.
        shown: as `Cursor.done`, for this event, as far as the ledger shows it.
        open_firing: its ``responder.fired``, its trigger and its outputs.
        intents: that are open.
        timers: that have not fired.
        questions: to people, that are open.
        halted_by: see `Pending`.
        grants: each ``approval.granted`` whose intent is not answered.
        failed: the number of failed attempts of each firing that is to be retried.
        unresolved: the firings that have failed and are to be repeated.
        parked: names of the responders that a person had the run step over, by trigger.
        cancelled: the ``run.cancelled``, while the run is cancelled.
        cleaned: names of the responders that have cleaned up after it.
        kits: each ``kit.loaded``.
    """

    shown_at: int
    shown: dict[str, int]
    open_firing: tuple[int, int, list[int]] | None
    intents: list[int]
    timers: list[int]
    questions: list[Question]
    halted_by: str | None
    grants: list[int]
    failed: list[tuple[str, str, int]]
    unresolved: list[tuple[str, str]]
    parked: dict[str, list[str]]
    cancelled: int | None
    cleaned: list[str]
    kits: list[int]


class Cursor:
    """The events still to be dispatched, in order, and the progress of the first of them.

    Each event of the ledger must be passed to `observe` once: on recovery, or when it is recorded.

    Attributes:
        done: the responders that have handled the current event: by name, the position at which the
            ledger shows it.
        open_firing: the firing that the ledger holds in part, if there is one.
        pending: open intents and timers, and the halt of the run.
        questions: to people, that are open, by the id of their ``person.asked``.
        orders: the firing orders of the kits that worked on the run.
        parked: names of the responders that a person had the run step over, by trigger.
        cancelled: the ``run.cancelled``, while the run is cancelled.
        cleaned: names of the responders that have cleaned up after it.
        kit: data of the last ``kit.loaded``; None without one.
    """

    def __init__(self) -> None:
        # A firing of the ledger stands for its events until one of them is the next.
        self._queue: deque[RecordedEvent | _Lifecycle | Firing] = deque()
        # Where the ledger alone shows the cursor: silent firings have moved it on since.
        self._shown_at = 0
        self._shown: dict[str, int] = {}
        # An open firing that ends without a call; the ledger shows it as open.
        self._left: OpenFiring | None = None
        self.done: dict[str, int] = {}
        self.open_firing: OpenFiring | None = None
        self.pending: Pending[RecordedEvent] = Pending()
        self.questions: dict[str, Question] = {}
        self.orders = FiringOrders()
        # Each ``approval.granted``, until its intent is answered.
        self._grants: dict[str, RecordedEvent] = {}
        self._silent: tuple[str, list[str]] | None = None
        # Number of failed attempts of each firing that is to be retried.
        self._failed: dict[tuple[str, str], int] = {}
        self._unresolved: set[tuple[str, str]] = set()
        self.parked: dict[str, set[str]] = {}
        self.cancelled: RecordedEvent | None = None
        self.cleaned: set[str] = set()
        self.kit: dict[str, Any] | None = None

    @property
    def shown_at(self) -> int:
        """Position of the event that the ledger alone shows the cursor at."""
        return self._shown_at

    @property
    def current(self) -> RecordedEvent | None:
        """The event whose firings are next; None when every event is dispatched."""
        if not self._queue:
            return None
        first = self._queue[0]
        if isinstance(first, RecordedEvent):
            return first
        if isinstance(first, Firing):
            self._unfold(first)
        first = self._queue[0]
        if isinstance(first, _Lifecycle):
            first = self._queue[0] = first.event()
        assert isinstance(first, RecordedEvent)
        return first

    def _unfold(self, firing: Firing, start: int | None = None) -> None:
        """Put the events of a firing, the first of the queue, in its place.

        Args:
            firing: the first of the queue.
            start: index of the first of its outputs that is not dispatched yet; None for its
                ``responder.fired``.
        """
        queue, outputs = self._queue, firing.outputs
        queue[0] = _Lifecycle(firing, firing.position + len(outputs) + 1)
        queue.extendleft(reversed(outputs[start:]))
        if start is None:
            queue.appendleft(_Lifecycle(firing, firing.position))

    def observe(self, event: RecordedEvent) -> bool:
        """Process an event of the ledger; return whether a firing produced it."""
        self._queue.append(event)
        kind = event.type
        is_of_firing = False
        if kind == RESPONDER_FIRED:
            self._observe_fired(event)
            is_of_firing = True
        elif kind == RESPONDER_FAILED:
            self._observe_failed(event)
        elif self.open_firing is not None:
            is_of_firing = self._observe_output(event, self.open_firing)
        if kind in _PENDING:
            self._track_pending(event)
        return is_of_firing

    def observe_firing(
        self,
        trigger: RecordedEvent,
        firing: Firing,
        is_handled: Callable[[str], object] | None = None,
        tracked: Sequence[RecordedEvent] | None = None,
    ) -> None:
        """Process a firing that was just recorded: as `observe` for each event, but faster.

        Args:
            trigger: the event it handles.
            firing: it is whole.
            is_handled: whether a responder handles events of a type; others need no dispatch. All do
                if it is None.
            tracked: those of its outputs whose types are `TRACKED`; found if None.
        """
        position, outputs, queue = firing.position, firing.outputs, self._queue
        self._show(trigger, firing.observed, position)
        self._left = None
        if is_handled is None:
            queue.append(firing)
        else:
            if is_handled(RESPONDER_FIRED):
                queue.append(_Lifecycle(firing, position))
            for event in outputs:
                if is_handled(event.type):
                    queue.append(event)
            if is_handled(RESPONDER_COMPLETED):
                queue.append(_Lifecycle(firing, position + len(firing) - 1))
        for event in outputs if tracked is None else tracked:
            if event.type in _PENDING:
                self._track_pending(event)
        if self._unresolved:
            self._mark_resolved(trigger, firing.responder)
        self._mark_done(trigger, firing.responder, position)

    def advance_to(self, firing: Firing) -> RecordedEvent:
        """Advance to the event that a firing of the ledger handles, and return it."""
        trigger = self._advance_to_trigger(firing.trigger_id, firing)
        if firing.observed is not None:
            self._restore_silent(trigger, firing.observed, firing.position)
        return trigger

    def observe_kit(self, position: int, loaded: dict[str, Any]) -> None:
        """Process a ``kit.loaded`` at a position, with its data."""
        self.kit = loaded
        self.orders.observe(position, loaded)

    def leave_open_firing(self) -> None:
        """Leave an open firing that makes no call: its request is answered, or waits."""
        self._left, self.open_firing = self.open_firing, None

    def _show(self, trigger: RecordedEvent, noted: object, at: int) -> None:
        """Note that the ledger shows the cursor at a trigger, and the silent firings before it.

        Args:
            trigger: of a firing.
            noted: ``observed`` of its ``responder.fired`` or ``responder.failed``, or None.
            at: position of this event.
        """
        position = trigger.position
        if position > self._shown_at and not (self.pending.halted_by and self._stays_at(trigger)):
            self._shown_at, self._shown = position, {}
        if noted and position == self._shown_at:
            self.show_silent(position, names_after(noted), at)

    def _stays_at(self, trigger: RecordedEvent) -> bool:
        """Whether a firing out of turn does not move the cursor of a halted run."""
        is_open = trigger.id in self.pending.intents or trigger.id in self._grants
        return is_open or (self.cancelled is not None and trigger.id == self.cancelled.id)

    def show_silent(self, position: int, responders: Iterable[str], at: int) -> None:
        """Note that the ledger shows firings without outputs; see `skip_to`."""
        if position > self._shown_at:
            self._shown_at, self._shown = position, {}
        if position == self._shown_at:
            self._shown |= dict.fromkeys(responders, at)

    def _track_pending(self, event: RecordedEvent) -> None:
        """Update what is pending, and the approvals that release it."""
        if event.type == APPROVAL_GRANTED:
            self._grants[event.id] = event
            return
        track(self.pending, event, event)
        if self.questions or event.type == PERSON_ASKED:
            track_questions(self.questions, event)
        if event.type == RUN_CANCELLED:
            self.cancelled = event
        elif self.pending.halted_by is None:
            self.cancelled = None
        for id in answered_by(event):
            self._grants.pop(id, None)

    def _observe_fired(self, event: RecordedEvent) -> None:
        trigger_id, responder = firing_of(event)
        trigger = self._advance_to_trigger(trigger_id, event)
        self._restore_silent(trigger, event.data.get(OBSERVED), event.position)
        self._show(trigger, event.data.get(OBSERVED), event.position)
        self._mark_resolved(trigger, responder)
        self._left = None
        self.open_firing = OpenFiring(event, trigger, responder)

    def _observe_failed(self, event: RecordedEvent) -> None:
        if event.data.get("in_turn") is False:
            # A worker's attempt failed, or a person parked a firing, wherever the cursor is.
            if (stepped_over := parked_by_person(event.data)) is not None:
                self.parked.setdefault(stepped_over[0], set()).add(stepped_over[1])
            return
        trigger_id, responder = firing_of(event)
        trigger = self._advance_to_trigger(trigger_id, event)
        self._show(trigger, event.data.get(OBSERVED), event.position)
        outcome = event.data.get("outcome")
        self._failed.pop((trigger.id, responder), None)
        if outcome != PARKED:
            self._unresolved.add((trigger.id, responder))
        else:
            self._unresolved.discard((trigger.id, responder))
        if outcome == RETRIED:
            attempt = event.data.get("attempt")
            self._failed[trigger.id, responder] = attempt if type(attempt) is int else 1
        elif outcome == PARKED:
            self._mark_parked(trigger, responder, event.position)

    def _mark_parked(self, trigger: RecordedEvent, responder: str, at: int) -> None:
        if self.cancelled is not None and trigger.id == self.cancelled.id:
            self.cleaned.add(responder)
            return
        if self._queue[0].position == trigger.position:
            self.done[responder] = at
        if self._shown_at == trigger.position:
            self._shown[responder] = at

    def _restore_silent(self, trigger: RecordedEvent, noted: object, at: int) -> None:
        """Restore the silent firings of the current event that a ``responder.fired`` notes."""
        if noted and self._queue and self._queue[0].position == trigger.position:
            self.done |= dict.fromkeys(names_after(noted), at)

    def _mark_resolved(self, trigger: RecordedEvent, responder: str) -> None:
        firing = (trigger.id, responder)
        self._failed.pop(firing, None)
        self._unresolved.discard(firing)

    def _mark_done(self, trigger: RecordedEvent, responder: str, at: int) -> None:
        if self.cancelled is not None and trigger.id == self.cancelled.id:
            self.cleaned.add(responder)
            return
        self._silent, position = None, trigger.position
        if self._queue and self._queue[0].position == position:
            self.done[responder] = at
        if self._shown_at == position:
            self._shown[responder] = at

    def failed_attempts(self, trigger_id: str, responder: str) -> int:
        """Return how many attempts of a firing have failed in the current round."""
        return self._failed.get((trigger_id, responder), 0)

    def failed_responders(self, trigger_id: str) -> set[str]:
        """Return the responders that failed to handle an event and are to handle it again."""
        return {responder for trigger, responder in self._unresolved if trigger == trigger_id}

    def is_parked(self, trigger_id: str, names: Iterable[str]) -> bool:
        """Whether a person had the run step over a firing, under one of its responder's names."""
        parked = self.parked.get(trigger_id)
        return parked is not None and not parked.isdisjoint(names)

    def has_failed(self, trigger_id: str, responder: str) -> bool:
        """Whether the ledger holds a failure of a firing, and no completion after it."""
        return (trigger_id, responder) in self._unresolved

    def _advance_to_trigger(self, trigger_id: str, of: RecordedEvent | Firing) -> RecordedEvent:
        """Advance to the event that a firing handles, and return it."""
        trigger = self.pending.intents.get(trigger_id) or self._grants.get(trigger_id)
        if self.cancelled is not None and trigger_id == self.cancelled.id:
            trigger = self.cancelled
        queue = self._queue
        # The answer to an intent that the cursor has passed does not move it back. After the run was
        # paused or cancelled, answers and the clean-up do not move it at all.
        if trigger is not None:
            is_halted = self.pending.halted_by is not None
            if is_halted or trigger.position < queue[0].position:
                return trigger
        is_lifecycle = trigger_id.startswith(_LIFECYCLE_IDS)
        while queue:
            first = queue[0]
            if isinstance(first, RecordedEvent):
                if first.id == trigger_id:
                    return first
            elif isinstance(first, Firing):
                if is_lifecycle:
                    self._unfold(first)
                    continue
                for index, output in enumerate(first.outputs):
                    if output.id == trigger_id:
                        self._unfold(first, index)
                        return output
            elif is_lifecycle and first.id == trigger_id:
                break
            queue.popleft()
            if self.done:
                self.done = {}
        current = self.current
        if current is None:
            id = of.fired_id if isinstance(of, Firing) else of.id
            msg = f"{of.source}: {id} has trigger {trigger_id!r}, which does not exist."
            raise StoreDamaged(msg, hint="Restore the ledger from a copy.")
        return current

    def _observe_output(self, event: RecordedEvent, firing: OpenFiring) -> bool:
        if event.type == RESPONDER_COMPLETED and event.cause == [firing.fired.id]:
            self.open_firing = None
            self._mark_done(firing.trigger, firing.responder, firing.fired.position)
            return True
        key = step_key(firing.trigger.lineage_key, firing.responder, len(firing.outputs))
        if event.lineage_key != key:
            return False
        firing.outputs.append(event)
        return True

    def skip_to(self, position: int, responders: Iterable[str], at: int) -> None:
        """Advance past firings without outputs, which another event has noted.

        Args:
            position: of the event that it handled.
            responders: the responders that did.
            at: position of the last event before the one that notes them.
        """
        while self._queue and self._queue[0].position < position:
            first = self._queue[0]
            if isinstance(first, Firing) and first.position + len(first) > position:
                self._unfold(first)
            self.advance()
        if self._queue and self._queue[0].position == position:
            self.done |= dict.fromkeys(responders, at)

    def note_silent(self, trigger: RecordedEvent, responder: str, at: int) -> None:
        """Note a firing without outputs, which the ledger does not hold.

        Args:
            trigger: the event that it handled.
            responder: its name.
            at: position of the next event.
        """
        if self._silent is None or self._silent[0] != trigger.id:
            self._silent = (trigger.id, [])
        self._silent[1].append(responder)
        self.done[responder] = at

    @property
    def silent(self) -> tuple[str, list[str]] | None:
        """The trigger and the responders of the firings without outputs since the last event."""
        return self._silent

    def hidden_silent(self, event: RecordedEvent) -> list[str]:
        """Return the silent firings of an event that the ledger would not show otherwise."""
        silent = self._silent
        is_shown = silent is None or silent[0] != event.id or self.orders.at(event.position)
        return [] if is_shown or silent is None else silent[1]

    def remaining(self, event: RecordedEvent, handlers: Sequence[Responder]) -> Sequence[Responder]:
        """Return those that have not handled the current event yet, in firing order.

        Args:
            event: the current one.
            handlers: the responders of its type, in today's firing order.
        """
        if not self.done and not self.parked and self.orders.is_latest(event.position):
            return handlers
        parked = self.parked.get(event.id)
        failed = self.failed_responders(event.id)
        return remaining(handlers, event.position, self.done, failed, self.orders, parked or set())

    def state(self) -> CursorState:
        """Return the state that the recovery of the ledger so far would give."""
        firing = self.open_firing or self._left
        return CursorState(
            self._shown_at,
            dict(self._shown),
            (firing.fired.position, firing.trigger.position, _positions(firing.outputs))
            if firing is not None
            else None,
            _positions(self.pending.intents.values()),
            _positions(self.pending.timers.values()),
            list(self.questions.values()),
            self.pending.halted_by,
            _positions(self._grants.values()),
            sorted((*firing, attempts) for firing, attempts in self._failed.items()),
            sorted(self._unresolved),
            {trigger: sorted(names) for trigger, names in sorted(self.parked.items())},
            self.cancelled.position if self.cancelled is not None else None,
            sorted(self.cleaned),
            self.orders.positions,
        )

    def restore(
        self,
        state: CursorState,
        queue: Iterable[RecordedEvent],
        at: Callable[[int], RecordedEvent],
    ) -> None:
        """Restore what `state` returned.

        Args:
            state: of another cursor of the ledger.
            queue: the events from ``state.shown_at`` up to the position of the state.
            at: returns the event at a position.

        Raises:
            ValueError, LookupError: the state does not match the ledger.
        """

        def of(positions: Iterable[int], *types: str) -> dict[str, RecordedEvent]:
            events = [at(position) for position in positions]
            if any(event.type not in types for event in events):
                msg = f"an event is not of type {' or '.join(types)}"
                raise ValueError(msg)
            return {event.id: event for event in events}

        self._queue.extend(queue)
        self._shown_at, self._shown = state.shown_at, state.shown
        self.done = dict(state.shown)
        if state.open_firing is not None:
            position, trigger, outputs = state.open_firing
            (fired,) = of([position], RESPONDER_FIRED).values()
            responder = fired.data["responder"]
            self.open_firing = OpenFiring(fired, at(trigger), responder, [*map(at, outputs)])
        self.pending.intents = of(state.intents, *INTENTS)
        self.pending.timers = of(state.timers, TIMER_SET)
        self.questions = {each.event_id: each for each in state.questions}
        self.pending.halted_by = state.halted_by
        self._grants = of(state.grants, APPROVAL_GRANTED)
        self._failed = {(trigger, name): count for trigger, name, count in state.failed}
        self._unresolved = set(state.unresolved)
        self.parked = {trigger: set(names) for trigger, names in state.parked.items()}
        if state.cancelled is not None:
            (self.cancelled,) = of([state.cancelled], RUN_CANCELLED).values()
        self.cleaned = set(state.cleaned)
        for loaded in of(state.kits, KIT_LOADED).values():
            self.observe_kit(loaded.position, loaded.data)

    def advance(self) -> None:
        """Leave the current event: all its firings are done."""
        self._queue.popleft()
        if self.done:
            self.done = {}


def _positions(events: Iterable[RecordedEvent]) -> list[int]:
    return [event.position for event in events]


def names_after(observed: object) -> list[str]:
    """Return the names of the silent responders that the ``observed`` of an event notes."""
    after = observed.get(AFTER) if isinstance(observed, dict) else None
    if not isinstance(after, list) or len(after) != 2:
        return []
    # Before 0.2 only the last of them was noted.
    names = after[1] if isinstance(after[1], list) else [after[1]]
    return [name for name in names if isinstance(name, str)]
