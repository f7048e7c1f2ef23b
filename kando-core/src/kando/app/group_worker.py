"""A worker of a responder group: it resumes runs, and makes their calls to models and tools.

The thread that calls `GroupWorker.work` takes the jobs, resumes runs and hands over what came of each job.
Calls are made in threads of their own, side by side: any number of calls to models up to a limit, but one
call to a tool at a time, since a tool may compute, and other workers have processors of their own.

When a call has returned, one step of the group delivers its answer, finishes the job and offers the run
to be resumed (`ResponderGroup.hand_over`). The same worker takes the run at once if it may: it has kept the
runtime, which is still at the end of the ledger. The answer takes the way of every answer, through the
inbox of the run, so it makes no difference which worker made the call.
"""

# long: a job from the queue to what follows from it, in one place.

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import TypeVar

import attrs

from kando.app.children import deliver_end, is_open, parent_is_paused, start_of
from kando.app.claims import RunClaim, busy, seconds_now
from kando.app.context import Context, id_of
from kando.app.inbox import answer_key, failure_key
from kando.app.observers import Observation
from kando.app.opened import OpenedRun
from kando.app.providers import Provider, choose_provider
from kando.app.resume import answered_elsewhere, provider_of, runtime_of, work
from kando.app.slots import StoreSlots
from kando.app.status import WAITING, status_of
from kando.app.tool_servers import GivenServers
from kando.app.workspace import workspace_of
from kando.errors import ConcurrencyError, ConfigurationError, EventNotFound, RunBusy, StoreError
from kando.kit import Kit
from kando.ledger.claims import this_process
from kando.ledger.groups import HandOver, Job, Lease, ResponderGroup
from kando.ledger.inbox import InboxEntry
from kando.ledger.interface import LedgerStore
from kando.responders.base import Responder
from kando.responders.budget import Budget
from kando.responders.tool_context import Workspace
from kando.runtime import Runtime
from kando.runtime.answers import recordable
from kando.runtime.call_pool import Call
from kando.runtime.effects import Effects
from kando.runtime.failure import failure_data, lacks_handles, with_place
from kando.runtime.runtime import DEFAULT_MAX_PARALLEL_CALLS, DEFAULT_MAX_PAYLOAD_BYTES
from kando.schema.events import (
    RESPONDER_FAILED,
    RETRIED,
    RUN_REQUESTED,
    TOOL_CALLED,
    RecordedEvent,
    make_event,
)
from kando.views.pending import Pending, track
from kando.world.graph import World

__all__ = ["GroupWorker"]

#: Seconds without a sign of life after which another worker takes a job.
LEASE_SECONDS = 30.0

_IDLE_SECONDS = 0.1

# Delay before a failed call is retried: 1 s, 2 s, 4 s, ...
_RETRY_SECONDS = 1.0

# Delay before a job is tried again whose run a process outside the group works on.
_BUSY_SECONDS = 1.0

# Delay before a retry if another worker wrote to the ledger first.
_CONFLICT_SECONDS = 0.2

# `until_idle` waits for jobs that are due this soon, which covers every delay above.
_SOON_SECONDS = 10.0

# Answers that arrive within this time are handed over in one step.
_GATHER_SECONDS = 0.002

# A worker resumes a run directly after its calls for this time; then other runs have their turn.
_TURN_SECONDS = 1.0

# How many runtimes of runs that wait for answers a worker keeps, and how many events they may have in all.
_MAX_KEPT, _MAX_KEPT_EVENTS = 32, 100_000

Result = TypeVar("Result")


class _LaneFull(Exception):
    """As many calls of a tool or provider as it allows are in flight, here or elsewhere."""


class _JobLost(Exception):
    """Another worker has taken the job, because its lease ended while this process was suspended."""


@attrs.frozen(eq=False)
class _Held:
    """A job that this worker has taken; `since` is when its turn began."""

    lease: Lease
    since: float

    @property
    def job(self) -> Job:
        return self.lease.job


