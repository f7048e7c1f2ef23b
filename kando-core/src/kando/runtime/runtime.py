"""The runtime: runs responders on a ledger, loads its world, and replays it."""

# long: one class; half of it is the reference of its arguments.

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from kando.cache.llm import LLMCache
from kando.cache.recorded import cached_while_read
from kando.errors import KandoError, NoRootError, ProviderError, RunCancelled
from kando.ledger.interface import LedgerStore
from kando.ledger.upcast import upcast
from kando.responders import edge
from kando.responders.base import AnswerPending, KitTypes, Responder
from kando.responders.budget import Budget, BudgetEnforcer
from kando.runtime.approval_gate import OBSERVED_TYPES, ApprovalGate, judge_of
from kando.runtime.batch import Batch
from kando.runtime.call_pool import AcquireSlots
from kando.runtime.declared_types import DeclaredTypes
from kando.runtime.effects import Effects
from kando.runtime.handlers import Handlers
from kando.runtime.inbox import Inbox
from kando.runtime.loop import Loop
from kando.runtime.recorder import Recorder
from kando.runtime.timers import seconds_until_due
from kando.schema.events import (
    KIT_LOADED,
    RAISED,
    RETRIED,
    RUN_CANCELLED,
    RUN_PAUSED,
    RUN_RESUMED,
    SETTINGS,
    TOOL_SERVERS,
    KandoEvent,
    RecordedEvent,
    make_event,
)
from kando.schema.upcasting import Upcaster
from kando.views.firings import FIRING_ORDER
from kando.world.graph import World
from kando.world.projection import apply, project

if TYPE_CHECKING:
    from kando.responders.tool_context import Workspace
    from kando.views.progress import Progress
    from kando.world.snapshot import SnapshotStore

__all__ = ["DEFAULT_MAX_PAYLOAD_BYTES", "Runtime"]

#: Limit of one event's encoded data: 1 MiB.
DEFAULT_MAX_PAYLOAD_BYTES = 1024 * 1024

DEFAULT_MAX_PARALLEL_CALLS = 20

#: Maximum delay, in seconds, with which a follower in another process sees a run.
DEFAULT_SAVE_INTERVAL = 0.05

#: Seconds that a stopping run waits for the answers of calls that have started.
DEFAULT_PATIENCE_SECONDS = 60.0

#: Minimum number of events between two snapshots during a run.
DEFAULT_SNAPSHOT_INTERVAL = 5000


def _now() -> datetime:
    return datetime.now(UTC)


class Lineage(Protocol):
    """The ledgers that a branch descends from."""

    def answer_to(self, intent: KandoEvent) -> dict[str, Any] | None:
        """Return the data that answers an equal call of a parent, or None."""


