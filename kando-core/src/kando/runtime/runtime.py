"""The runtime: a ledger, the responders that react to it, and what they may use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from kando.cache.llm import LLMCache
from kando.errors import NoRootError, RunCancelled
from kando.ledger.interface import LedgerStore
from kando.ledger.upcast import upcast
from kando.responders import edge
from kando.responders.base import AnswerPending, KitTypes, Responder
from kando.responders.budget import Budget, BudgetEnforcer
from kando.responders.llm_executor import remember
from kando.runtime.approval_gate import Gate
from kando.runtime.declared_types import DeclaredTypes
from kando.runtime.effects import Effects
from kando.runtime.handlers import Handlers
from kando.runtime.inbox import Inbox
from kando.runtime.loop import Loop
from kando.runtime.recorder import Recorder
from kando.runtime.snapshots import Snapshots
from kando.runtime.strict_replay import replay_strictly
from kando.runtime.timers import seconds_until_due
from kando.schema.events import (
    KIT_LOADED,
    LLM_REQUEST,
    LLM_RESPONSE,
    RUN_CANCELLED,
    RUN_PAUSED,
    RUN_RESUMED,
    KandoEvent,
    RecordedEvent,
    make_event,
)
from kando.schema.upcasting import Upcaster
from kando.world.graph import World
from kando.world.projection import apply, project
from kando.world.snapshot import SnapshotStore, load_snapshot

__all__ = ["DEFAULT_MAX_PAYLOAD_BYTES", "Runtime"]

#: Limit of one event's encoded data: 1 MiB.
DEFAULT_MAX_PAYLOAD_BYTES = 1024 * 1024

DEFAULT_MAX_PARALLEL_CALLS = 20

#: Seconds; a follower in another process sees a run with this delay at most.
DEFAULT_SAVE_INTERVAL = 0.05

#: Seconds that a run which stops waits for the answers of calls that have started.
_PATIENCE = 60.0


#: Events between two snapshots during a run, at least.
DEFAULT_SNAPSHOT_INTERVAL = 5000


def _now() -> datetime:
    return datetime.now(UTC)


class Runtime:
    """Run responders over a ledger.

    The loop is synchronous and deterministic: the same seeds through the same responders give the
    same ledger and the same world, timestamps and ``data["observed"]`` aside.

    Args:
        ledger: what exists; the runtime is its only writer while it runs.
        responders: in registration order.
        budget: limits of the run; none if omitted.
        cache: answers requests that were answered before; no caching if omitted.
        kits: kits whose declared types are checked, beside those of the responders.
        edge_logic: edge logic that acts beside that among `responders`; what bare ``@edge_logic``
            decorators attached in this process if omitted.
        max_payload_bytes: limit of one event's encoded data.
        max_parallel_calls: how many calls to the outside may be in flight at once.
        save_interval: seconds after which recorded events are saved at the latest, so that
            followers see a run live; 0 saves each firing on its own. Before a call to the outside,
            after its answer and at the end everything is saved in any case.
        inbox: what others say to the run; it is recorded between firings.
        clock: returns the time of recording, timezone-aware; timers go by it.
        checks_purity: debug mode: refuse plain responders that ask a clock, a random generator or
            a socket, or change the world. Slow: meant for tests.
        remembers_from: position from which on the ledger's answers belong into the cache.
        loaded: data of the ``kit.loaded`` that tells of the kit at work. It is recorded when the
            ledger says that another kit, or another version, worked on the run before.
        upcasters: bring up old versions of events, beside those of the kits.
        snapshots: where the snapshot of the ledger is kept, to load faster; nowhere if omitted.
        snapshot_interval: how many events pass at least between two snapshots during a run; at its
            end one is kept in any case that it pays.

    Raises:
        ConfigurationError: two responders have one name, two kits declare one type differently, or
            the upcasters of a type have a gap.
    """

    def __init__(
        self,
        ledger: LedgerStore,
        responders: Sequence[Responder],
        budget: Budget | None = None,
        cache: LLMCache | None = None,
        *,
        kits: Iterable[KitTypes] = (),
        edge_logic: Iterable[Responder] | None = None,
        max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES,
        max_parallel_calls: int = DEFAULT_MAX_PARALLEL_CALLS,
        save_interval: float = DEFAULT_SAVE_INTERVAL,
        inbox: Inbox | None = None,
        clock: Callable[[], datetime] = _now,
        checks_purity: bool = False,
        remembers_from: int = 0,
        loaded: dict[str, Any] | None = None,
        upcasters: Iterable[Upcaster] = (),
        snapshots: SnapshotStore | None = None,
        snapshot_interval: int = DEFAULT_SNAPSHOT_INTERVAL,
    ) -> None:
        self.responders = list(responders)
        every_kit = [*kits, *(each.kit for each in self.responders if each.kit is not None)]
        steps = [*upcasters]
        for kit in {id(kit): kit for kit in every_kit}.values():
            steps += getattr(kit, "upcasters", ())
        self.ledger = upcast(ledger, steps)
        self.budget = budget or Budget()
        self.cache = cache
        self._edge_logic = edge.registered() if edge_logic is None else list(edge_logic)
        self._max_payload_bytes = max_payload_bytes
        self._max_parallel_calls = max_parallel_calls
        self._save_interval = save_interval
        self._inbox = inbox
        self._clock = clock
        self._checks_purity = checks_purity
        self._remembers_from = remembers_from
        self._loaded = loaded
        self._snapshots = snapshots
        self._snapshot_interval = snapshot_interval
        self._types = DeclaredTypes(every_kit)
        kits_once = {id(kit): kit for kit in every_kit}.values()
        self._policies = [policy for kit in kits_once for policy in kit.policies]
        self._loop: Loop | None = None
        # Now, not at the first run: what cannot work is refused where it was written.
        self._handlers = self._handled_by(Gate(self._policies, "") if self._policies else None)

    def run(self, seed_events: Sequence[KandoEvent]) -> World:
        """Record seeds at the tail of the ledger and work until nothing is left to do.

        On a ledger that has events already, what is pending there is done first. The end of the
        run is on disk when this returns. A run that a limit of the budget stops ends with
        ``budget.exhausted``; call ``run([])`` of a runtime with more to go on.

        Args:
            seed_events: root events, usually; may be empty, to go on with what is pending.

        Raises:
            RefusedEvent: a seed must not be recorded; none is.
            RunCancelled: the run was cancelled.
            ConcurrencyError: another writer appended to the ledger.
            Exception: whatever a responder raised, after ``responder.failed`` is recorded.
        """
        loop = self._opened()
        patience = _PATIENCE
        account = loop.recorder.account
        account.start()
        try:
            self.unhalt()
            self._tell_of_kit(loop)
            # In front of an answer that comes later a run stops as if nobody were there to give it.
            is_done = False
            with suppress(AnswerPending):
                is_done = loop.run()
                if seed_events:
                    is_done = loop.deliver(seed_events) and loop.run()
            loop.recorder.save()
            if loop.snapshots is not None:
                recorder, kit = loop.recorder, self._loaded if is_done else None
                loop.snapshots.finished(recorder.world, recorder.length, kit)
        except BaseException as error:
            # What is recorded is kept; the next run goes on from what the ledger then says.
            self._loop = None
            if not isinstance(error, Exception):
                patience = 0.0
            loop.recorder.save()
            raise
        finally:
            account.stop()
            loop.effects.close(loop.recorder.world, patience)
        return loop.recorder.world

    def unhalt(self) -> None:
        """Record that a run goes on, if somebody has paused it.

        Raises:
            RunCancelled: the run was cancelled.
            ConcurrencyError: another writer appended to the ledger.
        """
        loop = self._opened()
        if loop.cursor.halted_by == RUN_CANCELLED:
            msg = f"{self.ledger.stream_name()} was cancelled."
            raise RunCancelled(msg, hint="Fork it to go on from any position.")
        if loop.cursor.halted_by == RUN_PAUSED:
            loop.deliver([make_event(RUN_RESUMED, "", "runtime", [], {})])
            loop.recorder.save()

    def _tell_of_kit(self, loop: Loop) -> None:
        """Record it if what works on the run from here on is not what did before."""
        loaded, known = self._loaded, loop.kit
        if loaded is None or known is None:
            return
        if any(loaded.get(each) != known.get(each) for each in ("name", "version", "distribution")):
            loop.deliver([make_event(KIT_LOADED, "", "runtime", [], loaded)])
            loop.kit = loaded

    def seconds_until_due(self) -> float | None:
        """Return the seconds until the run's next timer is due, or None if none is set."""
        loop = self._opened()
        return seconds_until_due(loop.cursor.open_timers.values(), loop.recorder.clock())

    @property
    def is_halted(self) -> bool:
        """Whether somebody has paused or cancelled the run."""
        return self._opened().cursor.halted_by is not None

    def open_intents(self) -> list[RecordedEvent]:
        """Return the recorded intents that have no answer, in order."""
        return list(self._opened().cursor.open_intents.values())

    def open_calls(self) -> list[RecordedEvent]:
        """Return those of `open_intents` that want a call, and may be called side by side.

        What waits for a person is not among them, nor what is equal to one of them, nor what might
        pass a limit of the budget. None is if a limit has stopped the run.
        """
        return self._opened().open_calls()

    def record(self, events: Sequence[KandoEvent]) -> list[RecordedEvent]:
        """Record events at the tail of the ledger without reacting to them yet.

        Returns:
            The events as recorded; empty if a limit of the budget forbids them.

        Raises:
            RefusedEvent: one must not be recorded; none is.
            ConcurrencyError: another writer appended to the ledger.
        """
        loop = self._opened()
        start = loop.recorder.length
        if not loop.deliver(events):
            return []
        loop.recorder.save()
        return list(self.ledger.read(start))

    def load(self) -> World:
        """Return the world as the ledger has it, firing nothing.

        Its ``context["cache"]`` is the runtime's cache.
        """
        self._loop = None
        world = self._from_snapshot()
        if world is None:
            return self._opened().recorder.world
        world.context["cache"] = self.cache
        return world

    def _from_snapshot(self) -> World | None:
        """Return the world from the snapshot and the events after it; None without a snapshot."""
        found = load_snapshot(self.ledger, self._snapshots) if self._snapshots else None
        if found is None:
            return None
        for event in self.ledger.read(found.position):
            apply(found.world, event)
        return found.world

    def has_pending_work(self) -> bool:
        """Whether `run` would record anything, apart from answers that nobody is there to give.

        Plain responders are fired to find out, and nothing of it is recorded.
        """
        loop = self._opened()
        pending = loop.has_pending_work()
        self._loop = None
        return pending

    def replay(self, strict: bool = False) -> World:
        """Return the world, projected anew from the ledger.

        Args:
            strict: re-fire the responders from the root events, with recorded LLM and tool
                results, and compare every event with the ledger's.

        Raises:
            NoRootError: the ledger has events, but none that started anything.
            ReplayDivergence: strictly replayed, an event came out differently.
        """
        self._require_root()
        if strict:
            world = replay_strictly(
                self.ledger, self._edge_logic, self.responders, self._types, self._policies
            )
        else:
            world = project(self.ledger.read_all())
        world.context["cache"] = self.cache
        return world

    def _handled_by(self, gate: Gate | None) -> Handlers:
        first = [gate.responder()] if gate is not None else []
        return Handlers(self._edge_logic, [*first, *self.responders])

    def _require_root(self) -> None:
        events = self.ledger.read_all()
        first = next(events, None)
        if first is not None and not first.is_root and not any(e.is_root for e in events):
            msg = f"{self.ledger.stream_name()} has no root event: every event names a cause."
            raise NoRootError(msg, hint="Start it from a seed whose cause is empty.")

    def _opened(self) -> Loop:
        """Return the loop at the ledger's tail, recovering it if the ledger moved on without it."""
        if self._loop is not None and self._loop.recorder.length == self.ledger.length():
            return self._loop
        account = BudgetEnforcer(self.budget)
        recorder = Recorder(
            self.ledger,
            self._types,
            account,
            max_payload_bytes=self._max_payload_bytes,
            clock=self._clock,
        )
        recorder.world.context["cache"] = self.cache
        effects = Effects(self._max_parallel_calls)
        gate = Gate(self._policies, recorder.source, recorder) if self._policies else None
        loop = Loop(
            recorder,
            self._handled_by(gate) if gate is not None else self._handlers,
            effects,
            self._save_interval,
            self._inbox,
            checks_purity=self._checks_purity,
        )
        if gate is not None:
            loop.gate = gate
            recorder.watch = gate.see
        events: Iterable[RecordedEvent] = self.ledger.read_all()
        if self._snapshots is not None:
            loop.snapshots = Snapshots(
                self.ledger, self._snapshots, self._snapshot_interval, recorder.position_of
            )
            recorder.saved = loop.snapshots.see
            events = loop.snapshots.recovering(events)
        loop.recover(self._remembering(events, recorder.world))
        self._loop = loop
        return loop

    def _remembering(
        self, events: Iterable[RecordedEvent], world: World
    ) -> Iterable[RecordedEvent]:
        """Pass events on, giving the cache the answers among them: it is a fold over the ledger."""
        asked: dict[str, RecordedEvent] = {}
        for event in events:
            if self.cache is not None and event.position >= self._remembers_from:
                if event.type == LLM_REQUEST:
                    asked[event.id] = event
                elif event.type == LLM_RESPONSE and event.cause:
                    intent = asked.pop(event.cause[0], None)
                    if intent is not None:
                        remember(intent, event.data, world)
            yield event