@attrs.define(eq=False)
class _Kept:
    """The runtime of a run and what belongs to it, kept between two of its jobs."""

    claim: RunClaim
    observation: Observation
    #: The executors as they make calls, by name.
    executors: dict[str, Responder] = attrs.field(factory=dict)
    runtime: Runtime | None = None
    #: That of the ledger when the runtime was left: if it differs, another process has worked on the run.
    length: int = -1
    #: The calls that were open then, by intent.
    calls: dict[str, RecordedEvent] = attrs.field(factory=dict)

    def close(self) -> None:
        self.observation.__exit__(None, None, None)


@attrs.frozen(eq=False)
class _Call:
    """A call that is to be made, or is in flight.

    Attributes:
        held: the job.
        intent: as it is sent.
        executor: makes it.
        length: of the ledger when it was known to be open.
    """

    held: _Held
    intent: RecordedEvent
    executor: Responder
    length: int


@attrs.frozen(eq=False)
class _Returned:
    """A call that has ended.

    Attributes:
        call: that has ended.
        entries: to deliver.
        is_done: whether its job is done; otherwise it was postponed, retried or parked.
        error: ends the worker.
    """

    call: _Call
    entries: Sequence[tuple[str, InboxEntry]] = ()
    is_done: bool = False
    error: BaseException | None = None


