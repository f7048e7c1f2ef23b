"""Strict replay: run the loop again and compare each event with the ledger."""

# long: the rules of a strict replay only make sense next to each other.

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

from kando.errors import RefusedEvent, ReplayDivergence
from kando.ledger.interface import LedgerStore
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.base import Responder
from kando.responders.budget import BudgetEnforcer
from kando.responders.policies import Policy
from kando.runtime.approval_gate import GATE, OBSERVED_TYPES, ON_BRANCH, ApprovalGate
from kando.runtime.batch import Batch
from kando.runtime.cursor import Cursor, OpenFiring
from kando.runtime.declared_types import DeclaredTypes
from kando.runtime.firing import collect, missing_responder, repeat
from kando.runtime.handlers import Handlers
from kando.runtime.recorder import Entry, Recorder
from kando.runtime.recovery import recover
from kando.schema.differences import Difference, decided_data, differences, is_same_data
from kando.schema.events import (
    APPROVAL_REQUESTED,
    BOOKKEEPING,
    KIT_LOADED,
    PARKED,
    RESPONDER_COMPLETED,
    RESPONDER_FAILED,
    RESPONDER_FIRED,
    RETRIED,
    KandoEvent,
    RecordedEvent,
    event_label,
)
from kando.schema.firing import Firing, firing_of, grouped
from kando.views.firings import parked_by_person
from kando.views.kit import FILLS_DEFAULTS
from kando.views.pending import is_answer, is_by_hand
from kando.world.graph import World

__all__ = ["replay_strictly"]


def replay_strictly(
    ledger: LedgerStore,
    edge_logic: Iterable[Responder],
    responders: Iterable[Responder],
    types: DeclaredTypes,
    policies: Sequence[Policy] = (),
    *,
    start: int = 0,
    stop: int | None = None,
) -> World:
    """Re-fire the responders from the root events of `ledger` and return the resulting world.

    Answers of executors are taken from the ledger; no call is made. Type, actor, causes, ids and data
    of each event are compared; timestamps and ``data["observed"]`` are not.

    Args:
        ledger: of the run.
        edge_logic: in addition to that among `responders`.
        responders: in registration order.
        types: the declared types.
        policies: of the kits.
        start: number of events that are restored without a replay.
        stop: number of events to replay up to; all if None.

    Raises:
        ReplayDivergence: an event differs; the message says where and how.
    """
    recorded = list(islice(ledger.read_all(), stop))
    executors = _executors_in(recorded)
    plain = [r for r in responders if r.effect is None and r.name not in executors]
    target = _DiscardingLedger(ledger.stream_name())
    # No limits: the events were within those of their recording.
    recorder = Recorder(target, types, BudgetEnforcer(), max_payload_bytes=2**62)
    gate = ApprovalGate(policies, recorder.source, recorder)
    plain.insert(0, gate.responder())
    recorder.on_recorded, recorder.observed_types = gate.observe, OBSERVED_TYPES
    recorder.recorded_at = _recorded_without_defaults(recorded)
    replay = _StrictReplay(recorder, Handlers(edge_logic, plain), gate, recorded, executors)
    recover(replay.cursor, recorder, grouped(recorded[:start]))
    replay.run()
    return recorder.world


def _executors_in(recorded: Iterable[RecordedEvent]) -> set[str]:
    """Return the names of the executors that worked on a run, and of the senders of old answers."""
    executors = {
        event.actor for event in recorded if is_answer(event) and not is_by_hand(event.data)
    }
    for event in recorded:
        if event.type == RESPONDER_FIRED and event.data.get("call") is True:
            executors.add(firing_of(event)[1])
    # The answers of the approval gate are replayed, since they do not come from outside.
    return executors - {GATE}


def _recorded_without_defaults(
    recorded: Sequence[RecordedEvent],
) -> Callable[[int], RecordedEvent | None]:
    """Return a function that looks up events which may lack the defaults of declared classes.

    A ``kit.loaded`` of a version that fills them in says so. A ledger without any ``kit.loaded`` may be
    older or not: then each event may have them or lack them all.
    """
    loaded = [event for event in recorded if event.type == KIT_LOADED]
    starts = [event.position for event in loaded]

    def recorded_at(position: int) -> RecordedEvent | None:
        index = bisect_right(starts, position) - 1
        is_filled = index >= 0 and loaded[index].data.get(FILLS_DEFAULTS) is True
        return recorded[position] if position < len(recorded) and not is_filled else None

    return recorded_at


