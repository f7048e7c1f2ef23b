"""A worker of a responder group: it resumes runs, and makes their calls to models and tools.

The thread that calls `GroupWorker.work` takes the jobs, resumes runs and hands over what came of each job.
Calls are made in threads of their own, side by side: any number of calls to models up to a limit, but one
call to a tool at a time, since a tool may compute, and other workers have processors of their own.

When a call has returned, one step of the group delivers its answer, finishes the job and offers the run
to be resumed (`ResponderGroup.hand_over`). The same worker takes the run at once if it may: it has kept the
runtime, which is still at the end of the ledger. The answer takes the way of every answer, through the
inbox of the run, so it makes no difference which worker made the call.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial

import attrs

from kando.app.claims import seconds_now
from kando.app.context import Context
from kando.app.job_calls import JobCall, JobCalls
from kando.app.jobs import Held, Jobs
from kando.app.kept_runs import KeptRuns
from kando.app.operator import OperatorLimits
from kando.app.providers import Provider
from kando.app.tool_servers import GivenServers
from kando.errors import StoreError
from kando.ledger.groups import HandOver, Job, Lease, ResponderGroup
from kando.ledger.inbox import InboxEntry
from kando.responders.budget import Budget
from kando.runtime.runtime import DEFAULT_MAX_PARALLEL_CALLS
from kando.schema.events import TOOL_CALLED, RecordedEvent

__all__ = ["LEASE_SECONDS", "GroupWorker"]

#: Seconds without a sign of life after which another worker takes a job.
LEASE_SECONDS = 30.0

_IDLE_SECONDS = 0.1

# `until_idle` waits for jobs that are due this soon, which covers the delay of every retry.
_SOON_SECONDS = 10.0

# Answers that arrive within this time are handed over in one step.
_GATHER_SECONDS = 0.002

# A worker resumes a run directly after its calls for this time; then other runs have their turn.
_TURN_SECONDS = 1.0


@attrs.frozen(eq=False)
class _Returned:
    """A call that has ended.

    Attributes:
        call: that has ended.
        entries: to deliver.
        is_done: whether its job is done; otherwise it was postponed, retried or parked.
        error: ends the worker.
    """

    call: JobCall
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
        operator: limits of the server whose runs it works on; None for a worker without a server.
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
        operator: OperatorLimits | None = None,
    ) -> None:
        self._context = context
        context.tool_servers.give(mcp or {})
        self._runs = KeptRuns(context, group, kit, llm, budget or Budget(), lease_seconds, operator)
        self._report = report
        substrate = context.substrate(read_only=False)
        self._group: ResponderGroup = substrate.group(group)
        self._jobs = Jobs(self._group, substrate, lease_seconds, report)
        self._calls = JobCalls(context, group, self._jobs, self._runs)
        self._is_stopping = threading.Event()
        self._max_calls = max(max_parallel_calls, 1)
        self._ready: deque[Held] = deque()
        self._flying: dict[str, JobCall] = {}
        self._returned: queue.SimpleQueue[_Returned] = queue.SimpleQueue()
        # Runs whose answers are delivered and may not be on disk yet: what follows from them will be.
        self._unsaved: set[str] = set()

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
        threading.Thread(target=self._jobs.extend_until, args=(is_over,), daemon=True).start()
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
                self._jobs.postpone(held.lease, 0)
        self._ready.clear()
        self._flying.clear()
        with suppress(StoreError):
            self._save()
        self._calls.unmark_all_but(())
        self._runs.close()
        self._group.close()
        self._runs.close_providers()

    def _is_idle(self) -> bool:
        info = self._group.info()
        if (is_idle := info.is_idle(_SOON_SECONDS)) and info.delayed:
            self._report(info.delayed_text())
        return is_idle

    def _next(self) -> Held | None:
        """Return the next job: one that follows from what this worker did, or one of the queue."""
        if self._is_stopping.is_set():
            return None
        if self._ready:
            return self._ready.popleft()
        if len(self._flying) >= self._max_calls or self._calls_tool():
            return None
        return self._jobs.take()

    def _calls_tool(self) -> bool:
        return any(call.intent.type == TOOL_CALLED for call in self._flying.values())

    def _begin(self, held: Held) -> int:
        """Do a job, or start its call; return how many jobs are done."""
        if held.job.intent:
            is_begun = self._jobs.attempt(held.lease, partial(self._start, held))
        else:
            self._jobs.attempt(held.lease, partial(self._resume, held))
            is_begun = False
        return 0 if is_begun else 1

    def _resume(self, held: Held) -> None:
        """Resume a run as far as possible without calls, and offer its calls to the group."""
        job, run_id = held.job, held.job.ledger_id
        kept = self._runs.taken(run_id)
        length = self._runs.length(run_id) if run_id in self._unsaved else None
        try:
            # Its lease is that of the job.
            with kept.claim:
                runtime = self._runs.worked(kept, run_id)
            flying = {call.held.job for call in self._flying.values()}
            calls = [each for each in map(partial(Job, run_id), kept.calls) if each not in flying]
            jobs = [(each, 0.0) for each in calls]
            # A child run that has ended, or waits, wakes the run that started it.
            if (parent := self._runs.deliver_end(run_id)) is not None:
                jobs.append((Job(parent), 0.0))
            wanted = self._wanted([kept.calls[each.intent] for each in calls], run_id)
            due = None if runtime.is_halted else runtime.seconds_until_due()
            if due is not None and not runtime.is_exhausted:
                jobs.append((job, max(due, 0.01)))
        except BaseException:
            kept.close()
            raise
        if length is not None:
            self._unsaved.discard(run_id)
        self._runs.keep(run_id, kept)
        # The events recorded meanwhile are on disk, and so are the answers before them.
        lasts = kept.length == length
        self._hand_over([held.lease], {run_id: held.since}, jobs=jobs, wanted=wanted, lasts=lasts)

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

    def _start(self, held: Held) -> bool:
        """Start the call of a job in a thread; False if it must not be made, and the job is done."""
        call = self._calls.call_of(held)
        if call is None:
            run_id = held.job.ledger_id
            self._hand_over([held.lease], {run_id: held.since}, jobs=[(Job(run_id), 0.0)])
            return False
        self._calls.mark(held.job.ledger_id)
        self._flying[held.lease.token] = call
        threading.Thread(target=self._make, args=(call,), name="kando-job", daemon=True).start()
        return True

    def _make(self, call: JobCall) -> None:
        """Make a call, and queue what came of it; the target of a thread."""
        lease = call.held.lease
        returned = _Returned(call)
        try:
            what = f"run {lease.job.ledger_id}: call for {lease.job.intent}"
            with self._context.activities.step(what):
                entries = self._jobs.attempt(lease, partial(self._calls.answer, call))
            if entries is not None:
                returned = _Returned(call, entries, is_done=True)
        except BaseException as error:
            returned = _Returned(call, error=error)
        self._returned.put(returned)

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
            lasts=not self._are_all_answered(each.call.held.job for each in done),
        )
        for each in done:
            self._calls.settle(each.call)
        self._calls.unmark_all_but({call.held.job.ledger_id for call in self._flying.values()})
        for each in returned:
            if each.error is not None:
                raise each.error
        return len(returned)

    def _are_all_answered(self, jobs: Iterable[Job]) -> bool:
        """Whether these calls are all that the runs wait for: then their answers are recorded next."""
        answered: dict[str, set[str]] = {}
        for job in jobs:
            answered.setdefault(job.ledger_id, set()).add(job.intent)
        kept = {run_id: self._runs.get(run_id) for run_id in answered}
        return all(run is not None and answered[id] >= run.calls.keys() for id, run in kept.items())

    def _save(self) -> None:
        """Have the answers that were delivered on disk."""
        if self._unsaved:
            self._jobs.hand_over(HandOver(), {})
            self._unsaved.clear()

    def _hand_over(
        self,
        done: Sequence[Lease],
        since: dict[str, float],
        *,
        entries: Sequence[tuple[str, InboxEntry]] = (),
        jobs: Sequence[tuple[Job, float]] = (),
        wanted: Sequence[Job] | None = None,
        lasts: bool = False,
    ) -> None:
        """Hand over what came of jobs, and take what follows while the turns of its runs last.

        Args:
            done: the jobs.
            since: when the turn of each run began.
            entries: to deliver.
            jobs: to offer.
            wanted: those of them that this worker may do next; all if None.
            lasts: whether it is on disk at once. Entries of runs that are not taken always are.
        """
        if not done:
            return
        now, takes = seconds_now(), [job for job, _ in jobs] if wanted is None else wanted
        if self._is_stopping.is_set():
            takes = []
        takes = [each for each in takes if now - since[each.ledger_id] < _TURN_SECONDS]
        lasts = lasts or (bool(entries) and len(takes) < len(jobs))
        taken = self._jobs.hand_over(HandOver(done, entries, jobs, takes, lasts), since)
        self._ready += taken
        if entries and not lasts:
            self._unsaved.update(since)
            if len(taken) < len(takes):
                self._save()
