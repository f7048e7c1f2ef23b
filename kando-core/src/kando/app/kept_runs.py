"""The runs of one worker of a group: it opens their runtimes, and keeps them between two of their jobs."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from kando.app.allowed_providers import cache_only_provider, shared_provider
from kando.app.children import deliver_end, is_open, parent_is_paused, start_of
from kando.app.claims import RunClaim
from kando.app.context import Context, id_of
from kando.app.daily_limit import DailyLimit
from kando.app.daily_spending import spent_budget
from kando.app.limits import default_limits
from kando.app.observers import Observation
from kando.app.opened import OpenedRun
from kando.app.operator import OperatorLimits
from kando.app.providers import Provider, choose_provider
from kando.app.resume import answered_elsewhere, provider_of, runtime_of, work
from kando.app.status import WAITING, status_of
from kando.errors import ConfigurationError
from kando.kit import Kit
from kando.ledger.interface import LedgerStore
from kando.responders.base import Responder
from kando.responders.budget import Budget
from kando.runtime import Runtime
from kando.schema.events import RUN_REQUESTED, RecordedEvent

__all__ = ["KeptRun", "KeptRuns"]

# How many runtimes of runs that wait for answers a worker keeps, and how many events they may have in all.
_MAX_KEPT, _MAX_KEPT_EVENTS = 32, 100_000


@attrs.define(eq=False)
class KeptRun:
    """The runtime of a run and what belongs to it, kept between two of its jobs.

    Attributes:
        claim: on the run, entered while it is worked on.
        observation: of the events that it records.
        executors: as they make calls, by name.
        runtime: None until the run is worked on.
        length: that of the ledger when the runtime was left: if it differs, another process has worked
            on the run.
        calls: those that were open then, by intent.
    """

    claim: RunClaim
    observation: Observation
    executors: dict[str, Responder] = attrs.field(factory=dict)
    runtime: Runtime | None = None
    length: int = -1
    calls: dict[str, RecordedEvent] = attrs.field(factory=dict)

    def close(self) -> None:
        """Close what observes it."""
        self.observation.__exit__(None, None, None)

    def call(self, intent: str, length: int) -> tuple[RecordedEvent, Responder] | None:
        """Return an open call as it is sent, and its executor; None if the ledger has another length.

        Args:
            intent: id of the request.
            length: of the ledger now.
        """
        if self.runtime is None or self.length != length:
            return None
        sent = self.calls.get(intent)
        executor = self.runtime.executor_of(sent) if sent is not None else None
        if sent is None or executor is None:
            return None
        return sent, self.executors[executor.name]


class KeptRuns:
    """The runs that a worker works on.

    Args:
        context: the plugins, the settings and the substrate.
        group: of the worker.
        kit: name of the kit whose runs it works on; any installed one if None.
        llm: as of `GroupWorker`.
        budget: limits of each run, in addition to those that its ledger remembers.
        seconds: without a sign of life after which the claim on a run ends.
        operator: limits of the server whose runs they are; None for none.
    """

    def __init__(
        self,
        context: Context,
        group: str,
        kit: str | None,
        llm: str | Provider | None,
        budget: Budget,
        seconds: float,
        operator: OperatorLimits | None = None,
    ) -> None:
        self._context, self._group = context, group
        self._kit, self._llm = kit, llm
        self._budget, self._seconds, self._operator = budget, seconds, operator
        self._daily: DailyLimit | None = None
        self._fallback: float | None = None
        if operator is not None:
            self._limit(operator)
        # Runs whose next call is more than is left of the day.
        self._stopping: set[str] = set()
        # Opened once, for all jobs; None until the first job needs it.
        self._providers: dict[tuple[str | None, str], Provider | None] = {}
        if isinstance(llm, str):
            self._providers[llm, ""] = choose_provider(
                llm, context.plugins, context.environ, options=context.llm_options
            )
        # A provider that cannot be opened leaves no new file.
        self._substrate = context.substrate(read_only=False)
        self._kept: dict[str, KeptRun] = {}

    def get(self, run_id: str) -> KeptRun | None:
        """Return a run that is kept, or None."""
        return self._kept.get(run_id)

    def length(self, run_id: str) -> int:
        """Return the length of a run's ledger."""
        return self._substrate.open(run_id).length()

    def taken(self, run_id: str) -> KeptRun:
        """Return a run that was kept, or a new one; it is not kept until `keep`."""
        kept = self._kept.pop(run_id, None)
        if kept is not None:
            return kept
        claim = RunClaim(self._context, run_id, group=self._group, seconds=self._seconds)
        return KeptRun(claim, Observation(self._context.plugins.observers()))

    def keep(self, run_id: str, kept: KeptRun) -> None:
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

    def close(self) -> None:
        """Close the runs that are kept."""
        while self._kept:
            self._kept.popitem()[1].close()

    def stop_at_spent(self, run_id: str) -> None:
        """Stop a run as for a limit of its own, when it is worked on next: no call fits today."""
        self._stopping.add(run_id)

    def settle_failures(self, intent: RecordedEvent) -> None:
        """Note that the failed attempts at a call are on disk."""
        if self._daily is not None:
            self._daily.settle_failures(intent)

    def _limit(self, operator: OperatorLimits) -> None:
        environ = self._context.environ
        own = operator.budget.capped_by(Budget(max_llm_cost_usd=operator.usd_of_run(environ)))
        self._budget = own.capped_by(self._budget)
        fallback = own.with_defaults(default_limits(environ)).fallback_usd_per_call
        self._fallback = fallback
        if operator.max_usd_per_day is not None:
            self._daily = DailyLimit(self._context, operator.max_usd_per_day, fallback)

    def close_providers(self) -> None:
        """Close the providers that were opened for the runs."""
        if self._daily is not None:
            self._daily.close()
        while self._providers:
            provider = self._providers.popitem()[1]
            if provider is not None:
                provider.close()

    def worked(self, kept: KeptRun, run_id: str) -> Runtime:
        """Work on a run that is claimed, and return its runtime; the calls that are open are kept."""
        ledger = self._substrate.open(run_id)
        observed, runtime = kept.observation.over(ledger), kept.runtime
        is_stopping = run_id in self._stopping
        if runtime is None or ledger.length() != kept.length or is_stopping:

            def substitute(responder: Responder) -> Responder:
                kept.executors[responder.name] = responder
                return answered_elsewhere(responder)

            runtime = kept.runtime = self.runtime(observed, substitute, kept.claim)
        # When the run that started it is resumed, that one offers it again.
        if not runtime.is_halted and not parent_is_paused(OpenedRun(self._context, ledger)):
            work(self._context, runtime)
        self._stopping.discard(run_id)
        if runtime.is_cancelled:
            # The one that records the cancellation also makes the calls of the clean-up.
            self.runtime(observed, claim=kept.claim).record_returned()
        calls = [] if runtime.is_halted else runtime.open_calls()
        # A child run is a job of its own.
        kept.calls = {intent.id: intent for intent in calls if intent.type != RUN_REQUESTED}
        kept.length = runtime.ledger.length()
        return runtime

    def deliver_end(self, run_id: str) -> str | None:
        """Deliver the end of a child run; return the run that started it if this is to be resumed."""
        run = OpenedRun(self._context, self._substrate.open(run_id))
        if (started := start_of(run)) is None:
            return None
        parent, intent = started
        rests = deliver_end(run) is not None or status_of(run).state == WAITING
        return parent.id if rests and is_open(parent.ledger, intent) else None

    def runtime(
        self,
        ledger: LedgerStore,
        substitute: Callable[[Responder], Responder] = lambda responder: responder,
        claim: RunClaim | None = None,
    ) -> Runtime:
        """Return a new runtime of a run.

        Args:
            ledger: of the run.
            substitute: returns the replacement of a responder.
            claim: on the run; None if the runtime only reads the run.

        Raises:
            ConfigurationError: the run is of another kit than that of the worker.
        """
        run = OpenedRun(self._context, self._substrate.open(id_of(ledger)))
        chosen, kit = run.choices, run.require_kit(self._kit)
        if chosen.kit is not None and chosen.kit["name"] != kit.name:
            known = chosen.kit["name"]
            msg = f"{ledger.stream_name()} is a run of kit {known!r}, not {kit.name!r}."
            raise ConfigurationError(msg, hint="Use a separate group for each kit.")
        provider = self._provider_of(run, kit)
        limits = run.limits.capped_by(self._budget)
        if run.id in self._stopping:
            spent = spent_budget(self._context, status_of(run), self._fallback)
            limits = limits.capped_by(spent)
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
            self._providers[key] = self._opened(kit, chosen, is_demo)
        found = self._providers[key]
        if found is None and self._operator is not None and not is_demo:
            return cache_only_provider(run)
        return found

    def _opened(self, kit: Kit, chosen: str | None, is_demo: bool) -> Provider | None:
        if self._operator is None or is_demo:
            return provider_of(self._context, kit, chosen, is_demo)
        options = self._context.llm_options
        return shared_provider(
            self._context, None, chosen, self._operator, daily=self._daily, options=options
        )