def _questions_on_branch(recorded: Iterable[RecordedEvent]) -> set[int]:
    """Return where the gate began to ask about calls because they are made on a branch.

    A firing that was cut before its first output may be one of them.
    """
    found: set[int] = set()
    begun: dict[str, int] = {}
    for event in recorded:
        if event.actor != GATE:
            continue
        if event.type == RESPONDER_FIRED:
            begun[event.data["trigger"]] = event.position
        elif event.type == APPROVAL_REQUESTED and event.data.get("reason") == ON_BRANCH:
            found.update(begun.pop(each) for each in event.cause if each in begun)
        else:
            for each in event.cause:
                begun.pop(each, None)
    return found.union(begun.values())


class _DiscardingLedger(MemoryLedgerStore):
    """A ledger in memory that has the name of another and discards its events."""

    def __init__(self, stream_name: str) -> None:
        super().__init__("replay")
        self._stream_name = stream_name

    def stream_name(self) -> str:
        return self._stream_name

    def append(self, events: list[KandoEvent], *, expected_length: int | None = None) -> int:
        return (expected_length or 0) + len(events)


class _LedgerEndsUnfinished(Exception):
    """The ledger ends here, and its last events show that work was pending."""


class _StrictReplay:
    """Dispatches events as `kando.runtime.loop.Loop` does, and compares them with a recorded ledger.

    External events (seeds, failures, exhausted budgets, forks) are inserted as recorded, at their
    recorded positions. Firings are pure, so a firing that differs because such an event must precede
    it is repeated after the event is inserted.
    """

    def __init__(
        self,
        recorder: Recorder,
        handlers: Handlers,
        gate: ApprovalGate,
        recorded: Sequence[RecordedEvent],
        executors: set[str],
    ) -> None:
        self.recorder = recorder
        self.cursor = Cursor()
        self._handlers = handlers
        self._gate = gate
        self._recorded = recorded
        # Which calls wait on a branch, and from when, depends on its parents: these questions are
        # inserted as recorded.
        self._asks_on_branch = _questions_on_branch(recorded)
        self._executors = executors
        scan = Cursor()
        self._is_external = [not scan.observe(event) for event in recorded]
        # Ids of the ``responder.fired`` whose firings the ledger holds whole.
        self._completed = {
            id for event in recorded if event.type == RESPONDER_COMPLETED for id in event.cause
        }
        # Positions of the failures of each firing, and the firings that were parked in the end.
        self._failures: dict[tuple[str, str], list[int]] = {}
        self._parked: set[tuple[str, str]] = set()
        # Where a person had the run step over a firing.
        self._stepped_over: dict[tuple[str, str], int] = {}
        for event in recorded:
            if event.type == KIT_LOADED:
                # All of them at once: a responder handles no event from before its own kit.loaded.
                self.cursor.orders.observe(event.position, event.data)
            elif event.type == RESPONDER_FAILED:
                key = firing_of(event)
                if parked_by_person(event.data) is not None:
                    self._stepped_over[key] = event.position
                    continue
                self._failures.setdefault(key, []).append(event.position)
                if event.data.get("outcome") == PARKED:
                    self._parked.add(key)
            elif event.type == RESPONDER_FIRED:
                self._parked.discard(firing_of(event))
        # By position: where the next firing starts that the replay must reproduce.
        self._next_firing = [len(recorded)] * (len(recorded) + 1)
        for position in range(len(recorded) - 1, -1, -1):
            event = recorded[position]
            is_start = event.type == RESPONDER_FIRED and not (
                self._is_answer(event) or self._is_clean_up(event)
            )
            self._next_firing[position] = position if is_start else self._next_firing[position + 1]

    def run(self) -> None:
        """Replay the ledger.

        Raises:
            ReplayDivergence: an event differs.
        """
        try:
            while self.recorder.length < len(self._recorded):
                self._step()
            # A ledger may end anywhere: a firing that it does not hold is pending.
            while (event := self.cursor.current) is not None:
                self._complete_cut_firing()
                self._dispatch(event)
                self.cursor.advance()
        except _LedgerEndsUnfinished:
            return

    def _step(self) -> None:
        event = self.cursor.current
        if self.cursor.open_firing is not None:
            self._complete_cut_firing()
        elif event is None:
            self._insert_external([])
        else:
            self._dispatch(event)
            self.cursor.advance()

    def _complete_cut_firing(self) -> None:
        """Complete the open firing; a fork may have interrupted it."""
        while (firing := self.cursor.open_firing) is not None:
            if self.recorder.length == len(self._recorded):
                raise _LedgerEndsUnfinished
            if self._is_answer(firing.fired):
                is_cut = firing.fired.id not in self._completed
                if is_cut and not firing.outputs and self._is_closed(firing.trigger):
                    # The request was answered by hand, after the call was cut.
                    self.cursor.open_firing = None
                    return
                self._insert_recorded(self._recorded[self.recorder.length])
            else:
                try:
                    self._finish(firing)
                except RefusedEvent as error:
                    raise self._raised(firing.responder, error) from error

    def _is_closed(self, trigger: RecordedEvent) -> bool:
        """Whether an intent, or the one that a grant releases, has its answer."""
        return self._gate.intent_of(trigger).id not in self.cursor.pending.intents

    def _finish(self, firing: OpenFiring) -> None:
        """Repeat a plain firing that a fork interrupted, and insert the rest of it."""
        handler = self._handlers.get(firing.responder)
        batch = Batch(self.recorder, firing.trigger, firing.responder)
        if firing.is_whole(is_call=False):
            count = len(firing.outputs)
        elif handler is None:
            raise missing_responder(self.recorder.source, firing)
        else:
            before = self._recorded[: firing.fired.position]
            context = self.recorder.world.context
            count = repeat(batch, handler, firing, before, self._gate, context)
        batch.complete(firing.fired, count)
        self._commit(batch, firing.trigger)

    def _dispatch(self, event: RecordedEvent) -> None:
        handlers = self._handlers.for_event(event, self.recorder.world)
        for handler in self.cursor.remaining(event, handlers):
            self._insert_answer(event)
            is_done = handler.name in self.cursor.done
            if not is_done and self.recorder.is_handled(handler, event):
                self._fire(handler, event)
        self._insert_answer(event)

    def _fire(self, handler: Responder, event: RecordedEvent) -> None:
        self._insert_preceding(handler, event)
        while not self._step_over(handler, event):
            batch = Batch(self.recorder, event, handler.name)
            try:
                outputs = self._gate.outputs(handler, event, self.recorder.world)
                count = collect(batch, handler, outputs, event)
            except (Exception, SystemExit) as error:
                if self._insert_failure(handler, event, error) == PARKED:
                    return
                continue
            if (event.id, handler.name) in self._parked:
                raise self._not_raised(handler.name)
            if not count and not self.cursor.has_failed(event.id, handler.name):
                failed = self._next_failure(handler, event)
                if failed is None:
                    return
                # It raised when the run was recorded, and was mended before it was repeated.
                self._insert_up_to(failed)
                continue
            batch.close()
            if self._commit(batch, event):
                return

    def _step_over(self, handler: Responder, event: RecordedEvent) -> bool:
        """Insert the parking of a firing by a person, unless an attempt was recorded before it."""
        names = (handler.name, *handler.was)
        keys = [key for name in names if (key := (event.id, name)) in self._stepped_over]
        if not keys:
            return False
        here, end = self.recorder.length, self._stepped_over[keys[0]]
        attempts = (position for key in keys for position in self._failures.get(key, ()))
        if any(here <= position < end for position in attempts):
            return False
        while self.recorder.length <= end:
            self._insert_external([])
        return True

    def _insert_failure(
        self, handler: Responder, event: RecordedEvent, error: BaseException
    ) -> str:
        """Insert the recorded failure that an error repeats, and return its outcome.

        A handler that failed and was not repeated is pending: the ledger ends after its failure.

        Raises:
            ReplayDivergence: the responder did not fail here when the run was recorded, or otherwise.
        """
        here = self.recorder.length
        position = self._next_failure(handler, event)
        if position is None:
            is_cut = here == len(self._recorded)
            if is_cut and not self._is_new(handler.name, event):
                raise _LedgerEndsUnfinished from error
            if is_cut or not (self._is_external[here] or self._is_answer(self._recorded[here])):
                raise self._raised(handler.name, error) from error
            self._insert_external([])
            return RETRIED
        recorded = self._recorded[position]
        if recorded.data["error"]["type"] != type(error).__name__:
            raise self._raised(handler.name, error) from error
        self._insert_up_to(position)
        outcome: str = recorded.data["outcome"]
        if outcome != PARKED and self.recorder.length == len(self._recorded):
            raise _LedgerEndsUnfinished from error
        self._insert_preceding(handler, event)
        return outcome

    def _next_failure(self, handler: Responder, event: RecordedEvent) -> int | None:
        """Return the position of the next recorded failure of a firing, or None."""
        positions = self._failures.get((event.id, handler.name), [])
        return next((each for each in positions if each >= self.recorder.length), None)

    def _insert_up_to(self, position: int) -> None:
        """Insert the external events up to a position."""
        while self.recorder.length <= position:
            self._insert_external([])

    def _is_new(self, responder: str, trigger: RecordedEvent) -> bool:
        """Whether the kit that recorded the ledger lacked a responder when it handled an event."""
        handler = self._handlers.get_known(responder)
        return self.cursor.orders.is_new(handler, trigger.position)

    def _not_raised(self, responder: str) -> ReplayDivergence:
        position = self.recorder.length
        return ReplayDivergence(
            f"{self.recorder.source} diverges at position {position}: responder {responder!r} "
            "does not raise, but was parked when the run was recorded.",
            position=position,
            responder=responder,
            hint="Use the kit version that the run was recorded with.",
        )

    def _raised(self, responder: str, error: BaseException) -> ReplayDivergence:
        position = self.recorder.length
        return ReplayDivergence(
            f"{self.recorder.source} diverges at position {position}: responder {responder!r} "
            f"raises {type(error).__name__}, but did not raise when it was recorded.",
            position=position,
            responder=responder,
            hint="Use the kit version that the run was recorded with.",
        )

    def _insert_preceding(self, handler: Responder, event: RecordedEvent) -> None:
        """If the next recorded firing is this one, insert the external events before it."""
        start = self._next_firing[min(self.recorder.length, len(self._recorded))]
        if start == len(self._recorded):
            return
        about = self._recorded[start].data
        if about["trigger"] == event.id and about["responder"] == handler.name:
            while self.recorder.length < start:
                self._insert_external([])

    def _commit(self, batch: Batch, trigger: RecordedEvent) -> bool:
        """Record a batch that agrees with the ledger; False if it must be repeated."""
        start, entries = self.recorder.length, batch.all_entries()
        for offset, (event, _, _, _) in enumerate(entries):
            position = start + offset
            if position < len(self._recorded) and _agree(self._recorded[position], event):
                continue
            is_cut = position == len(self._recorded)
            if is_cut and (offset or not self._is_new(event.actor, trigger)):
                if offset:
                    self._insert(entries[:offset], is_external=False)
                raise _LedgerEndsUnfinished
            if offset and not is_cut and self._is_external[position]:
                self._insert(entries[:offset], is_external=False)
                self._complete_cut_firing()
                return True
            self._insert_external([event])
            return False
        recorded = batch.record()
        if isinstance(recorded, Firing):
            self.cursor.observe_firing(trigger, recorded, self._is_met)
        else:
            for event in recorded:
                self.cursor.observe(event)
        self.recorder.save()
        return True

    def _is_met(self, type: str) -> bool:
        """Whether events of a type are dispatched: bookkeeping only if a responder handles it."""
        return type not in BOOKKEEPING or bool(self._handlers.for_type(type))

    def _insert_external(self, instead: Sequence[RecordedEvent]) -> None:
        """Insert the next recorded event if it is external, else report the divergence."""
        position = self.recorder.length
        expected = self._recorded[position] if position < len(self._recorded) else None
        if expected is not None and self._is_external[position]:
            self._insert_recorded(expected)
        elif expected is not None and self._is_answer(expected):
            self._insert_firing()
        elif expected is not None and self._is_clean_up(expected):
            self._replay_clean_up(expected)
        else:
            replayed = instead[0] if instead else None
            at = replayed.position if replayed is not None else position
            there = self._recorded[at] if at < len(self._recorded) else None
            raise divergence(there, replayed, at, self.recorder.source)

    def _insert_answer(self, event: RecordedEvent) -> None:
        """Insert the answers to `event` that the ledger holds at this position."""
        position = self.recorder.length
        while position < len(self._recorded):
            expected = self._recorded[position]
            if not self._is_answer(expected) or expected.data["trigger"] != event.id:
                return
            self._insert_firing()
            position = self.recorder.length

    def _is_clean_up(self, event: RecordedEvent) -> bool:
        """Whether an event begins a firing that cleaned up after the run was cancelled."""
        if event.type != RESPONDER_FIRED:
            return False
        handler = self._handlers.get(event.data["responder"])
        return handler is not None and handler.cleanup_seconds is not None

    def _replay_clean_up(self, fired: RecordedEvent) -> None:
        """Repeat a firing that cleaned up, and compare it; a failed one is inserted as recorded."""
        handler, trigger = self._handlers.get(fired.data["responder"]), self.cursor.cancelled
        if handler is None or trigger is None:
            raise divergence(fired, None, fired.position, self.recorder.source)
        batch = Batch(self.recorder, trigger, fired.data["responder"])
        try:
            outputs = self._gate.outputs(handler, trigger, self.recorder.world)
            collect(batch, handler, outputs, trigger)
            batch.close()
        except (Exception, SystemExit) as error:
            raise self._raised(handler.name, error) from error
        entries = batch.all_entries()
        for replayed, *_ in entries:
            if replayed.position == len(self._recorded):
                raise _LedgerEndsUnfinished
            recorded = self._recorded[replayed.position]
            if not _agree(recorded, replayed):
                raise divergence(recorded, replayed, replayed.position, self.recorder.source)
        self._insert(entries, is_external=False)

    def _is_answer(self, event: RecordedEvent) -> bool:
        is_answered = event.position in self._asks_on_branch or event.actor in self._executors
        return event.type == RESPONDER_FIRED and is_answered

    def _insert_firing(self) -> None:
        """Insert an answer: its firing, which a fork may have cut, as far as the ledger holds it."""
        self._insert_recorded(self._recorded[self.recorder.length])
        self._complete_cut_firing()

    def _insert_recorded(self, event: RecordedEvent) -> None:
        """Insert an event as the ledger holds it."""
        batch = Batch(self.recorder)
        try:
            batch.add_recorded(event)
        except RefusedEvent as error:
            msg = f"{self.recorder.source} holds an invalid event: {error.message}"
            raise ReplayDivergence(msg, position=event.position, hint=error.hint) from error
        self._insert(batch.entries)

    def _insert(self, entries: Sequence[Entry], *, is_external: bool = True) -> None:
        for event in self.recorder.record(entries, is_external=is_external):
            self.cursor.observe(event)
        self.recorder.save()


