"""The runs of one worker of a group: it opens their runtimes, and keeps them between two of their jobs."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from kando.app.children import deliver_end, is_open, parent_is_paused, start_of
from kando.app.claims import RunClaim
from kando.app.context import Context, id_of
from kando.app.observers import Observation
from kando.app.opened import OpenedRun
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
    """

    def __init__(
        self,
        context: Context,
        group: str,
        kit: str | None,
        llm: str | Provider | None,
        budget: Budget,
        seconds: float,
    ) -> None:
        self._context, self._group = context, group
        self._kit, self._llm = kit, llm
        self._budget, self._seconds = budget, seconds
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

    def close_providers(self) -> None:
        """Close the providers that were opened for the runs."""
        while self._providers:
            provider = self._providers.popitem()[1]
            if provider is not None:
                provider.close()

    def worked(self, kept: KeptRun, run_id: str) -> Runtime:
        """Work on a run that is claimed, and return its runtime; the calls that are open are kept."""
        ledger = self._substrate.open(run_id)
        observed, runtime = kept.observation.over(ledger), kept.runtime
        if runtime is None or ledger.length() != kept.length:

            def substitute(responder: Responder) -> Responder:
                kept.executors[responder.name] = responder
                return answered_elsewhere(responder)

            runtime = kept.runtime = self.runtime(observed, substitute, kept.claim)
        # When the run that started it is resumed, that one offers it again.
        if not runtime.is_halted and not parent_is_paused(OpenedRun(self._context, ledger)):
            work(self._context, runtime)
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
