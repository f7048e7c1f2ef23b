"""The calls of one worker of a group: which must still be made, how each is made, and its answer."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from itertools import chain

import attrs

from kando.app.claims import busy
from kando.app.context import Context, id_of
from kando.app.daily_limit import DailyLimitReached
from kando.app.inbox import answer_key, failure_key
from kando.app.jobs import Held, JobLost, Jobs, LaneFull
from kando.app.kept_runs import KeptRuns
from kando.app.slots import StoreSlots
from kando.app.workspace import workspace_of
from kando.errors import ConfigurationError, EventNotFound, StoreError
from kando.ledger.groups import HandOver, Job
from kando.ledger.inbox import InboxEntry
from kando.ledger.interface import LedgerStore
from kando.responders.base import AnswerPending, Responder
from kando.responders.tool_context import Workspace
from kando.runtime.answers import recordable
from kando.runtime.call_pool import Call
from kando.runtime.effects import Effects
from kando.runtime.failure import failure_data, lacks_handles
from kando.runtime.runtime import DEFAULT_MAX_PAYLOAD_BYTES
from kando.schema.events import RESPONDER_FAILED, RETRIED, RecordedEvent, make_event
from kando.views.pending import Pending, track
from kando.world.graph import World

__all__ = ["JobCall", "JobCalls"]

# How many workspaces of runs a worker keeps.
_MAX_WORKSPACES = 32


@attrs.frozen(eq=False)
class JobCall:
    """A call that is to be made, or is in flight.

    Attributes:
        held: the job.
        intent: as it is sent.
        executor: makes it.
        length: of the ledger when it was known to be open.
    """

    held: Held
    intent: RecordedEvent
    executor: Responder
    length: int


class JobCalls:
    """Makes the calls of jobs. Several threads may use it at once.

    Args:
        context: the plugins, the settings and the substrate.
        group: of the worker.
        jobs: that it has.
        runs: that it works on.
    """

    def __init__(self, context: Context, group: str, jobs: Jobs, runs: KeptRuns) -> None:
        self._context, self._group = context, group
        self._substrate = context.substrate(read_only=False)
        self._jobs, self._runs = jobs, runs
        self._slots = StoreSlots(context, group)
        self._workspaces: dict[str, Workspace] = {}
        # For each run with calls in flight, the function that ends the mark on it.
        self._marks: dict[str, Callable[[], None]] = {}

    def mark(self, run_id: str) -> None:
        """Keep processes outside the group from working on a run while calls of it are in flight.

        Raises:
            RunBusy: one of them works on it already.
        """
        if run_id in self._marks:
            return
        # Marked first: of two that begin at the same time, at least one sees the other.
        release = self._slots.mark(run_id)
        claim = self._substrate.claim_of(run_id)
        if claim is not None and claim.worker.group != self._group and claim.is_live():
            release()
            raise busy(run_id, claim)
        self._marks[run_id] = release

    def unmark_all_but(self, busy_runs: Collection[str]) -> None:
        """End the marks on all runs except for those of which a call is in flight."""
        for run_id in [each for each in self._marks if each not in busy_runs]:
            self._marks.pop(run_id)()

    def call_of(self, held: Held) -> JobCall | None:
        """Return the call of a job with its executor; None if it must not be made now.

        Raises:
            EventNotFound: the run has no such request.
            ConfigurationError: this worker cannot answer it.
        """
        job = held.job
        ledger, kept = self._substrate.open(job.ledger_id), self._runs.get(job.ledger_id)
        length = ledger.length()
        known = kept.call(job.intent, length) if kept is not None else None
        if known is not None:
            return JobCall(held, *known, length)
        intent = ledger.find(job.intent)
        if intent is None:
            msg = f"{ledger.stream_name()} has no event {job.intent!r}."
            raise EventNotFound(msg, hint=f"`kando events {job.ledger_id}` lists them.")
        if not self._is_open(ledger, intent, intent.position + 1):
            return None
        runtime = self._runs.runtime(ledger)
        executor = runtime.executor_of(intent)
        if executor is None or executor.effect is None:
            msg = f"This worker cannot answer {intent.id} of {ledger.stream_name()}."
            raise ConfigurationError(msg, hint="Start it with --llm, or with the kit of the run.")
        # As it is sent: a person may have approved other arguments.
        found = [each for each in runtime.open_calls() if each.id == intent.id]
        return JobCall(held, found[0], executor, length) if found else None

    def answer(self, call: JobCall) -> list[tuple[str, InboxEntry]]:
        """Make a call if the limits allow it, and return what is to be delivered of it.

        Raises:
            LaneFull: as many calls of its kind are in flight as are allowed.
            JobLost: another worker has taken the job.
            StoreError: the substrate cannot be used.
            Exception: the call failed.
        """
        intent, executor, lease = call.intent, call.executor, call.held.lease
        assert executor.effect is not None
        ledger_id = lease.job.ledger_id
        ledger = self._substrate.open(ledger_id)
        is_wanted = partial(self._is_open, ledger, intent, call.length)
        if not is_wanted():
            return []
        effects = Effects(
            1,
            before_call=lambda: self._jobs.require(lease),
            ledger=ledger.stream_name(),
            workspace=self._workspace_of(ledger),
        )
        release = self._slots.acquire(Call(intent, executor.name, executor.effect).lanes())
        if release is None:
            raise LaneFull
        try:
            answer = effects.answer(intent, executor, World(), is_wanted=is_wanted)
            if answer is None:
                # It is not repeated any more; what it still returns is paid for.
                answer = effects.answer(intent, executor, World())
        except (JobLost, StoreError):
            # No call was made.
            raise
        except DailyLimitReached:
            self._runs.stop_at_spent(ledger_id)
            return []
        except AnswerPending:
            # It is not wanted any more.
            return []
        except (Exception, SystemExit) as error:
            if not lacks_handles(error):
                self._report_failure(ledger, call, error)
            raise
        finally:
            effects.close()
            release()
        data = recordable(answer, intent, DEFAULT_MAX_PAYLOAD_BYTES)
        event = make_event(executor.effect.answer_type, "", executor.name, [intent.id], data)
        return [(ledger_id, InboxEntry(answer_key(intent.id), event))]

    def settle(self, call: JobCall) -> None:
        """Note that the answer of a call is on disk."""
        assert call.executor.effect is not None
        call.executor.effect.on_durable(call.intent)

    def _report_failure(self, ledger: LedgerStore, call: JobCall, error: BaseException) -> None:
        """Deliver a failed attempt: the owner of the run charges its usage."""
        intent, name, ledger_id = call.intent, call.executor.name, call.held.job.ledger_id
        attempt = self._failures(ledger, intent) + 1
        data = failure_data(name, intent.id, error, attempt, RETRIED)
        data |= {"call": True, "in_turn": False}
        failed = make_event(RESPONDER_FAILED, "", name, [intent.id], data)
        entry = InboxEntry(failure_key(intent.id, attempt), failed)
        handed = HandOver(entries=[(ledger_id, entry)], jobs=[(Job(ledger_id), 0.0)])
        self._jobs.hand_over(handed, {})
        self._runs.settle_failures(intent)

    def _failures(self, ledger: LedgerStore, intent: RecordedEvent) -> int:
        """Return how many attempts of a call have failed, recorded or not yet."""
        later = ledger.read(intent.position + 1)
        waiting = (entry.event for entry in self._substrate.inbox(id_of(ledger)))
        failed = (e for e in chain(later, waiting) if e.type == RESPONDER_FAILED)
        return sum(intent.id in event.cause for event in failed)

    def _workspace_of(self, ledger: LedgerStore) -> Workspace:
        """Return the workspace of a run; it is kept, with what it has read of the ledger."""
        run_id = id_of(ledger)
        known = self._workspaces.get(run_id)
        if known is None:
            while len(self._workspaces) >= _MAX_WORKSPACES:
                self._workspaces.pop(next(iter(self._workspaces)), None)
            known = self._workspaces[run_id] = workspace_of(self._context, ledger)
        return known

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