def divergence(
    recorded: RecordedEvent | None, replayed: RecordedEvent | None, position: int, source: str
) -> ReplayDivergence:
    """Return the error for the first event that differs between replay and ledger."""
    found = _differing_fields(recorded, replayed) if recorded and replayed else []
    if recorded is None:
        what = f"the ledger ends, but the replay continues with {_name(replayed)}"
    elif replayed is None:
        what = f"the ledger has {_name(recorded)}, which the replay does not produce"
    else:
        path, old, new = found[0]
        more = f" (and {len(found) - 1} more differences)" if len(found) > 1 else ""
        what = f"{path} of {_name(recorded)} is {new!r:.80}, recorded as {old!r:.80}{more}"
    event = replayed or recorded
    assert event is not None
    return ReplayDivergence(
        f"{source} diverges at position {position}, responder {event.actor!r}: {what}.",
        position=position,
        responder=event.actor,
        recorded=_as_dict(recorded),
        replayed=_as_dict(replayed),
        differences=found,
        hint="Use the kit version that the run was recorded with, or fork before this position.",
    )


def _agree(recorded: RecordedEvent, replayed: RecordedEvent) -> bool:
    """Whether no compared field differs; the common case of equal events is checked fast."""
    return (
        is_same_data(recorded, replayed)
        and recorded.lineage_key == replayed.lineage_key
        and recorded.id == replayed.id
        and recorded.type == replayed.type
        and recorded.actor == replayed.actor
        and recorded.cause == replayed.cause
    ) or not _differing_fields(recorded, replayed)


def _differing_fields(recorded: RecordedEvent, replayed: RecordedEvent) -> list[Difference]:
    """Return each compared field that differs."""
    found: list[Difference] = []
    for field in ("type", "actor", "cause", "id", "lineage_key"):
        old, new = getattr(recorded, field), getattr(replayed, field)
        if old != new:
            found.append((field, old, new))
    if not is_same_data(recorded, replayed):
        found += differences(decided_data(recorded), decided_data(replayed), "data")
    return found


def _name(event: RecordedEvent | None) -> str:
    return event_label(event) if event is not None else "nothing"


def _as_dict(event: RecordedEvent | None) -> dict[str, Any] | None:
    if event is None:
        return None
    return {
        "id": event.id,
        "type": event.type,
        "actor": event.actor,
        "cause": event.cause,
        "data": event.data,
        "position": event.position,
    }
