"""Resume runs: open what works on a run, and work on it until no work is left."""

# long: what works on a run is put together in one place.

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import attrs

from kando.app.cache import cache_of
from kando.app.child_executor import ChildRuns
from kando.app.children import deliver_end, open_children
from kando.app.claims import RunClaim
from kando.app.context import Context, id_of
from kando.app.inbox import SubstrateInbox
from kando.app.kits.demos import demo_provider
from kando.app.kits.find import kit_data
from kando.app.kits.settings import recorded_settings, require_recalls
from kando.app.limits import agreed_limits, default_limits
from kando.app.lineage_answers import LineageAnswers, NoAnswers
from kando.app.observers import Observation
from kando.app.opened import Choices, OpenedRun
from kando.app.provider_choice import provider_event
from kando.app.providers import Provider, choose_provider
from kando.app.slots import StoreSlots
from kando.app.status import ENDED, RUNNING, STOPPED, WAITING, RunStatus, status_of
from kando.app.tool_servers import (
    GivenServers,
    Servers,
    responders_of,
    servers_of,
)
from kando.app.workspace import workspace_of
from kando.cache.asked import Asked
from kando.errors import RunBusy
from kando.kit import Kit
from kando.ledger.groups import Job
from kando.ledger.interface import LedgerStore
from kando.responders.base import Responder
from kando.responders.budget import Budget
from kando.responders.llm_executor import asking
from kando.responders.tool_servers import ToolServer
from kando.runtime import Runtime
from kando.runtime.runtime import Lineage
from kando.schema.events import RUN_ENDED, KandoEvent
from kando.settings import GRACE_SECONDS, value_of
from kando.text.documents import Document, Skipped

__all__ = [
    "RunResult",
    "answered_elsewhere",
    "offer_run",
    "opened_provider",
    "provider_of",
    "resume_run",
    "runtime_of",
    "work",
]

_ACTOR = "cli"

_POLL_SECONDS = 0.2


@attrs.frozen
class RunResult:
    """The result of starting or resuming a run.

    Attributes:
        status: of the run, afterwards.
        provider: name of the LLM provider that answered, or None.
        skipped: input files that could not be read.
        noted: input files of which something was guessed, cut or lost.
    """

    status: RunStatus
    provider: str | None
    skipped: list[Skipped] = attrs.field(factory=list)
    noted: list[Document] = attrs.field(factory=list)


def resume_run(
    run: OpenedRun,
    *,
    kit: str | Kit | None = None,
    llm: str | Provider | None = None,
    budget: Budget | None = None,
    forgets_limits: bool = False,
    at_most: Budget | None = None,
    wait: bool = False,
    take_over: bool = False,
    mcp: GivenServers | None = None,
    claim: RunClaim | None = None,
    on_started: Callable[[str], None] = lambda run_id: None,
) -> RunResult:
    """Resume a run or branch from wherever it stopped.

    Args:
        run: opened for writing.
        kit: the kit, or its name; the run's kit if None.
        llm: ``provider`` or ``provider:argument``, or an open provider, which stays open; if None,
            the script of the run's demo, or the provider that the environment configures.
        budget: limits of the run. Each replaces the one that the ledger remembers; those that are
            not set stay as they were.
        forgets_limits: whether the run keeps only the limits in `budget`.
        at_most: limits of this process, which the ledger does not remember: they never lift one.
        wait: stay while the run waits for a timer or a message, and record events that are sent to
            it.
        take_over: resume the run even if another process works on it, which then stops.
        mcp: MCP servers of the run, by name: a command or a URL. One that the run does not have yet
            is added to it.
        claim: of the caller on the run, which it keeps; if None, the run is claimed during the work.
        on_started: called with the run's id before the work begins.

    Raises:
        RunCancelled: the run was cancelled.
        RunBusy: another thread or process works on the run, or has taken it over.
        ConfigurationError: the run has no kit, and `kit` is None.
        Exception: the error of a responder; the run can be resumed.
    """
    context = run.context
    loaded = run.require_kit(kit)
    # Read before the run is claimed, so that a ledger that cannot be read stays as it is.
    length, named = run.ledger.length(), budget or Budget()
    limits, limit_events = agreed_limits(run, named, _ACTOR, forgets=forgets_limits)
    added = context.tool_servers.give(mcp or {})
    own = RunClaim(context, run.id, take_over=take_over)
    held, during = (own, own) if claim is None else (claim, nullcontext())
    with (
        opened_provider(
            context, loaded, llm or run.chosen_llm(), run.is_demo_of(loaded)
        ) as provider,
        Observation(context.plugins.observers()) as observation,
        context.tool_servers.in_use(),
    ):
        with during:
            if run.ledger.length() != length:
                run = OpenedRun(context, run.ledger)
                limits, limit_events = agreed_limits(run, named, _ACTOR, forgets=forgets_limits)
            allowed = limits if at_most is None else limits.capped_by(at_most)
            observed = observation.over(run.ledger)
            runtime = runtime_of(
                context, observed, loaded, provider, allowed, run.choices, claim=held, given=added
            )
            on_started(run.id)
            work(context, runtime, limit_events)
        while wait and _gets_news(run, runtime, held):
            # The run is not claimed while it waits. If another process works on it now, wait on.
            with suppress(RunBusy), during:
                work(context, runtime)
        deliver_end(OpenedRun(context, run.ledger))
    return RunResult(_status(run, held), provider.name if provider else None)


