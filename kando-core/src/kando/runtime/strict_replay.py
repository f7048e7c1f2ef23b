"""Strict replay: run the same loop again and compare what comes out with the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from kando.errors import RefusedEvent, ReplayDivergence
from kando.ledger.interface import LedgerStore
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.base import BOOKKEEPING, Responder
from kando.responders.budget import BudgetEnforcer
from kando.responders.policies import Policy
from kando.runtime.approval_gate import GATE, Gate
from kando.runtime.batch import Batch
from kando.runtime.cursor import ANSWERS, Cursor
from kando.runtime.declared_types import DeclaredTypes
from kando.runtime.effects import Effects
from kando.runtime.firing import collect, complete
from kando.runtime.handlers import Handlers
from kando.runtime.loop import Loop
from kando.runtime.recorder import Entry, Recorder
from kando.runtime.recovery import recover
from kando.schema.events import (
    BRANCH_CHANGED,
    BRANCH_CREATED,
    BUDGET_EXHAUSTED,
    BUDGET_SET,
    KIT_LOADED,
    OBSERVED,
    PARKED,
    RESPONDER_COMPLETED,
    RESPONDER_FAILED,
    RESPONDER_FIRED,
    KandoEvent,
    RecordedEvent,
)
from kando.world.graph import World
from kando.world.projection import project
from kando.world.staged import StagedWorld

__all__ = ["differences", "replay_strictly"]

# A ledger that ends with one of these says itself that work is left.
_UNFINISHED = frozenset(
    {BRANCH_CREATED, BRANCH_CHANGED, BUDGET_EXHAUSTED, BUDGET_SET, KIT_LOADED, RESPONDER_FAILED}
)


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
    """Re-fire the responders from the root events of `ledger` and return the world they make.

    Answers from outside are taken from the ledger; nothing is called. Of each event type, actor,
    causes, ids and data are compared; timestamps and ``data["observed"]`` are not.

    Args:
        ledger: that is replayed.
        edge_logic: beside that among `responders`.
        responders: in registration order.
        types: what declared types allow.
        policies: that hold back intents.
        start: how many events are taken as they are, because others replayed them.
        stop: how many events there are; all if None.

    Raises:
        ReplayDivergence: an event came out differently; the message says where and how.
    """
    recorded = list(islice(ledger.read_all(), stop))
    # What the gate answers is decided, and not measured outside.
    answering = {event.actor for event in recorded if event.type in ANSWERS} - {GATE}
    plain = [r for r in responders if r.effect is None and r.name not in answering]
    twin = _Twin(ledger.stream_name())
    # What the ledger holds was within the limits it was recorded under.
    recorder = Recorder(twin, types, BudgetEnforcer(), max_payload_bytes=2**62)
    gate = Gate(policies, recorder.source, recorder) if policies else None
    if gate is not None:
        plain.insert(0, gate.responder())
        recorder.watch = gate.see
    loop = _StrictLoop(recorder, Handlers(edge_logic, plain), recorded, answering)
    loop.gate = gate
    recover(loop.cursor, recorder, recorded[:start])
    loop.run()
    return recorder.world


class _Twin(MemoryLedgerStore):
    """A ledger in memory that has the identity of another, and keeps nothing."""

    def __init__(self, stream_name: str) -> None:
        super().__init__("replay")
        self._stream_name = stream_name

    def stream_name(self) -> str:
        return self._stream_name

    def append(self, events: list[KandoEvent], *, expected_length: int | None = None) -> int:
        return (expected_length or 0) + len(events)


class _LedgerSaysUnfinished(Exception):
    """The ledger ends, and says itself that work was left then."""


class _StrictLoop(Loop):
    """The loop, with a recorded ledger to agree with.

    What no firing produced (seeds, failures, exhausted budgets, forks) is put in as recorded,
    where it is recorded. Firings are pure, so one that came out differently because such an event
    belongs before it is simply repeated after it.
    """

    def __init__(
        self,
        recorder: Recorder,
        handlers: Handlers,
        recorded: Sequence[RecordedEvent],
        answering: set[str],
    ) -> None:
        super().__init__(recorder, handlers, Effects(1), 0)
        self._recorded = recorded
        self._answering = answering
        scan = Cursor()
        self._outside = [not scan.see(event) for event in recorded]
        failed = [event.data for event in recorded if event.type == RESPONDER_FAILED]
        self._failed = {(about["trigger"], about["responder"]) for about in failed}
        self._parked = {
            (about["trigger"], about["responder"]) for about in failed if about["outcome"] == PARKED
        }
        # By position: where the next firing begins that has to be reproduced.
        self._next_firing = [len(recorded)] * (len(recorded) + 1)
        for position in range(len(recorded) - 1, -1, -1):
            event = recorded[position]
            begins = event.type == RESPONDER_FIRED and not self._is_answer(event)
            self._next_firing[position] = position if begins else self._next_firing[position + 1]

    def run(self) -> bool:
        try:
            while self.recorder.length < len(self._recorded):
                self._step()
            # A ledger that ends where the replay would go on is not what the replay makes of it.
            while (event := self.cursor.current) is not None:
                self._complete_cut_firing()
                self._dispatch(event)
                self.cursor.advance()
        except _LedgerSaysUnfinished:
            return False
        return True

    def _step(self) -> None:
        event = self.cursor.current
        if self.cursor.open_firing is not None:
            self._complete_cut_firing()
        elif event is None:
            self._put_outside([])
        elif self._dispatch(event):
            self.cursor.advance()

    def _complete_cut_firing(self) -> None:
        """Complete a firing that the ledger was forked in the middle of."""
        while (firing := self.cursor.open_firing) is not None:
            if self.recorder.length == len(self._recorded):
                raise _LedgerSaysUnfinished
            if firing.responder in self._answering:
                self._keep([self._as_recorded(self._recorded[self.recorder.length])])
            else:
                try:
                    self._finish(firing)
                except RefusedEvent as error:
                    raise self._raised(firing.responder, error) from error

    def _world_before(self, position: int) -> World:
        world = project(self._recorded[:position])
        world.context = self.recorder.world.context
        return world

    def _dispatch(self, event: RecordedEvent) -> bool:
        for handler in self._remaining(event):
            self._take_answer(event)
            if handler.handles(event, self.recorder.world):
                self._fire(handler, event, event)
        self._take_answer(event)
        return True

    def _fire(self, handler: Responder, event: RecordedEvent, subject: RecordedEvent) -> bool:
        if (event.id, handler.name) in self._parked:
            return True
        self._put_what_precedes(handler, event)
        while True:
            batch = Batch(self.recorder, event, handler.name)
            count = self._collected(batch, handler, event)
            if not count and not self.cursor.has_failed(event.id, handler.name):
                return True
            complete(batch, count or 0)
            if self._commit(batch, event):
                return True

    def _collected(self, batch: Batch, handler: Responder, event: RecordedEvent) -> int | None:
        try:
            return collect(
                batch, handler, self._outputs(handler, event, self.recorder.world), event
            )
        except (Exception, SystemExit) as error:
            if (event.id, handler.name) in self._failed:
                # It failed then, and was never mended: the ledger ends here.
                raise _LedgerSaysUnfinished from error
            raise self._raised(handler.name, error) from error

    def _raised(self, responder: str, error: BaseException) -> ReplayDivergence:
        position = self.recorder.length
        return ReplayDivergence(
            f"{self.recorder.source} diverges at position {position}: responder {responder!r} "
            f"raises {type(error).__name__}, and did not when it was recorded.",
            position=position,
            responder=responder,
            hint="Use the kit version that the run was recorded with.",
        )

    def _put_what_precedes(self, handler: Responder, event: RecordedEvent) -> None:
        """If the next recorded firing is this one, put in what is recorded before it."""
        begins = self._next_firing[min(self.recorder.length, len(self._recorded))]
        if begins == len(self._recorded):
            return
        about = self._recorded[begins].data
        if about["trigger"] == event.id and about["responder"] == handler.name:
            while self.recorder.length < begins:
                self._put_outside([])

    def _commit(self, batch: Batch, trigger: RecordedEvent) -> bool:
        """Record a batch that agrees with the ledger; False if it must be repeated."""
        start = self.recorder.length
        for offset, (event, _, _, _) in enumerate(batch.entries):
            position = start + offset
            if position < len(self._recorded) and _agree(self._recorded[position], event):
                continue
            if offset and position < len(self._recorded) and self._outside[position]:
                self._keep(batch.entries[:offset], is_outside=False)
                self._complete_cut_firing()
                return True
            self._put_outside([event])
            return False
        if batch.entries[0][0].type != RESPONDER_FIRED:
            self._keep(batch.entries, is_outside=False)
            return True
        events = self.recorder.record(batch.entries, is_outside=False)
        self.cursor.see_firing(trigger, events, self._is_met)
        self.recorder.save()
        return True

    def _is_met(self, type: str) -> bool:
        """Whether events of a type are met on the way: of bookkeeping that nobody handles, nothing."""
        return type not in BOOKKEEPING or bool(self.handlers.for_type(type))

    def _put_outside(self, instead: Sequence[RecordedEvent]) -> None:
        """Put in the next recorded event if no firing produced it, else report the divergence."""
        position = self.recorder.length
        expected = self._recorded[position] if position < len(self._recorded) else None
        if expected is not None and self._outside[position]:
            self._keep([self._as_recorded(expected)])
        elif expected is not None and self._is_answer(expected):
            self._take_firing()
        elif expected is None and self._recorded[-1].type in _UNFINISHED:
            raise _LedgerSaysUnfinished
        else:
            replayed = instead[0] if instead else None
            at = replayed.position if replayed is not None else position
            there = self._recorded[at] if at < len(self._recorded) else None
            raise divergence(there, replayed, at, self.recorder.source)

    def _take_answer(self, event: RecordedEvent) -> None:
        """If the ledger answers `event` here, take the answer from it."""
        position = self.recorder.length
        while position < len(self._recorded):
            expected = self._recorded[position]
            if not self._is_answer(expected) or expected.data["trigger"] != event.id:
                return
            self._take_firing()
            position = self.recorder.length

    def _is_answer(self, event: RecordedEvent) -> bool:
        return event.type == RESPONDER_FIRED and event.data["responder"] in self._answering

    def _take_firing(self) -> None:
        while True:
            event = self._recorded[self.recorder.length]
            self._keep([self._as_recorded(event)])
            if event.type == RESPONDER_COMPLETED or self.recorder.length == len(self._recorded):
                return

    def _as_recorded(self, event: RecordedEvent) -> Entry:
        try:
            staged = StagedWorld(self.recorder.world)
            is_default = self.recorder.has_default_id(event)
            return self.recorder.check(event, staged, {}, has_default_id=is_default)
        except RefusedEvent as error:
            msg = f"{self.recorder.source} holds an event that cannot be: {error.message}"
            raise ReplayDivergence(msg, position=event.position, hint=error.hint) from error

    def _keep(self, entries: Sequence[Entry], *, is_outside: bool = True) -> None:
        for event in self.recorder.record(entries, is_outside=is_outside):
            self.cursor.see(event)
        self.recorder.save()


def divergence(
    recorded: RecordedEvent | None, replayed: RecordedEvent | None, position: int, source: str
) -> ReplayDivergence:
    """Return the error for the first event in which replay and ledger differ."""
    found = differences(recorded, replayed) if recorded and replayed else []
    if recorded is None:
        what = f"the ledger ends, but the replay goes on with {_name(replayed)}"
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
    """Whether there are no `differences`: they mostly are equal, and that is told in less time."""
    return (
        recorded.encoded == replayed.encoded
        and recorded.lineage_key == replayed.lineage_key
        and recorded.id == replayed.id
        and recorded.type == replayed.type
        and recorded.actor == replayed.actor
        and recorded.cause == replayed.cause
    ) or not differences(recorded, replayed)


def differences(recorded: RecordedEvent, replayed: RecordedEvent) -> list[tuple[str, Any, Any]]:
    """Return ``(path, recorded value, replayed value)`` of each compared field that differs."""
    found: list[tuple[str, Any, Any]] = []
    for field in ("type", "actor", "cause", "id", "lineage_key"):
        old, new = getattr(recorded, field), getattr(replayed, field)
        if old != new:
            found.append((field, old, new))
    if recorded.encoded != replayed.encoded:
        _compare(_decided(recorded), _decided(replayed), "data", found)
    return found


def _decided(event: RecordedEvent) -> dict[str, Any]:
    return {name: value for name, value in event.data.items() if name != OBSERVED}


def _compare(old: Any, new: Any, path: str, found: list[tuple[str, Any, Any]]) -> None:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            if name in old and name in new:
                _compare(old[name], new[name], f"{path}.{name}", found)
            else:
                # Also where the value is null: a field that is missing is not the same JSON.
                found.append((f"{path}.{name}", old.get(name), new.get(name)))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, (before, after) in enumerate(zip(old, new, strict=True)):
            _compare(before, after, f"{path}[{i}]", found)
    # 1 and 1.0 and true are equal to Python, and are not the same JSON.
    elif old != new or type(old) is not type(new):
        found.append((path, old, new))


def _name(event: RecordedEvent | None) -> str:
    return f"{event.id} by {event.actor}" if event is not None else "nothing"


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
