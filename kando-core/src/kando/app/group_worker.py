"""A worker of a responder group: it goes on with runs, and makes their calls to the outside."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from typing import Any

import attrs

from kando.app.context import Context, id_of
from kando.app.inbox import answer_key, failure_key
from kando.app.observers import Observation
from kando.app.opened import OpenedRun
from kando.app.providers import choose_provider
from kando.app.resume import provider_of, runtime_of, work
from kando.errors import ConcurrencyError, ConfigurationError, EventNotFound, StoreError
from kando.ledger.groups import Job, Lease, ResponderGroup
from kando.ledger.inbox import InboxEntry
from kando.ledger.interface import LedgerStore
from kando.ledger.notice import this_process
from kando.responders.base import AnswerPending, Responder
from kando.responders.budget import Budget
from kando.runtime import Runtime
from kando.runtime.answers import recordable
from kando.runtime.effects import Effects
from kando.runtime.failure import failure_data
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

#: Seconds after which a job of a worker that says nothing goes to another.
LEASE_SECONDS = 30.0

_IDLE_SECONDS = 0.1

# Before a call that failed is made again: 1 s, 2 s, 4 s, ...
_RETRY_SECONDS = 1.0

# Two that wanted to write to one ledger: one of them looks again soon.
_CONFLICT_SECONDS = 0.2


def _answered_elsewhere(responder: Responder) -> Responder:
    """Return an executor that makes no call: the run records what workers deliver to its inbox."""
    if responder.effect is None:
        return responder
    effect = attrs.evolve(responder.effect, call=_pending, keep=None, timed_out=None)
    return attrs.evolve(responder, effect=effect)


def _pending(intent: KandoEvent) -> dict[str, Any]:
    raise AnswerPending(intent.id)


class GroupWorker:
    """One of the workers of a group.

    Args:
        context: the plugins, the settings and the substrate.
        group: name of the group.
        kit: name of the kit whose runs it works on; any installed one if None.
        llm: ``provider`` or ``provider:argument``; if None, what each run was started or forked
            with, or from the environment.
        budget: limits of each run, beside those that its ledger remembers.
        lease_seconds: after which a job of a worker that says nothing goes to another.
        tell: told, in a line, of what could not be done.
    """

    def __init__(
        self,
        context: Context,
        group: str,
        *,
        kit: str | None = None,
        llm: str | None = None,
        budget: Budget | None = None,
        lease_seconds: float = LEASE_SECONDS,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._context = context
        self._kit = kit
        self._provider = choose_provider(llm, context.plugins, context.environ) if llm else None
        self._budget = budget or Budget()
        self._lease_seconds = lease_seconds
        self._tell = tell
        self._substrate = context.substrate(read_only=False)
        self._group: ResponderGroup = self._substrate.group(group)

    def work(self, *, until_idle: bool = False) -> int:
        """Take jobs and do them, for ever or until none is left, and return how many were done.

        Raises:
            StoreError: the substrate cannot be used any more.
        """
        done = 0
        try:
            while True:
                lease = self._group.take(this_process(), self._lease_seconds)
                if lease is not None:
                    self._attempt(lease)
                    done += 1
                elif until_idle and self._is_idle():
                    return done
                else:
                    time.sleep(_IDLE_SECONDS)
        finally:
            self._group.close()

    def _is_idle(self) -> bool:
        info = self._group.info()
        return info.waiting == info.in_flight == 0

    def _attempt(self, lease: Lease) -> None:
        job = lease.job
        try:
            with self._kept(lease):
                if job.intent:
                    self._answer(job)
                else:
                    self._go_on(job)
        except StoreError:
            self._group.retry(lease, "the substrate could not be used")
            raise
        except ConcurrencyError as error:
            self._group.retry(lease, error.message, _CONFLICT_SECONDS)
        except (Exception, SystemExit) as error:
            self._fail(lease, f"{type(error).__name__}: {error}")
        else:
            self._group.finish(lease)

    def _fail(self, lease: Lease, reason: str) -> None:
        # A call may succeed another time; a responder is deterministic, and has told its ledger.
        delay = _RETRY_SECONDS * 2 ** (lease.attempt - 1)
        if lease.job.intent and self._group.retry(lease, reason, delay):
            self._tell(f"{lease.job.key}: attempt {lease.attempt} failed: {reason}")
            return
        if not lease.job.intent:
            self._group.park(lease, reason)
        self._tell(f"{lease.job.key} is parked: {reason}")

    @contextmanager
    def _kept(self, lease: Lease) -> Iterator[None]:
        """Keep a job while it is being done, however long that takes."""
        is_over = threading.Event()

        def keep() -> None:
            while not is_over.wait(self._lease_seconds / 3):
                # What cannot be said now may be said next time; in the end the job tells.
                with suppress(StoreError):
                    if not self._group.extend(lease, self._lease_seconds):
                        return

        threading.Thread(target=keep, daemon=True).start()
        try:
            yield
        finally:
            is_over.set()

    def _go_on(self, job: Job) -> None:
        """Go on with a run as far as it comes without calls, and have its calls made."""
        ledger = self._substrate.open(job.ledger_id)
        with (
            self._context.only_worker(job.ledger_id),
            Observation(self._context.plugins.observers()) as observation,
        ):
            runtime = self._runtime(observation.over(ledger), _answered_elsewhere)
            if runtime.is_halted:
                runtime.record_returned()
                return
            work(self._context, runtime)
        for intent in runtime.open_calls():
            self._group.offer(Job(job.ledger_id, intent.id))
        due = runtime.seconds_until_due()
        if due is not None and not runtime.is_exhausted:
            self._group.offer(job, max(due, 0.01))

    def _runtime(
        self,
        ledger: LedgerStore,
        instead_of: Callable[[Responder], Responder] = lambda responder: responder,
    ) -> Runtime:
        run = OpenedRun(self._context, self._substrate.open(id_of(ledger)))
        chosen, kit = run.choices, run.require_kit(self._kit)
        if chosen.kit is not None and chosen.kit["name"] != kit.name:
            known = chosen.kit["name"]
            msg = f"{ledger.stream_name()} is a run of kit {known!r}, not {kit.name!r}."
            raise ConfigurationError(msg, hint="Give each kit a group of its own.")
        provider = self._provider
        if provider is None:
            provider = provider_of(self._context, kit, chosen.llm, run.is_demo_of(kit))
            if provider is not None:
                self._context.close_later(provider.close)
        limits = run.limits.capped_by(self._budget)
        return runtime_of(self._context, ledger, kit, provider, limits, chosen, instead_of)

    def _answer(self, job: Job) -> None:
        """Make the call that an intent asks for, and deliver what it returns."""
        ledger = self._substrate.open(job.ledger_id)
        intent = ledger.find(job.intent)
        if intent is None:
            msg = f"{ledger.stream_name()} has no event {job.intent!r}."
            raise EventNotFound(msg, hint=f"`kando events {job.ledger_id}` lists its events.")
        if self._is_wanted(ledger, intent):
            self._call(self._runtime(ledger), intent)
        self._group.offer(Job(job.ledger_id))

    def _call(self, runtime: Runtime, intent: RecordedEvent) -> None:
        """Make a call, if the limits of its run allow it, as the run itself would."""
        executor = runtime.executor_of(intent)
        if executor is None or executor.effect is None:
            msg = f"This worker cannot answer {intent.id} of {runtime.ledger.stream_name()}."
            raise ConfigurationError(msg, hint="Start it with --llm, or with the kit of the run.")
        if all(each.id != intent.id for each in runtime.open_calls()):
            return
        ledger_id, effects = id_of(runtime.ledger), Effects(1)
        try:
            answer = effects.answer(intent, executor, World())
        except (Exception, SystemExit) as error:
            # The owner charges what the attempt has used.
            attempt = self._failures(runtime.ledger, intent) + 1
            data = failure_data(executor.name, intent.id, error, attempt, RETRIED)
            data |= {"call": True, "in_turn": False}
            failed = make_event(RESPONDER_FAILED, "", executor.name, [intent.id], data)
            self._deliver(ledger_id, failure_key(intent.id, attempt), failed)
            self._group.offer(Job(ledger_id))
            raise
        finally:
            effects.close()
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

    def _is_wanted(self, ledger: LedgerStore, intent: RecordedEvent) -> bool:
        """Whether a call is still to be made, as far as the ledger and the inbox say.

        It is not if its answer is there, nor while the run is paused or cancelled: a run that is
        resumed has its open calls made then.
        """
        pending: Pending[None] = Pending(intents={intent.id: None})
        waiting = (entry.event for entry in self._substrate.inbox(id_of(ledger)))
        for event in chain(ledger.read(intent.position + 1), waiting):
            track(pending, event, None)
        return pending.halted_by is None and intent.id in pending.intents