class GroupWorker:
    """One of the workers of a group.

    Args:
        context: the plugins, the settings and the substrate.
        group: name of the group.
        kit: name of the kit whose runs it works on; any installed one if None.
        llm: ``provider`` or ``provider:argument``, or an open provider, which stays open; if None,
            the provider that each run was started or forked with, or that of the environment.
        budget: limits of each run, in addition to those that its ledger remembers.
        lease_seconds: seconds without a sign of life after which another worker takes a job.
        max_parallel_calls: how many calls may be in flight at once; one of them to a tool.
        mcp: how to connect to MCP servers that were added to runs, by name.
        report: receives a line for each failed attempt, each parked job, and delayed jobs that remain.
    """

    def __init__(
        self,
        context: Context,
        group: str,
        *,
        kit: str | None = None,
        llm: str | Provider | None = None,
        budget: Budget | None = None,
        lease_seconds: float = LEASE_SECONDS,
        max_parallel_calls: int = DEFAULT_MAX_PARALLEL_CALLS,
        report: Callable[[str], None] = lambda line: None,
        mcp: GivenServers | None = None,
    ) -> None:
        self._context = context
        context.tool_servers.give(mcp or {})
        self._kit = kit
        self._llm = llm
        # Opened once, for all jobs; None until the first job needs it.
        self._providers: dict[tuple[str | None, str], Provider | None] = {}
        if isinstance(llm, str):
            self._providers[llm, ""] = choose_provider(
                llm, context.plugins, context.environ, options=context.llm_options
            )
        self._budget = budget or Budget()
        self._lease_seconds = lease_seconds
        self._report = report
        self._substrate = context.substrate(read_only=False)
        self._group: ResponderGroup = self._substrate.group(group)
        self._slots = StoreSlots(context, group)
        self._is_stopping = threading.Event()
        self._max_calls = max(max_parallel_calls, 1)
        self._ready: deque[_Held] = deque()
        self._flying: dict[str, _Call] = {}
        self._returned: queue.SimpleQueue[_Returned] = queue.SimpleQueue()
        self._kept: dict[str, _Kept] = {}
        self._workspaces: dict[str, Workspace] = {}
        # For each run with calls in flight, the function that ends the mark on it.
        self._marks: dict[str, Callable[[], None]] = {}
        # The jobs that this worker has, by the token of the lease, and when each was known to be held.
        self._leases: dict[str, tuple[Lease, float]] = {}

    def stop(self) -> None:
        """Have `work` return after the jobs that it does now. Any thread may call this."""
        self._is_stopping.set()

    def work(self, *, until_idle: bool = False) -> int:
        """Take jobs and do them until `stop` is called, and return how many were done.

        Args:
            until_idle: return, too, when no job is in flight or due within 10 seconds.

        Raises:
            StoreError: the substrate can no longer be used.
        """
        name, activities = self._group.name, self._context.activities
        is_over = threading.Event()
        threading.Thread(target=self._extend_leases, args=(is_over,), daemon=True).start()
        with (
            self._context.tool_servers.in_use(),
            activities.step(f"group {name}", unit="jobs done", is_waiting=True) as jobs,
        ):
            jobs.add(0)
            try:
                while True:
                    held = self._next()
                    if held is not None:
                        jobs.add(self._begin(held))
                        if self._flying and not self._ready:
                            jobs.add(self._collect(_GATHER_SECONDS))
                    elif self._flying:
                        jobs.add(self._collect(_IDLE_SECONDS))
                    elif self._is_stopping.is_set() or (until_idle and self._is_idle()):
                        break
                    else:
                        time.sleep(_IDLE_SECONDS)
                return jobs.done or 0
            finally:
                is_over.set()
                self._leave()

    def _leave(self) -> None:
        """Give back the jobs that are not done, and close what is open."""
        # Other workers take them at once; without this they would count as deaths in these jobs.
        with suppress(StoreError):
            for held in [*self._ready, *(call.held for call in self._flying.values())]:
                self._postpone(held.lease, 0)
        self._ready.clear()
        self._flying.clear()
        while self._marks:
            self._marks.popitem()[1]()
        while self._kept:
            self._kept.popitem()[1].close()
        self._group.close()
        self._close_providers()

    def _close_providers(self) -> None:
        while self._providers:
            provider = self._providers.popitem()[1]
            if provider is not None:
                provider.close()

    def _next(self) -> _Held | None:
        """Return the next job: one that follows from what this worker did, or one of the queue."""
        if self._is_stopping.is_set():
            return None
        if self._ready:
            return self._ready.popleft()
        if len(self._flying) >= self._max_calls or self._calls_tool():
            return None
        now = seconds_now()
        lease = self._group.take(this_process(), self._lease_seconds)
        return self._held(lease, now, now) if lease is not None else None

    def _held(self, lease: Lease, now: float, since: float) -> _Held:
        self._leases[lease.token] = lease, now
        return _Held(lease, since)

    def _calls_tool(self) -> bool:
        return any(call.intent.type == TOOL_CALLED for call in self._flying.values())

    def _begin(self, held: _Held) -> int:
        """Do a job, or start its call; return how many jobs are done."""
        if held.job.intent:
            is_begun = self._attempt(held.lease, partial(self._start, held))
        else:
            self._attempt(held.lease, partial(self._resume, held))
            is_begun = False
        return 0 if is_begun else 1

    def _collect(self, seconds: float) -> int:
        """Wait for calls that return, and hand over what came of them; return how many there were."""
        returned: list[_Returned] = []
        with suppress(queue.Empty):
            returned.append(self._returned.get(timeout=seconds))
            while len(returned) < len(self._flying):
                returned.append(self._returned.get(timeout=_GATHER_SECONDS))
        if not returned:
            return 0
        for each in returned:
            del self._flying[each.call.held.lease.token]
        done = [each for each in returned if each.is_done]
        # Of the jobs of a run, the first to be taken began its turn.
        since = {each.call.held.job.ledger_id: each.call.held.since for each in reversed(done)}
        self._hand_over(
            [each.call.held.lease for each in done],
            since,
            entries=[entry for each in done for entry in each.entries],
            jobs=[(Job(run_id), 0.0) for run_id in since],
        )
        self._unmark_idle_runs()
        for each in returned:
            if each.error is not None:
                raise each.error
        return len(returned)

    def _hand_over(
        self,
        done: Sequence[Lease],
        since: dict[str, float],
        *,
        entries: Sequence[tuple[str, InboxEntry]] = (),
        jobs: Sequence[tuple[Job, float]] = (),
        wanted: Sequence[Job] | None = None,
    ) -> None:
        """Hand over what came of jobs, and take what follows while the turns of its runs last.

        Args:
            done: the jobs.
            since: when the turn of each run began.
            entries: to deliver.
            jobs: to offer.
            wanted: those of them that this worker may do next; all if None.
        """
        now, takes = seconds_now(), [job for job, _ in jobs] if wanted is None else wanted
        if self._is_stopping.is_set():
            takes = []
        takes = [each for each in takes if now - since[each.ledger_id] < _TURN_SECONDS]
        for lease in self._handed_over(HandOver(done, entries, jobs, takes)) if done else ():
            self._ready.append(self._held(lease, now, since[lease.job.ledger_id]))
        for lease in done:
            self._leases.pop(lease.token, None)

    def _handed_over(self, handed: HandOver) -> list[Lease]:
        """Hand over, however often it takes until the process has file handles again."""
        while True:
            try:
                return self._group.hand_over(
                    handed, self._substrate, this_process(), self._lease_seconds
                )
            except StoreError as error:
                if not lacks_handles(error):
                    raise
                time.sleep(_RETRY_SECONDS)

    def _is_idle(self) -> bool:
        info = self._group.info()
        if (is_idle := info.is_idle(_SOON_SECONDS)) and info.delayed:
            self._report(info.delayed_text())
        return is_idle

    def _attempt(self, lease: Lease, do: Callable[[], Result]) -> Result | None:
        """Do a job, or a step of it; if it fails, put the job back, or park it, and return None."""
        job = lease.job
        try:
            return do()
        except RunBusy:
            # A process outside the group works on the run, and makes its calls.
            self._postpone(lease, _BUSY_SECONDS)
        except _LaneFull:
            self._postpone(lease, _CONFLICT_SECONDS)
        except _JobLost:
            self._leases.pop(lease.token, None)
        except StoreError as error:
            if not lacks_handles(error):
                self._retry(lease, "the substrate could not be used")
                raise
            self._postpone(lease, _RETRY_SECONDS)
        except ConcurrencyError as error:
            self._retry(lease, error.message, _CONFLICT_SECONDS)
        except (Exception, SystemExit) as error:
            reason = with_place(f"{type(error).__name__}: {error}", error)
            if lacks_handles(error):
                self._report(f"{job.key} is tried again: {reason}")
                self._postpone(lease, _RETRY_SECONDS)
            else:
                self._fail(lease, reason)
        except KeyboardInterrupt:
            # Another worker takes it at once; without this it would count as a death in the job.
            self._postpone(lease, 0)
            raise
        return None

    def _fail(self, lease: Lease, reason: str) -> None:
        # A call may succeed later; a responder is deterministic, and its failure is recorded.
        delay = _RETRY_SECONDS * 2 ** (lease.attempt - 1)
        if lease.job.intent and self._retry(lease, reason, delay):
            self._report(f"{lease.job.key}: attempt {lease.attempt} failed: {reason}")
            return
        if not lease.job.intent:
            self._leases.pop(lease.token, None)
            self._group.park(lease, reason)
        self._report(f"{lease.job.key} is parked: {reason}")

    def _retry(self, lease: Lease, reason: str, delay: float = 0.0) -> bool:
        is_tried_again = self._group.retry(lease, reason, delay)
        self._leases.pop(lease.token, None)
        return is_tried_again

    def _extend_leases(self, is_over: threading.Event) -> None:
        """Extend the leases of the jobs that this worker has, until it ends."""
        while not is_over.wait(self._lease_seconds / 3):
            for lease, _ in [*self._leases.values()]:
                # The next attempt may succeed. If the store is lost, the job itself fails.
                with suppress(StoreError):
                    self._extend(lease)

    def _extend(self, lease: Lease) -> bool:
        now = seconds_now()
        is_held = self._group.extend(lease, self._lease_seconds)
        if not is_held:
            self._leases.pop(lease.token, None)
        elif lease.token in self._leases:
            self._leases[lease.token] = lease, now
        return is_held

    def _require(self, lease: Lease) -> None:
        """Check that no other worker has taken a job, before its call is made."""
        _, held_at = self._leases.get(lease.token, (lease, float("-inf")))
        if seconds_now() - held_at >= self._lease_seconds / 3 and not self._extend(lease):
            raise _JobLost

    def _postpone(self, lease: Lease, seconds: float) -> None:
        """Put a job that cannot be done now back into the queue; it does not count as failed."""
        self._handed_over(HandOver([lease], jobs=[(lease.job, seconds)]))
        self._leases.pop(lease.token, None)

    def _mark(self, run_id: str) -> None:
        """Keep processes outside the group from working on a run while calls of it are in flight.

        Raises:
            RunBusy: one of them works on it already.
        """
        if run_id in self._marks:
            return
        # Marked first: of two that begin at the same time, at least one sees the other.
        release = self._slots.mark(run_id)
        claim = self._substrate.claim_of(run_id)
        if claim is not None and claim.worker.group != self._group.name and claim.is_live():
            release()
            raise busy(run_id, claim)
        self._marks[run_id] = release

    def _unmark_idle_runs(self) -> None:
        """End the marks on runs of which no call is in flight."""
        busy_runs = {call.held.job.ledger_id for call in self._flying.values()}
        for run_id in [each for each in self._marks if each not in busy_runs]:
            self._marks.pop(run_id)()

    def _resume(self, held: _Held) -> None:
        """Resume a run as far as possible without calls, and offer its calls to the group."""
        job, run_id = held.job, held.job.ledger_id
        kept = self._kept.pop(run_id, None) or self._opened(run_id)
        try:
            # Its lease is that of the job.
            with kept.claim:
                runtime = self._worked(kept, run_id)
            flying = {call.held.job for call in self._flying.values()}
            calls = [each for each in map(partial(Job, run_id), kept.calls) if each not in flying]
            jobs = [(each, 0.0) for each in calls]
            # A child run that has ended, or waits, wakes the run that started it.
            if (parent := self._deliver_end(run_id)) is not None:
                jobs.append((Job(parent), 0.0))
            wanted = self._wanted([kept.calls[each.intent] for each in calls], run_id)
            due = None if runtime.is_halted else runtime.seconds_until_due()
            if due is not None and not runtime.is_exhausted:
                jobs.append((job, max(due, 0.01)))
        except BaseException:
            kept.close()
            raise
        self._keep(run_id, kept)
        self._hand_over([held.lease], {run_id: held.since}, jobs=jobs, wanted=wanted)

    def _deliver_end(self, run_id: str) -> str | None:
        run = OpenedRun(self._context, self._substrate.open(run_id))
        if (started := start_of(run)) is None:
            return None
        parent, intent = started
        rests = deliver_end(run) is not None or status_of(run).state == WAITING
        return parent.id if rests and is_open(parent.ledger, intent) else None

    def _opened(self, run_id: str) -> _Kept:
        claim = RunClaim(self._context, run_id, group=self._group.name, seconds=self._lease_seconds)
        return _Kept(claim, Observation(self._context.plugins.observers()))

    def _worked(self, kept: _Kept, run_id: str) -> Runtime:
        """Work on a run that is claimed, and return its runtime; the calls that are open are kept."""
        ledger = self._substrate.open(run_id)
        observed, runtime = kept.observation.over(ledger), kept.runtime
        if runtime is None or ledger.length() != kept.length:

            def substitute(responder: Responder) -> Responder:
                kept.executors[responder.name] = responder
                return answered_elsewhere(responder)

            runtime = kept.runtime = self._runtime(observed, substitute, kept.claim)
        # When the run that started it is resumed, that one offers it again.
        if not runtime.is_halted and not parent_is_paused(OpenedRun(self._context, ledger)):
            work(self._context, runtime)
        if runtime.is_cancelled:
            # The one that records the cancellation also makes the calls of the clean-up.
            self._runtime(observed, claim=kept.claim).record_returned()
        calls = [] if runtime.is_halted else runtime.open_calls()
        # A child run is a job of its own.
        kept.calls = {intent.id: intent for intent in calls if intent.type != RUN_REQUESTED}
        kept.length = runtime.ledger.length()
        return runtime

    def _wanted(self, calls: Iterable[RecordedEvent], run_id: str) -> list[Job]:
        """Return the jobs of those calls that this worker may make next to those in flight."""
        may_call_tool = not self._calls_tool()
        wanted: list[Job] = []
        room = self._max_calls - len(self._flying) - len(self._ready)
        for intent in calls:
            is_tool = intent.type == TOOL_CALLED
            if len(wanted) < room and (may_call_tool or not is_tool):
                wanted.append(Job(run_id, intent.id))
                may_call_tool = may_call_tool and not is_tool
        return wanted

    def _keep(self, run_id: str, kept: _Kept) -> None:
        """Keep the runtime of a run that waits for answers; those used longest ago are closed."""
        limits = kept.runtime.budget if kept.runtime is not None else None
        # Each time that a run with such a limit is resumed, its time counts from zero.
        if not kept.calls or limits is None or limits.max_wall_seconds is not None:
            kept.close()
            return
        self._kept[run_id] = kept
        events = sum(each.length for each in self._kept.values())
        while len(self._kept) > 1 and (len(self._kept) > _MAX_KEPT or events > _MAX_KEPT_EVENTS):
            oldest = self._kept.pop(next(iter(self._kept)))
            events -= oldest.length
            oldest.close()

    def _runtime(
        self,
        ledger: LedgerStore,
        substitute: Callable[[Responder], Responder] = lambda responder: responder,
        claim: RunClaim | None = None,
    ) -> Runtime:
        run = OpenedRun(self._context, self._substrate.open(id_of(ledger)))
        chosen, kit = run.choices, run.require_kit(self._kit)
        if chosen.kit is not None and chosen.kit["name"] != kit.name:
            known = chosen.kit["name"]
            msg = f"{ledger.stream_name()} is a run of kit {known!r}, not {kit.name!r}."
            raise ConfigurationError(msg, hint="Use a separate group for each kit.")
        provider = self._provider_of(run, kit)
        limits = run.limits.capped_by(self._budget)
        return runtime_of(self._context, ledger, kit, provider, limits, chosen, substitute, claim)

    def _provider_of(self, run: OpenedRun, kit: Kit) -> Provider | None:
        """Return the provider of a run: an open one, if a run before needed the same."""
        if isinstance(self._llm, Provider):
            return self._llm
        chosen = self._llm or run.chosen_llm()
        is_demo = chosen is None and run.is_demo_of(kit)
        # The script of a demo belongs to its kit.
        key = (chosen, kit.name if is_demo else "")
        if key not in self._providers:
            self._providers[key] = provider_of(self._context, kit, chosen, is_demo)
        return self._providers[key]

    def _start(self, held: _Held) -> bool:
        """Start the call of a job in a thread; False if it must not be made, and the job is done."""
        call = self._call_of(held)
        if call is None:
            run_id = held.job.ledger_id
            self._hand_over([held.lease], {run_id: held.since}, jobs=[(Job(run_id), 0.0)])
            return False
        self._mark(held.job.ledger_id)
        self._flying[held.lease.token] = call
        threading.Thread(target=self._make, args=(call,), name="kando-job", daemon=True).start()
        return True

    def _call_of(self, held: _Held) -> _Call | None:
        """Return the call of a job with its executor; None if it must not be made now.

        Raises:
            EventNotFound: the run has no such request.
            ConfigurationError: this worker cannot answer it.
        """
        job = held.job
        ledger, kept = self._substrate.open(job.ledger_id), self._kept.get(job.ledger_id)
        length = ledger.length()
        if kept is not None and kept.runtime is not None and kept.length == length:
            sent = kept.calls.get(job.intent)
            executor = kept.runtime.executor_of(sent) if sent is not None else None
            if sent is not None and executor is not None:
                return _Call(held, sent, kept.executors[executor.name], length)
        intent = ledger.find(job.intent)
        if intent is None:
            msg = f"{ledger.stream_name()} has no event {job.intent!r}."
            raise EventNotFound(msg, hint=f"`kando events {job.ledger_id}` lists them.")
        if not self._is_open(ledger, intent, intent.position + 1):
            return None
        runtime = self._runtime(ledger)
        executor = runtime.executor_of(intent)
        if executor is None or executor.effect is None:
            msg = f"This worker cannot answer {intent.id} of {ledger.stream_name()}."
            raise ConfigurationError(msg, hint="Start it with --llm, or with the kit of the run.")
        # As it is sent: a person may have approved other arguments.
        found = [each for each in runtime.open_calls() if each.id == intent.id]
        return _Call(held, found[0], executor, length) if found else None

    def _make(self, call: _Call) -> None:
        """Make a call, and queue what came of it; the target of a thread."""
        lease = call.held.lease
        returned = _Returned(call)
        try:
            what = f"run {lease.job.ledger_id}: call for {lease.job.intent}"
            with self._context.activities.step(what):
                entries = self._attempt(lease, partial(self._answer, call))
            if entries is not None:
                returned = _Returned(call, entries, is_done=True)
        except BaseException as error:
            returned = _Returned(call, error=error)
        self._returned.put(returned)

    def _answer(self, call: _Call) -> list[tuple[str, InboxEntry]]:
        """Make a call if the limits allow it, and return what is to be delivered of it."""
        intent, executor, lease = call.intent, call.executor, call.held.lease
        assert executor.effect is not None
        ledger_id = lease.job.ledger_id
        ledger = self._substrate.open(ledger_id)
        is_wanted = partial(self._is_open, ledger, intent, call.length)
        if not is_wanted():
            return []
        effects = Effects(
            1,
            before_call=lambda: self._require(lease),
            ledger=ledger.stream_name(),
            workspace=self._workspace_of(ledger),
        )
        release = self._slots.acquire(Call(intent, executor.name, executor.effect).lanes())
        if release is None:
            raise _LaneFull
        try:
            answer = effects.answer(intent, executor, World(), is_wanted=is_wanted)
            if answer is None:
                # It is not repeated any more; what it still returns is paid for.
                answer = effects.answer(intent, executor, World())
        except (_JobLost, StoreError):
            # No call was made.
            raise
        except (Exception, SystemExit) as error:
            if lacks_handles(error):
                raise
            # The owner of the run charges the usage of the attempt.
            attempt = self._failures(ledger, intent) + 1
            data = failure_data(executor.name, intent.id, error, attempt, RETRIED)
            data |= {"call": True, "in_turn": False}
            failed = make_event(RESPONDER_FAILED, "", executor.name, [intent.id], data)
            entry = InboxEntry(failure_key(intent.id, attempt), failed)
            self._handed_over(HandOver(entries=[(ledger_id, entry)], jobs=[(Job(ledger_id), 0.0)]))
            raise
        finally:
            effects.close()
            release()
        data = recordable(answer, intent, DEFAULT_MAX_PAYLOAD_BYTES)
        event = make_event(executor.effect.answer_type, "", executor.name, [intent.id], data)
        return [(ledger_id, InboxEntry(answer_key(intent.id), event))]

    def _workspace_of(self, ledger: LedgerStore) -> Workspace:
        """Return the workspace of a run; it is kept, with what it has read of the ledger."""
        run_id = id_of(ledger)
        known = self._workspaces.get(run_id)
        if known is None:
            while len(self._workspaces) >= _MAX_KEPT:
                self._workspaces.pop(next(iter(self._workspaces)), None)
            known = self._workspaces[run_id] = workspace_of(self._context, ledger)
        return known

    def _failures(self, ledger: LedgerStore, intent: RecordedEvent) -> int:
        """Return how many attempts of a call have failed, recorded or not yet."""
        later = ledger.read(intent.position + 1)
        waiting = (entry.event for entry in self._substrate.inbox(id_of(ledger)))
        failed = (e for e in chain(later, waiting) if e.type == RESPONDER_FAILED)
        return sum(intent.id in event.cause for event in failed)

    def _is_open(self, ledger: LedgerStore, intent: RecordedEvent, since: int) -> bool:
        """Whether a call must still be made, according to the inbox and to the ledger from `since` on.

        It must not if its answer is recorded or delivered, nor while the run is paused or cancelled;
        when the run is resumed, its open calls are offered again.
        """
        pending: Pending[None] = Pending(intents={intent.id: None})
        waiting = (entry.event for entry in self._substrate.inbox(id_of(ledger)))
        for event in chain(ledger.read(since), waiting):
            track(pending, event, None)
        return pending.halted_by is None and intent.id in pending.intents