def _gets_news(run: OpenedRun, runtime: Runtime, held: RunClaim) -> bool:
    """Wait for work; return False if the run cannot continue."""
    what = f"run {run.id}: waiting for a timer or a message"
    with run.context.activities.step(what, is_waiting=True):
        due_children = [time.monotonic() + seconds for seconds in _seconds_until_children_due(run)]
        while _goes_on(status := _status(run, held)):
            if _child_has_news(status) or any(at <= time.monotonic() for at in due_children):
                return True
            due = runtime.seconds_until_due()
            time.sleep(_POLL_SECONDS if due is None else min(due, _POLL_SECONDS))
            if _has_news(run.context, run, runtime):
                return True
    return False


def _goes_on(status: RunStatus) -> bool:
    """Whether a run can continue: it waits, a message has arrived, or another process is at work."""
    has_news = status.unread > 0 or _child_has_news(status)
    return status.state in (WAITING, RUNNING) or (status.state == STOPPED and has_news)


def _child_has_news(status: RunStatus) -> bool:
    """Whether a child run that the run waits for has ended, or may be worked on."""
    return any(each.is_open and each.state in (STOPPED, *ENDED) for each in status.children)


def _seconds_until_children_due(run: OpenedRun) -> Iterator[float]:
    """Yield the seconds until the next timer or deadline of each child run that a run waits for."""
    for child in open_children(run):
        seconds = Runtime(child.current, [], edge_logic=()).seconds_until_due()
        if seconds is not None:
            yield seconds
        yield from _seconds_until_children_due(child)


def _has_news(context: Context, run: OpenedRun, runtime: Runtime) -> bool:
    """Whether a timer of a run is due, or its inbox has entries."""
    return runtime.seconds_until_due() == 0 or bool(context.substrate().inbox(run.id))


def _status(run: OpenedRun, claim: RunClaim) -> RunStatus:
    # Opened again: facts that were read before the work are out of date.
    return status_of(OpenedRun(run.context, run.ledger), ignoring=claim.held)


