"""A worker of a responder group: it resumes runs, and makes their calls to models and tools."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain

from kando.app.claims import RunClaim, busy, seconds_now
from kando.app.context import Context, id_of
from kando.app.inbox import answer_key, failure_key
from kando.app.observers import Observation
from kando.app.opened import OpenedRun
from kando.app.providers import Provider, choose_provider
from kando.app.resume import answered_elsewhere, provider_of, runtime_of, work
from kando.app.slots import StoreSlots
from kando.errors import ConcurrencyError, ConfigurationError, EventNotFound, RunBusy, StoreError
from kando.kit import Kit
from kando.ledger.claims import this_process
from kando.ledger.groups import Job, Lease, ResponderGroup
from kando.ledger.inbox import InboxEntry
from kando.ledger.interface import LedgerStore
from kando.responders.base import Responder
from kando.responders.budget import Budget
from kando.runtime import Runtime
from kando.runtime.answers import recordable
from kando.runtime.call_pool import Call
from kando.runtime.effects import Effects
from kando.runtime.failure import failure_data, lacks_handles, with_place
from kando.runtime.runtime import DEFAULT_MAX_PAYLOAD_BYTES
from kando.schema.events import (
    RESPONDER_FAILED,
    RETRIED,
    KandoEvent,
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


class _LaneFull(Exception):
    """As many calls of a tool or provider as it allows are in flight, here or elsewhere."""


class _JobLost(Exception):
    """Another worker has taken the job, because its lease ended while this process was suspended."""


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
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._context = context
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
        # When the lease of the job was known to be held.
        self._held_at = 0.0

    def stop(self) -> None:
        """Have `work` return after the job that it does now. Any thread may call this."""
        self._is_stopping.set()

    def work(self, *, until_idle: bool = False) -> int:
        """Take jobs and do them until `stop` is called, and return how many were done.

        Args:
            until_idle: return, too, when no job is in flight or due within 10 seconds.

        Raises:
            StoreError: the substrate can no longer be used.
        """
        name, activities = self._group.name, self._context.activities
        with activities.step(f"group {name}", unit="jobs done", is_waiting=True) as jobs:
            jobs.add(0)
            try:
                while not self._is_stopping.is_set():
                    self._held_at = seconds_now()
                    lease = self._group.take(this_process(), self._lease_seconds)
                    if lease is not None:
                        self._attempt(lease)
                        jobs.add(1)
                    elif until_idle and self._is_idle():
                        break
                    else:
                        time.sleep(_IDLE_SECONDS)
                return jobs.done or 0
            finally:
                self._group.close()
                self._close_providers()

    def _close_providers(self) -> None:
        while self._providers:
            provider = self._providers.popitem()[1]
            if provider is not None:
                provider.close()

    def _is_idle(self) -> bool:
        info = self._group.info()
        if (is_idle := info.is_idle(_SOON_SECONDS)) and info.delayed:
            self._report(info.delayed_text())
        return is_idle

    def _attempt(self, lease: Lease) -> None:
        job = lease.job
        try:
            with self._extended(lease):
                if job.intent:
                    with self._marked(job):
                        self._answer(lease)
                else:
                    self._resume(job)
        except RunBusy:
            # A process outside the group works on the run, and makes its calls.
            self._postpone(lease, _BUSY_SECONDS)
        except _LaneFull:
            self._postpone(lease, _CONFLICT_SECONDS)
        except _JobLost:
            return
        except StoreError as error:
            if not lacks_handles(error):
                self._group.retry(lease, "the substrate could not be used")
                raise
            self._postpone(lease, _RETRY_SECONDS)
        except ConcurrencyError as error:
            self._group.retry(lease, error.message, _CONFLICT_SECONDS)
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
        else:
            self._group.finish(lease)

    def _fail(self, lease: Lease, reason: str) -> None:
        # A call may succeed later; a responder is deterministic, and its failure is recorded.
        delay = _RETRY_SECONDS * 2 ** (lease.attempt - 1)
        if lease.job.intent and self._group.retry(lease, reason, delay):
            self._report(f"{lease.job.key}: attempt {lease.attempt} failed: {reason}")
            return
        if not lease.job.intent:
            self._group.park(lease, reason)
        self._report(f"{lease.job.key} is parked: {reason}")

    @contextmanager
    def _extended(self, lease: Lease) -> Iterator[None]:
        """Extend a lease until its job is done."""
        is_over = threading.Event()

        def extend() -> None:
            while not is_over.wait(self._lease_seconds / 3):
                # The next attempt may succeed. If the store is lost, the job itself fails.
                with suppress(StoreError):
                    now = seconds_now()
                    if not self._group.extend(lease, self._lease_seconds):
                        return
                    self._held_at = now

        threading.Thread(target=extend, daemon=True).start()
        try:
            yield
        finally:
            is_over.set()

    def _require(self, lease: Lease) -> None:
        """Check that no other worker has taken a job, before its call is made."""
        if seconds_now() - self._held_at < self._lease_seconds / 3:
            return
        if not self._group.extend(lease, self._lease_seconds):
            raise _JobLost

    def _postpone(self, lease: Lease, seconds: float) -> None:
        """Put a job that cannot be done now back into the queue; it does not count as failed."""
        self._group.offer(lease.job, seconds)
        self._group.finish(lease)

    @contextmanager
    def _marked(self, job: Job) -> Iterator[None]:
        """Keep processes outside the group from working on a run while a call of it is made.

        Raises:
            RunBusy: one of them works on it already.
        """
        # Marked first: of two that begin at the same time, at least one sees the other.
        release = self._slots.mark(job.ledger_id)
        try:
            claim = self._substrate.claim_of(job.ledger_id)
            if claim is not None and claim.worker.group != self._group.name and claim.is_live():
                raise busy(job.ledger_id, claim)
            yield
        finally:
            release()

    def _resume(self, job: Job) -> None:
        """Resume a run as far as possible without calls, and offer its calls to the group."""
        ledger = self._substrate.open(job.ledger_id)
        with (
            # Its lease is that of the job.
            RunClaim(
                self._context, job.ledger_id, group=self._group.name, seconds=self._lease_seconds
            ) as claim,
            Observation(self._context.plugins.observers()) as observation,
        ):
            runtime = self._runtime(observation.over(ledger), answered_elsewhere, claim)
            if not runtime.is_halted:
                work(self._context, runtime)
            if runtime.is_cancelled:
                # The one that records the cancellation also makes the calls of the clean-up.
                self._runtime(observation.over(ledger), claim=claim).record_returned()
            if runtime.is_halted:
                return
        for intent in runtime.open_calls():
            self._group.offer(Job(job.ledger_id, intent.id))
        due = runtime.seconds_until_due()
        if due is not None and not runtime.is_exhausted:
            self._group.offer(job, max(due, 0.01))

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

    def _answer(self, lease: Lease) -> None:
        """Make the call that an intent requests, and deliver the answer."""
        job = lease.job
        ledger = self._substrate.open(job.ledger_id)
        intent = ledger.find(job.intent)
        if intent is None:
            msg = f"{ledger.stream_name()} has no event {job.intent!r}."
            raise EventNotFound(msg, hint=f"`kando events {job.ledger_id}` lists them.")
        if self._is_open(ledger, intent):
            with self._context.activities.step(f"run {job.ledger_id}: call for {job.intent}"):
                self._call(self._runtime(ledger), intent, lease)
        self._group.offer(Job(job.ledger_id))

    def _call(self, runtime: Runtime, intent: RecordedEvent, lease: Lease) -> None:
        """Make a call, if the limits of its run allow it, as the run itself would."""
        executor = runtime.executor_of(intent)
        if executor is None or executor.effect is None:
            msg = f"This worker cannot answer {intent.id} of {runtime.ledger.stream_name()}."
            raise ConfigurationError(msg, hint="Start it with --llm, or with the kit of the run.")
        # As it is sent: a person may have approved other arguments.
        sent = next((each for each in runtime.open_calls() if each.id == intent.id), None)
        if sent is None:
            return
        intent = sent
        ledger_id = id_of(runtime.ledger)
        stream = runtime.ledger.stream_name()
        effects = Effects(1, before_call=lambda: self._require(lease), ledger=stream)
        release = self._slots.acquire(Call(intent, executor.name, executor.effect).lanes())
        if release is None:
            raise _LaneFull
        try:
            answer = effects.answer(
                intent,
                executor,
                World(),
                is_wanted=partial(self._is_open, runtime.ledger, intent),
            )
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
            attempt = self._failures(runtime.ledger, intent) + 1
            data = failure_data(executor.name, intent.id, error, attempt, RETRIED)
            data |= {"call": True, "in_turn": False}
            failed = make_event(RESPONDER_FAILED, "", executor.name, [intent.id], data)
            self._deliver(ledger_id, failure_key(intent.id, attempt), failed)
            self._group.offer(Job(ledger_id))
            raise
        finally:
            effects.close()
            release()
        data = recordable(answer, intent, DEFAULT_MAX_PAYLOAD_BYTES)
        event = make_event(executor.effect.answer_type, "", executor.name, [intent.id], data)
        self._deliver(ledger_id, answer_key(intent.id), event)

    def _deliver(self, ledger_id: str, key: str, event: KandoEvent) -> None:
        self._substrate.deliver(ledger_id, InboxEntry(key, event))

    def _failures(self, ledger: LedgerStore, intent: RecordedEvent) -> int:
        """Return how many attempts of a call have failed, recorded or not yet."""
        later = ledger.read(intent.position + 1)
        waiting = (entry.event for entry in self._substrate.inbox(id_of(ledger)))
        failed = (e for e in chain(later, waiting) if e.type == RESPONDER_FAILED)
        return sum(intent.id in event.cause for event in failed)

    def _is_open(self, ledger: LedgerStore, intent: RecordedEvent) -> bool:
        """Whether a call must still be made, according to the ledger and the inbox.

        It must not if its answer is recorded or delivered, nor while the run is paused or cancelled;
        when the run is resumed, its open calls are offered again.
        """
        pending: Pending[None] = Pending(intents={intent.id: None})
        waiting = (entry.event for entry in self._substrate.inbox(id_of(ledger)))
        for event in chain(ledger.read(intent.position + 1), waiting):
            track(pending, event, None)
        return pending.halted_by is None and intent.id in pending.intents
