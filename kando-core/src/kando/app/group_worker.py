"""A worker of a responder group: it goes on with runs, and makes their calls to the outside."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import attrs

from kando.app.context import Context, id_of
from kando.app.inbox import answer_key, intent_of
from kando.app.observers import Observation
from kando.app.opened import OpenedRun
from kando.app.providers import choose_provider
from kando.app.resume import provider_of, runtime_of, work
from kando.errors import ConcurrencyError, ConfigurationError, EventNotFound, StoreError
from kando.ledger.groups import Job, Lease, ResponderGroup
from kando.ledger.inbox import InboxEntry
from kando.ledger.interface import LedgerStore
from kando.ledger.notice import this_process
from kando.ledger.substrate import Substrate
from kando.responders.base import AnswerPending, Effect, Responder
from kando.responders.budget import Budget
from kando.runtime import Runtime
from kando.runtime.effects import Effects
from kando.schema.events import RUN_RESUMED, KandoEvent, RecordedEvent, make_event
from kando.views.pending import ANSWERS, CONTROL
from kando.world.graph import World
from kando.world.projection import project

__all__ = ["GroupWorker"]

#: Seconds after which a job of a worker that says nothing goes to another.
LEASE_SECONDS = 30.0

_IDLE_SECONDS = 0.1

# Before a call that failed is made again: 1 s, 2 s, 4 s, ...
_RETRY_SECONDS = 1.0

# Two that wanted to write to one ledger: one of them looks again soon.
_CONFLICT_SECONDS = 0.2


@attrs.frozen
class _Answers:
    """The answers that workers have delivered to a run, and that it has not recorded yet."""

    substrate: Substrate
    ledger_id: str
    _known: dict[str, dict[str, Any]] = attrs.field(factory=dict)

    def of(self, intent_id: str) -> dict[str, Any] | None:
        """Return the answer to an intent, if it was delivered."""
        if intent_id not in self._known:
            self.look()
        return self._known.get(intent_id)

    def look(self) -> None:
        """Read what was delivered."""
        for entry in self.substrate.inbox(self.ledger_id):
            intent = intent_of(entry)
            if intent is not None:
                self._known[intent] = entry.event.data

    def take(self, open_intents: set[str]) -> None:
        """Take out what was recorded: the answers to intents that are not open any more."""
        for entry in self.substrate.inbox(self.ledger_id):
            intent = intent_of(entry)
            if intent is not None and intent not in open_intents:
                self.substrate.acknowledge(self.ledger_id, entry.key)


def _answered_by(answers: _Answers) -> Callable[[Responder], Responder]:
    """Return what makes an executor one that calls nobody: it records what others deliver."""

    def instead_of(responder: Responder) -> Responder:
        effect = responder.effect
        if effect is None:
            return responder
        known = effect.recall

        def recall(intent: KandoEvent, world: World) -> dict[str, Any] | None:
            # What the cache knows goes first: so the ledger is that of one process.
            recalled = known(intent, world)
            return recalled if recalled is not None else answers.of(intent.id)

        later = attrs.evolve(effect, call=_pending, recall=recall, keep=None, timed_out=None)
        return attrs.evolve(responder, effect=later)

    return instead_of


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
        answers = _Answers(self._substrate, job.ledger_id)
        answers.look()
        with Observation(self._context.plugins.observers()) as observation:
            runtime = self._runtime(observation.over(ledger), _answered_by(answers))
            if runtime.is_halted:
                return
            work(self._context, runtime)
        for intent in runtime.open_calls():
            self._group.offer(Job(job.ledger_id, intent.id))
        answers.take({intent.id for intent in runtime.open_intents()})
        due = runtime.seconds_until_due()
        if due is not None:
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
            executor, effect = self._executor_of(ledger, intent)
            effects = Effects(1)
            try:
                answer = effects.answer(intent, executor, World())
                assert answer is not None, "nothing cuts it off"
            finally:
                effects.close(World())
            event = make_event(effect.answer_type, "", executor.name, [intent.id], answer)
            self._substrate.deliver(job.ledger_id, InboxEntry(answer_key(intent.id), event))
        self._group.offer(Job(job.ledger_id))

    def _is_wanted(self, ledger: LedgerStore, intent: RecordedEvent) -> bool:
        """Whether a call is still to be made.

        It is not if a worker that died, or was too slow, has made it after all, nor while the run
        is paused or cancelled: a run that goes on has its open calls made then.
        """
        halted = False
        for event in ledger.read(intent.position + 1):
            if event.type in CONTROL:
                halted = event.type != RUN_RESUMED
            elif event.type in ANSWERS and intent.id in event.cause:
                return False
        for entry in self._substrate.inbox(id_of(ledger)):
            if entry.event.type in CONTROL:
                halted = entry.event.type != RUN_RESUMED
            elif intent_of(entry) == intent.id:
                return False
        return not halted

    def _executor_of(self, ledger: LedgerStore, intent: RecordedEvent) -> tuple[Responder, Effect]:
        world: World | None = None
        for each in self._runtime(ledger).responders:
            if each.effect is None or (each.pattern and intent.type not in each.pattern):
                continue
            if each.object_type is not None and world is None:
                world = project(ledger.read_all())
            if world is None or each.handles(intent, world):
                return each, each.effect
        msg = f"This worker has nobody to answer {intent.id} of {ledger.stream_name()}."
        raise ConfigurationError(msg, hint="Start it with --llm, or with the kit of the run.")