def offer_run(
    run: OpenedRun, group: str, *, llm: str | None = None, budget: Budget | None = None
) -> None:
    """Have the workers of a group resume a run, paused or not.

    Args:
        run: opened for writing.
        group: name of the group.
        llm: ``provider`` or ``provider:argument`` that answers from now on, which the ledger keeps;
            None for the one that the run has.
        budget: limits of the run. Each replaces the one that the ledger remembers.

    Raises:
        RunCancelled: the run was cancelled.
        RunBusy: the run is paused or is to change, and another process works on it.
        UnknownPlugin: no such provider is installed.
        ConfigurationError: the group's name is malformed, or `llm` contains a password.
    """
    opened = run.context.substrate(read_only=False).group(group)
    upcasters = run.context.plugins.upcasters()
    events = [] if llm is None else [provider_event(run.context, llm, _ACTOR)]
    events += agreed_limits(run, budget or Budget(), _ACTOR, forgets=False)[1]
    if events or Runtime(run.ledger, [], edge_logic=(), upcasters=upcasters).is_halted:
        with RunClaim(run.context, run.id):
            runtime = Runtime(run.ledger, [], edge_logic=(), upcasters=upcasters)
            runtime.unpause()
            if events:
                runtime.record(events, is_own=True)
    opened.offer(Job(run.id))


def provider_of(
    context: Context, kit: Kit, llm: str | Provider | None, demo: bool
) -> Provider | None:
    """Return the provider that answers the requests of a run, or None if none is configured.

    Args:
        context: the plugins and the settings.
        kit: that works on the run.
        llm: ``provider`` or ``provider:argument``, or an open provider; from the environment if
            None.
        demo: whether the kit's script answers if no provider is named.
    """
    if isinstance(llm, Provider):
        return llm
    # A demo uses only a named provider: keys in the environment are for other runs.
    if demo and llm is None:
        return demo_provider(kit)
    return choose_provider(
        llm, context.plugins, context.environ, context.listen, context.llm_options
    )


@contextmanager
def opened_provider(
    context: Context, kit: Kit, llm: str | Provider | None, demo: bool
) -> Iterator[Provider | None]:
    """Yield the provider that `provider_of` returns; close it unless the caller opened it."""
    provider = provider_of(context, kit, llm, demo)
    try:
        yield provider
    finally:
        if provider is not None and provider is not llm:
            provider.close()


def runtime_of(
    context: Context,
    ledger: LedgerStore,
    kit: Kit,
    provider: Provider | None,
    budget: Budget | None,
    chosen: Choices | None = None,
    substitute: Callable[[Responder], Responder] = lambda responder: responder,
    claim: RunClaim | None = None,
    settings: dict[str, Any] | None = None,
    servers: Servers | None = None,
    given: Mapping[str, ToolServer] | None = None,
) -> Runtime:
    """Return the runtime of a ledger: its kit, the provider, cache, inbox and snapshots.

    Args:
        context: the plugins, the settings and the substrate.
        ledger: of the run.
        kit: whose responders work on it.
        provider: that answers its requests, if one is configured.
        budget: limits of the run; those of the environment hold where it has none.
        chosen: the choices for the run when it was forked.
        substitute: returns the replacement of a responder.
        claim: on the run; None if the runtime only reads the run.
        settings: of a run that has just been created; those that `chosen` remembers if None.
        given: tool servers that a person adds to the run now.
        servers: of a run that has just been created; those that `chosen` remembers if None.
    """
    substrate = context.substrate(read_only=False)
    limits = (budget or Budget()).with_defaults(default_limits(context.environ))
    is_branch = ledger.stream_name().startswith("branch:")
    if settings is None:
        settings = recorded_settings(kit, chosen.kit if chosen is not None else None)
        require_recalls(context, kit, settings)
    if servers is None:
        servers = servers_of(context, kit, chosen, given)
    loaded = kit_data(kit, settings=settings, tool_servers=servers.listings)
    responders = responders_of(
        kit, loaded, settings, servers=servers, sessions=context.tool_servers
    )
    if provider is not None:
        chosen = chosen or Choices()
        sent = Asked(
            chosen.model,
            provider.identity,
            provider.options or None,
            provider.model_options,
            provider.default_model,
            provider.name,
        )
        # A branch that named a provider is served no other's answers; any other is served all.
        wanted = sent if chosen.llm is not None else attrs.evolve(sent, llm=None)
        # A fresh branch asks anew, so its requests must not share idempotency keys with its parents.
        responders.append(asking(provider.executor, sent, wanted, key_variant=chosen.fresh_id))
    opened = OpenedRun(context, ledger)
    choices = chosen or opened.choices
    responders.append(_child_runs(context, ledger, choices, limits, provider, claim).responder())
    return Runtime(
        ledger,
        [substitute(each) for each in responders],
        limits,
        cache_of(context, id_of(ledger), chosen),
        kits=[kit],
        edge_logic=(),
        inbox=SubstrateInbox(substrate, id_of(ledger)),
        cache_from=chosen.fresh_from if chosen is not None else 0,
        kit_loaded=loaded,
        upcasters=context.plugins.upcasters(),
        snapshots=opened.snapshots(read_only=False),
        lineage=_lineage(opened, choices, is_branch=is_branch),
        allows_writes=chosen is not None and chosen.allows_writes,
        require_claim=claim.require if claim is not None else None,
        # The workers of a group make the calls of its runs.
        acquire_slots=StoreSlots(context).acquire if claim and not claim.group else None,
        patience_seconds=value_of(GRACE_SECONDS, context.environ),
        workspace=workspace_of(context, ledger),
    )