class Runtime:
    """Runs responders on a ledger.

    The loop is synchronous and deterministic: the same seeds with the same responders give the same
    ledger and the same world, except for timestamps and ``data["observed"]``.

    Args:
        ledger: of the run; the runtime is its only writer while it runs.
        responders: in registration order.
        budget: limits of the run; none if omitted.
        cache: answers requests that were answered before; if omitted, the runtime has its own, in
            memory. ``LLMCache(max_entries=0)`` stores no answers.
        kits: kits whose declared types are checked, in addition to those of the responders.
        edge_logic: edge logic in addition to that among `responders`; if omitted, the functions
            that ``@kando.responders.edge.edge_logic`` registered in this process.
        max_payload_bytes: limit of one event's encoded data.
        max_parallel_calls: how many calls to the outside may be in flight at once.
        save_interval: recorded events are saved after this many seconds at the latest, so that
            followers see a run live; 0 saves each firing separately. All events are always saved
            before a call to the outside, after its answer and at the end.
        inbox: messages to the run; they are recorded between firings.
        clock: returns the time of recording, timezone-aware; timers use it too.
        checks_purity: debug mode: refuse plain responders that use a clock, a random generator or
            a socket, or change the world. Slow: meant for tests.
        cache_from: position of the first event whose answer goes into the cache.
        kit_loaded: data of the ``kit.loaded`` event for the current kit. It is recorded if the last
            one in the ledger names another kit or version.
        upcasters: upgrade old versions of events, in addition to those of the kits.
        snapshots: stores the snapshot of the ledger, to load and resume faster; no snapshots if
            omitted.
        snapshot_interval: minimum number of events between two snapshots during a run; at its end a
            snapshot is stored if that saves time.
        require_claim: called before each append and each call to the outside; it raises if another
            process has taken over the run. No check if omitted.
        acquire_slots: makes the limits of executors and tools (``max_parallel``) hold for all
            processes of a store. They hold for this runtime if omitted.
        lineage: of a branch: its parents' answers to equal calls are served, and a tool that writes
            is not called for any other call unless a person approves it.
        allows_writes: call tools that write on a branch, too.
        patience_seconds: how long a run that stops waits for each call in flight that has no time
            limit of its own.
        workspace: of the run, for tools that use it (`kando.runtime.workspace.Workspace`).

    Raises:
        ConfigurationError: two responders have the same name, two kits declare a type differently,
            or the upcasters of a type have a gap.
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
        cache_from: int = 0,
        kit_loaded: dict[str, Any] | None = None,
        upcasters: Iterable[Upcaster] = (),
        snapshots: SnapshotStore | None = None,
        snapshot_interval: int = DEFAULT_SNAPSHOT_INTERVAL,
        lineage: Lineage | None = None,
        allows_writes: bool = False,
        require_claim: Callable[[], None] | None = None,
        acquire_slots: AcquireSlots | None = None,
        patience_seconds: float = DEFAULT_PATIENCE_SECONDS,
        workspace: Workspace | None = None,
    ) -> None:
        self.responders = list(responders)
        every_kit = [*kits, *(each.kit for each in self.responders if each.kit is not None)]
        steps = [*upcasters]
        for kit in {id(kit): kit for kit in every_kit}.values():
            steps += getattr(kit, "upcasters", ())
        self.ledger = upcast(ledger, steps)
        self.budget = budget or Budget()
        self.cache = LLMCache() if cache is None else cache
        self._edge_logic = edge.registered() if edge_logic is None else list(edge_logic)
        self._max_payload_bytes = max_payload_bytes
        self._max_parallel_calls = max_parallel_calls
        self._save_interval = save_interval
        self._inbox = inbox or Inbox()
        self._clock = clock
        self._checks_purity = checks_purity
        self._cache_from = cache_from
        self._kit_loaded = kit_loaded
        self._snapshots = snapshots
        self._snapshot_interval = snapshot_interval
        self._lineage, self._allows_writes = lineage, allows_writes
        self._require_claim = require_claim or (lambda: None)
        self._acquire_slots = acquire_slots
        self._patience_seconds = patience_seconds
        self._workspace = workspace
        self._types = DeclaredTypes(every_kit)
        kits_once = {id(kit): kit for kit in every_kit}.values()
        self._policies = [policy for kit in kits_once for policy in kit.policies]
        self._loop: Loop | None = None
        # Created now, not at the first run, so that an invalid configuration is reported at once.
        self._handlers = self._handlers_with(ApprovalGate(self._policies, ""))

    def run(self, seed_events: Sequence[KandoEvent]) -> World:
        """Record seeds at the tail of the ledger and work until the run is idle.

        On a ledger that already has events, pending work is done first. All events are on disk when
        this returns. If a limit of the budget stops the run, it ends with ``budget.exhausted``; to
        resume it, call ``run([])`` of a runtime with a larger budget.

        Args:
            seed_events: usually root events; empty to resume pending work.

        Raises:
            RefusedEvent: a seed must not be recorded; then none of them is.
            RunCancelled: the run was cancelled.
            ConcurrencyError: another writer appended to the ledger.
            Exception: the exception of a responder, after ``responder.failed`` is recorded.
        """
        loop = self._opened()
        patience = self._patience_seconds
        account = loop.recorder.account
        account.start()
        try:
            self._resume(loop)
            # An answer that another process gives stops the run, like an intent without executor.
            is_done = False
            with suppress(AnswerPending):
                is_done = loop.run()
                if seed_events and (is_done := loop.committer.deliver(seed_events)):
                    # Durable before anything fires: the caller may have no other copy of them.
                    loop.committer.flush()
                    is_done = loop.run()
            if loop.cursor.pending.halted_by == RUN_CANCELLED:
                loop.end_cancelled(patience)
            elif loop.cursor.pending.halted_by == RUN_PAUSED or loop.committer.is_exhausted:
                loop.intents.record_lost(patience, RETRIED)
                loop.committer.repeat_exhaustion()
            loop.committer.flush()
            loop.intents.drop_answers(patience)
            if loop.committer.snapshots is not None:
                recorder, kit = loop.recorder, self._kit_loaded if is_done else None
                loop.committer.snapshots.finish(recorder.world, recorder.length, kit)
        except BaseException as error:
            # Recorded events are kept; the next run recovers from the ledger.
            self._loop = None
            loop.committer.flush()
            if _is_of_call(error):
                # A failure here must not hide the reason why the run stops.
                with suppress(Exception):
                    loop.intents.record_lost(patience, RAISED)
                    loop.committer.flush()
            raise
        finally:
            account.stop()
            loop.intents.effects.close(patience)
        return loop.recorder.world

    def unpause(self) -> None:
        """Record ``run.resumed`` if the run is paused.

        Raises:
            RunCancelled: the run was cancelled.
            ConcurrencyError: another writer appended to the ledger.
        """
        loop = self._opened()
        if loop.cursor.pending.halted_by == RUN_CANCELLED:
            msg = f"{self.ledger.stream_name()} was cancelled."
            raise RunCancelled(msg, hint="Fork it to continue from any position.")
        if loop.cursor.pending.halted_by == RUN_PAUSED:
            loop.committer.deliver([make_event(RUN_RESUMED, "", "runtime", [], {})], is_own=True)
            loop.committer.flush()

    def _resume(self, loop: Loop) -> None:
        """Record that the run continues, and with which kit; an answer to a cancelled run is kept."""
        try:
            self.unpause()
        except RunCancelled:
            loop.end_cancelled(0.0)
            raise
        self._record_kit(loop)

    def _record_kit(self, loop: Loop) -> None:
        """Record ``kit.loaded`` if another kit or version worked on the run before."""
        data = self._changed_kit(loop)
        if data is not None:
            event = make_event(KIT_LOADED, "", "runtime", [], data)
            loop.committer.deliver([event], is_own=True)

    def _changed_kit(self, loop: Loop) -> dict[str, Any] | None:
        """Return the data of the ``kit.loaded`` that a resume records first, or None."""
        kit_loaded, known = self._kit_loaded, loop.cursor.kit
        if kit_loaded is None or known is None:
            return None
        compared = ["name", "version", "distribution"]
        # Before 0.2 a kit.loaded did not list the responders.
        compared += [FIRING_ORDER] if FIRING_ORDER in known else []
        compared += [TOOL_SERVERS] if TOOL_SERVERS in kit_loaded else []
        if all(kit_loaded.get(each) == known.get(each) for each in compared):
            return None
        is_demo = known.get("demo") is True and known.get("name") == kit_loaded.get("name")
        return {**kit_loaded, "demo": True} if is_demo else kit_loaded

    def seconds_until_due(self) -> float | None:
        """Return the seconds until the next timer or deadline of the run is due, or None."""
        loop = self._opened()
        return seconds_until_due(loop.waiting_for_time(), loop.recorder.clock())

    @property
    def is_halted(self) -> bool:
        """Whether the run is paused or cancelled."""
        return self._opened().cursor.pending.halted_by is not None

    @property
    def is_cancelled(self) -> bool:
        """Whether the run is cancelled."""
        return self._opened().cursor.pending.halted_by == RUN_CANCELLED

    @property
    def is_exhausted(self) -> bool:
        """Whether a limit of the budget has stopped the run."""
        return self._opened().committer.is_exhausted

    def progress(self) -> Progress | None:
        """Return what the run has done so far. Any thread may call this while another one works.

        It is that of the saved events, so at most as old as `save_interval`.

        Returns:
            None while the ledger is read, after a failure, and for a runtime without snapshots.
        """
        loop = self._loop
        fold = loop.committer.snapshots.status if loop and loop.committer.snapshots else None
        if loop is None or fold is None:
            return None
        from kando.views.progress import progress_of

        effects = loop.intents.effects
        return progress_of(fold, effects.calls_in_flight, effects.last_progress)

    def open_intents(self) -> list[RecordedEvent]:
        """Return the recorded intents without an answer, in order."""
        return list(self._opened().cursor.pending.intents.values())

    def open_calls(self) -> list[RecordedEvent]:
        """Return the open intents whose calls may run now, in parallel.

        Intents that wait for a person, equal another of them, or might exceed a limit of the budget
        are left out. The list is empty if a limit has stopped the run.
        """
        return self._opened().intents.open_calls()

    def executor_of(self, intent: RecordedEvent) -> Responder | None:
        """Return the executor that is to answer an open intent; None if it must stay open."""
        return self._opened().intents.executor_of(intent)

    def parking_event(
        self, event_id: str, responder: str, reason: str | None = None, by: str = "runtime"
    ) -> KandoEvent:
        """Return the event that has the run step over a pending firing, once it is recorded.

        Args:
            event_id: of the event that is handled.
            responder: that handles it.
            reason: why it is parked, if given.
            by: who parks it.

        Raises:
            EventNotFound: the ledger has no such event.
            NotFoundError: no such responder handles the event.
            InvalidData: the firing is not pending: it is done, parked, or waits for a person.
        """
        return self._opened().parking.event(event_id, responder, reason, by)

    def record_returned(self) -> None:
        """If the run is cancelled, record the answers of calls that were begun, and clean up."""
        loop = self._opened()
        if loop.cursor.pending.halted_by == RUN_CANCELLED:
            loop.end_cancelled(0.0)

    def record_labels(self) -> None:
        """Record the changes of labels that wait in the inbox; no other work is done.

        Raises:
            ConcurrencyError: another writer appended to the ledger.
        """
        loop = self._opened()
        loop.messages.read_labels()
        loop.committer.flush()

    def record(
        self, events: Sequence[KandoEvent], *, is_own: bool = False, is_external: bool = False
    ) -> list[RecordedEvent]:
        """Record events at the tail of the ledger without handling them yet.

        Args:
            events: in order.
            is_own: whether they may be of the types that only the runtime records.
            is_external: whether they come from outside the kit, so that its policies judge them, one
                after the other: then an ``approval.requested`` may be recorded in place of one.

        Returns:
            The events as recorded; empty if a limit of the budget forbids them.

        Raises:
            RefusedEvent: one of them must not be recorded; then none of them is.
            ConcurrencyError: another writer appended to the ledger.
        """
        loop = self._opened()
        start = loop.recorder.length
        if is_external:
            if not all(loop.messages.admit(event) for event in events):
                return []
        elif not loop.committer.deliver(events, is_own=is_own):
            return []
        loop.committer.flush()
        return list(self.ledger.read(start))

    def check(self, event: KandoEvent) -> None:
        """Check whether an event from outside could be recorded now, without recording it.

        Raises:
            RefusedEvent: it must not be recorded.
        """
        loop = self._opened()
        admitted = loop.gate.admit(event, loop.recorder.world)
        Batch(loop.recorder, is_own=True).add(admitted)

    def load(self) -> World:
        """Return the world of the ledger, without firing any responder.

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
        if not self._snapshots:
            return None
        from kando.world.snapshot import load_snapshot

        found = load_snapshot(self.ledger, self._snapshots)
        if found is None:
            return None
        for event in self.ledger.read(found.position):
            apply(found.world, event)
        return found.world

    def has_pending_work(self) -> bool:
        """Whether `run` would record anything; answers that need another process do not count.

        Plain responders are fired to find out, but nothing is recorded.
        """
        loop = self._opened()
        # A responder of a new version handles no event from before the version is loaded.
        if (loaded := self._changed_kit(loop)) is not None:
            loop.cursor.observe_kit(loop.recorder.length, loaded)
        pending = loop.has_pending_work()
        self._loop = None
        return pending

    def replay(self, strict: bool = False) -> World:
        """Return the world, projected again from the ledger.

        Args:
            strict: re-fire the responders from the root events, with recorded LLM and tool
                results, and compare every event with the ledger.

        Raises:
            NoRootError: the ledger has events, but no root event.
            ReplayDivergence: a strict replay produced a different event.
        """
        self._require_root()
        if strict:
            # Not at the top: most runtimes never replay.
            from kando.runtime.strict_replay import replay_strictly

            world = replay_strictly(
                self.ledger, self._edge_logic, self.responders, self._types, self._policies
            )
        else:
            world = project(self.ledger.read_all())
        world.context["cache"] = self.cache
        return world

    def _handlers_with(self, gate: ApprovalGate) -> Handlers:
        return Handlers(self._edge_logic, [gate.responder(), *self.responders])

    def _require_root(self) -> None:
        events = self.ledger.read_all()
        first = next(events, None)
        if first is not None and not first.is_root and not any(e.is_root for e in events):
            msg = f"{self.ledger.stream_name()} has no root event: every event has a cause."
            raise NoRootError(msg, hint="Start it from a seed without a cause.")

    def _opened(self) -> Loop:
        """Return the loop at the tail of the ledger; recover it if another writer has appended."""
        if self._loop is not None and self._loop.recorder.length == self.ledger.length():
            return self._loop
        with _without_collector():
            loop = self._recovered()
        if loop.cursor.kit is not None:
            # Also if the world comes from a snapshot, which has no settings.
            loop.recorder.world.kit_settings = loop.cursor.kit.get(SETTINGS) or {}
            loop.recorder.world.tool_servers = loop.cursor.kit.get(TOOL_SERVERS) or {}
        self._loop = loop
        return loop

    def _recovered(self) -> Loop:
        if self._snapshots is None:
            loop, items = self._new_loop(), self.ledger.read_firings()
            loop.recover(cached_while_read(items, self.cache, self._cache_from))
            return loop
        # Not at the top: a runtime without snapshots needs no views.
        from kando.runtime.snapshots import Snapshots

        snapshots = Snapshots(
            self.ledger, self._snapshots, self._snapshot_interval, self.cache, self._cache_from
        )
        return snapshots.recover(self._new_loop)

    def _new_loop(self) -> Loop:
        """Return a loop that has observed no event of the ledger."""
        account = BudgetEnforcer(self.budget)
        recorder = Recorder(
            self.ledger,
            self._types,
            account,
            max_payload_bytes=self._max_payload_bytes,
            clock=self._clock,
        )
        recorder.world.context["cache"] = self.cache
        recorder.before_save = self._require_claim
        effects = Effects(
            self._max_parallel_calls,
            lambda call, answer: loop.intents.keep(call, answer),
            lambda intent: loop.intents.known_answer(intent),
            self._require_claim,
            self._acquire_slots,
            recorder.source,
            self._workspace,
        )
        gate = ApprovalGate(self._policies, recorder.source, recorder)
        if any(policy.takes_world for policy in self._policies):
            gate.judge = judge_of(self._kit_loaded, self._policies)
        loop = Loop(
            recorder,
            self._handlers_with(gate),
            effects,
            gate,
            self._save_interval,
            self._inbox,
            checks_purity=self._checks_purity,
        )
        gate.executor_of = loop.intents.executor_of
        if self._lineage is not None:
            loop.intents.lineage = self._lineage.answer_to
            if not self._allows_writes:
                gate.asks_on_branch = loop.intents.asks_on_branch
        recorder.on_recorded, recorder.observed_types = gate.observe, OBSERVED_TYPES
        return loop


@contextmanager
def _without_collector() -> Iterator[None]:
    """Pause the garbage collector while a ledger is recovered: most of what it creates stays."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _is_of_call(error: BaseException) -> bool:
    """Whether an error comes from a provider or a responder, and the ledger can still be written."""
    is_kandos = isinstance(error, KandoError) and not isinstance(error, ProviderError)
    return isinstance(error, Exception) and not is_kandos