def _lineage(run: OpenedRun, choices: Choices, *, is_branch: bool) -> Lineage | None:
    if is_branch:
        return LineageAnswers(run)
    # As on the branch that started it, tools that write ask a person.
    holds_writes = (choices.started_by or {}).get("holds_writes") is True
    return NoAnswers() if holds_writes else None


def _child_runs(
    context: Context,
    ledger: LedgerStore,
    choices: Choices,
    limits: Budget,
    provider: Provider | None,
    claim: RunClaim | None,
) -> ChildRuns:
    def work_on(child: OpenedRun) -> None:
        with (
            Observation(context.plugins.observers()) as observation,
            RunClaim(context, child.id) as claim,
        ):
            # Opened again: another process may have worked on it before it was claimed.
            run = OpenedRun(context, child.ledger)
            # Refuses a provider and a model that an imported file chose for the child.
            run.chosen_llm()
            kit, observed = run.require_kit(), observation.over(child.ledger)
            runtime = runtime_of(
                context, observed, kit, provider, run.limits, run.choices, claim=claim
            )
            work(context, runtime)

    def offer(run_id: str) -> None:
        if claim is None or run_id in offered:
            return
        substrate = context.substrate(read_only=False)
        try:
            offer_run(OpenedRun(context, substrate.open(run_id)), claim.group)
        except RunBusy:
            # A worker is on it, and takes it again.
            substrate.group(claim.group).offer(Job(run_id))
        offered.add(run_id)

    offered: set[str] = set()
    is_of_group = claim is not None and bool(claim.group)
    return ChildRuns(context, ledger, choices, limits, work_on, offer if is_of_group else None)


def work(context: Context, runtime: Runtime, events: Sequence[KandoEvent] = ()) -> None:
    """Work on a run until no work is left.

    Args:
        context: whose activity it is.
        runtime: of the run, which this process has claimed.
        events: to record first.

    Raises:
        Exception: as `Runtime.run` does.
    """
    with context.activities.working(id_of(runtime.ledger), runtime.progress):
        if events:
            runtime.unpause()
            runtime.record(events, is_own=True)
        runtime.run([])


def _ignore(intent: KandoEvent) -> None:
    """Do nothing: the process that made the call knows that its answer is on disk."""


def answered_elsewhere(responder: Responder) -> Responder:
    """Return an executor that makes no call: the run records what workers deliver to its inbox."""
    if responder.effect is None or responder.effect.answer_type == RUN_ENDED:
        return responder
    effect = attrs.evolve(
        responder.effect, is_elsewhere=True, keep=None, timed_out=None, on_durable=_ignore
    )
    return attrs.evolve(responder, effect=effect)
