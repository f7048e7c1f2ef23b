"""Start and resume runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from kando.app.addresses import new_ledger_id
from kando.app.cache import cache_of
from kando.app.changes import Choices, choices_of
from kando.app.context import App, id_of
from kando.app.inbox import SubstrateInbox
from kando.app.kits.demos import demo_documents, demo_of, demo_provider
from kando.app.kits.find import find_kit, kit_data, make_seeds
from kando.app.limits import agreed_limits, limits_event
from kando.app.observers import Observation
from kando.app.providers import Provider, choose_provider
from kando.app.reading import status_of
from kando.app.snapshots import snapshots_of
from kando.app.status import WAITING, RunStatus
from kando.errors import ConfigurationError
from kando.kit import Kit
from kando.ledger.groups import Job
from kando.ledger.interface import LedgerStore
from kando.ledger.memory import MemoryLedgerStore
from kando.ledger.notice import this_process
from kando.responders.base import Responder
from kando.responders.budget import Budget
from kando.responders.llm_executor import asking
from kando.runtime import Runtime
from kando.schema.events import (
    KIT_LOADED,
    OBJECT_CREATED,
    KandoEvent,
    make_event,
)
from kando.schema.identity import default_event_id
from kando.text.documents import Document, Skipped, read_documents

__all__ = [
    "DOCUMENT",
    "SKIPPED_DOCUMENT",
    "RunResult",
    "create_run",
    "is_demo",
    "kit_of",
    "provider_of",
    "resume_run",
    "runtime_of",
    "start_run",
    "work",
]

#: Object types of what ``--input`` brought in.
DOCUMENT = "Document"
SKIPPED_DOCUMENT = "SkippedDocument"

_ACTOR = "cli"

_POLL_SECONDS = 0.2


@attrs.frozen
class RunResult:
    """What starting or resuming a run came to.

    Attributes:
        status: of the run, afterwards.
        provider: name of the LLM provider that answered, or None.
        skipped: input files that could not be read.
    """

    status: RunStatus
    provider: str | None
    skipped: list[Skipped] = attrs.field(factory=list)


def start_run(
    app: App,
    kit: str,
    goal: str | None,
    *,
    inputs: Sequence[str | Path] = (),
    demo: bool = False,
    llm: str | None = None,
    budget: Budget | None = None,
    group: str | None = None,
    on_started: Callable[[str], None] = lambda run_id: None,
) -> RunResult:
    """Start a run of a kit and work on it until nothing is left to do.

    The ledger begins with ``kit.loaded``, the kit's seeds and the input documents, recorded as
    one step.

    Args:
        app: where.
        kit: name of an installed kit.
        goal: what the run is for; None only for a demo, which has one.
        inputs: files and folders, read before anything is recorded.
        demo: whether to work from the documents that the kit ships as its demo, with the answers
            that come with them unless `llm` is given.
        llm: ``provider`` or ``provider:argument``; from the environment if None.
        budget: limits of the run, which its ledger remembers.
        group: the responder group whose workers are to do the work, instead of this process.
        on_started: told the run's id as soon as it is durable.

    Raises:
        UnknownPlugin: there is no such kit or provider.
        ConfigurationError: the kit cannot be started from a goal, or there is none.
        NotFoundError: the kit ships no demo.
        PluginBroken: the kit fails to make seeds of the goal.
        RefusedEvent: a seed must not be recorded; nothing is.
        Exception: whatever a responder raised; the run can be resumed.
    """
    loaded = find_kit(kit, app.plugins)
    provider = provider_of(app, loaded, llm, demo)
    documents = list(read_documents(inputs))
    with Observation(app.plugins.observers()) as observation:
        ledger = _created(app, loaded, goal, documents, demo, budget, observation.over)
        if group is not None:
            app.substrate(read_only=False).group(group).offer(Job(id_of(ledger)))
        on_started(id_of(ledger))
        if group is None:
            work(app, runtime_of(app, ledger, loaded, provider, budget))
    skipped = [each for each in documents if isinstance(each, Skipped)]
    return RunResult(status_of(app, ledger), provider.name if provider else None, skipped)


def create_run(app: App, kit: str, goal: str | None, *, demo: bool = False) -> str:
    """Create a run of a kit, with its goal recorded and nothing done yet, and return its id.

    `resume_run` works on it, in whichever process.

    Args:
        app: where.
        kit: name of an installed kit.
        goal: what the run is for; None only for a demo, which has one.
        demo: as for `start_run`.

    Raises:
        UnknownPlugin: there is no such kit.
        ConfigurationError: the kit cannot be started from a goal, or there is none.
        NotFoundError: the kit ships no demo.
        PluginBroken: the kit fails to make seeds of the goal.
        RefusedEvent: a seed must not be recorded; nothing is.
    """
    return id_of(_created(app, find_kit(kit, app.plugins), goal, [], demo, None))


def _created(
    app: App,
    kit: Kit,
    goal: str | None,
    documents: Sequence[Document | Skipped],
    demo: bool,
    budget: Budget | None,
    over: Callable[[LedgerStore], LedgerStore] = lambda ledger: ledger,
) -> LedgerStore:
    shipped = demo_of(kit) if demo else None
    goal = goal if goal is not None or shipped is None else shipped.goal
    if goal is None:
        raise ConfigurationError("The run has no goal.", hint="Say what it is for.")
    run_id = new_ledger_id()
    inputs = [*(demo_documents(shipped) if shipped else ()), *documents]
    seeds = _seeds(kit, make_seeds(kit, goal, run_id), inputs, demo)
    if budget is not None and budget.limits():
        seeds.append(limits_event(budget, _ACTOR))
    # In memory first: what is refused must leave no empty run behind, nor a new store.
    _record(MemoryLedgerStore(run_id), kit, seeds)
    ledger = over(app.substrate(read_only=False).create(run_id))
    # Whatever the budget: a run that has its goal can be resumed with a larger one.
    _record(ledger, kit, seeds)
    return ledger


def resume_run(
    app: App,
    run: str,
    *,
    kit: str | None = None,
    llm: str | Provider | None = None,
    budget: Budget | None = None,
    forgets_limits: bool = False,
    at_most: Budget | None = None,
    wait: bool = False,
    on_started: Callable[[str], None] = lambda run_id: None,
) -> RunResult:
    """Go on with a run or branch from wherever it stopped.

    Args:
        app: where.
        run: an id, a unique prefix, or ``@last``.
        kit: name of the kit; what the ledger says of its kit if None.
        llm: ``provider`` or ``provider:argument``, or one that is open; if None, what the run's
            demo comes with, or from the environment.
        budget: limits of the run, what it has used before included. Each takes the place of the one
            that the ledger remembers; those that are open stay as they were.
        forgets_limits: have the run go on with those of `budget` alone.
        at_most: limits of this process, which the ledger does not remember: they never lift one.
        wait: stay as long as the run waits for a timer or has not finished, and take in what is
            sent to it meanwhile.
        on_started: told the run's id before the work begins.

    Raises:
        RunCancelled: the run was cancelled.
        LedgerNotFound, AmbiguousName: there is no such run.
        ConfigurationError: the ledger names no kit, and neither does `kit`.
        Exception: whatever a responder raised; the run can be resumed.
    """
    ledger = app.ledger(run, read_only=False)
    loaded = kit_of(app, ledger, kit)
    chosen = choices_of(app, ledger)
    provider = provider_of(app, loaded, llm or chosen.llm, is_demo(chosen, loaded))
    limits, told = agreed_limits(app, ledger, budget or Budget(), _ACTOR, forgets=forgets_limits)
    allowed = limits if at_most is None else limits.within(at_most)
    with Observation(app.plugins.observers()) as observation:
        runtime = runtime_of(app, observation.over(ledger), loaded, provider, allowed, chosen)
        on_started(id_of(ledger))
        work(app, runtime, told)
        while wait and status_of(app, ledger).state == WAITING:
            due = runtime.seconds_until_due()
            time.sleep(_POLL_SECONDS if due is None else min(due, _POLL_SECONDS))
            work(app, runtime)
    return RunResult(status_of(app, ledger), provider.name if provider else None)


def kit_of(app: App, ledger: LedgerStore, named: str | None = None) -> Kit:
    """Return the kit of a ledger: the one that is named, else the one it was started with.

    Raises:
        ConfigurationError: the ledger names no kit, and neither does `named`.
        UnknownPlugin: the kit is not installed.
    """
    if named is not None:
        return find_kit(named, app.plugins)
    known = choices_of(app, ledger).kit
    if known is None:
        msg = f"{ledger.stream_name()} was not started by a kit."
        raise ConfigurationError(msg, hint="Name one with --kit.")
    return find_kit(known["name"], app.plugins)


def is_demo(chosen: Choices, kit: Kit) -> bool:
    """Whether a run was started as the demo of a kit, whose script answers its requests.

    Args:
        chosen: for the run.
        kit: that works on it.
    """
    known = chosen.kit or {}
    return known.get("demo") is True and known.get("name") == kit.name and kit.demo is not None


def work(app: App, runtime: Runtime, told: Sequence[KandoEvent] = ()) -> None:
    """Work on a run until nothing is left to do, with a notice on its door.

    Args:
        app: where.
        runtime: of the run.
        told: what is recorded first.

    Raises:
        Exception: as `Runtime.run` does.
    """
    substrate, id, me = app.substrate(read_only=False), id_of(runtime.ledger), this_process()
    substrate.enter(id, me)
    try:
        if told:
            runtime.unhalt()
            runtime.record(told)
        runtime.run([])
    finally:
        substrate.leave(id, me)


def _seeds(
    kit: Kit, seeds: Sequence[KandoEvent], documents: Sequence[Document | Skipped], demo: bool
) -> list[KandoEvent]:
    events = [make_event(KIT_LOADED, "", _ACTOR, [], kit_data(kit, demo=demo)), *seeds]
    # The goal's own place is known, so that documents can name it as their cause.
    cause = [seeds[0].id or default_event_id(seeds[0].type, 1)] if seeds else []
    return [*events, *(_document_event(each, cause) for each in documents)]


def provider_of(app: App, kit: Kit, llm: str | Provider | None, demo: bool) -> Provider | None:
    """Return who answers the requests of a run, or None if nobody does.

    Args:
        app: where.
        kit: that works on it.
        llm: ``provider`` or ``provider:argument``, or one that is open; from the environment if None.
        demo: whether the kit's script answers unless somebody is named.
    """
    if isinstance(llm, Provider):
        return llm
    # A demo asks nobody who was not named: keys in the environment are for other runs.
    if demo and llm is None:
        return demo_provider(kit)
    return choose_provider(llm, app.plugins, app.environ, app.listen)


def _record(ledger: LedgerStore, kit: Kit, seeds: Sequence[KandoEvent]) -> None:
    Runtime(ledger, kit.create(), kits=[kit], edge_logic=()).record(seeds)


def _document_event(document: Document | Skipped, cause: list[str]) -> KandoEvent:
    type = DOCUMENT if isinstance(document, Document) else SKIPPED_DOCUMENT
    data = {"type": type, "data": attrs.asdict(document)}
    return make_event(OBJECT_CREATED, "", _ACTOR, cause, data)


def runtime_of(
    app: App,
    ledger: LedgerStore,
    kit: Kit,
    provider: Provider | None,
    budget: Budget | None,
    chosen: Choices | None = None,
    instead_of: Callable[[Responder], Responder] = lambda responder: responder,
) -> Runtime:
    """Return the runtime of a ledger: its kit, the provider, cache, inbox and snapshots.

    Args:
        app: where.
        ledger: of the run.
        kit: whose responders work on it.
        provider: who answers its requests, if anybody does.
        budget: limits of the run.
        chosen: for the run, when it was forked.
        instead_of: returns what takes the place of a responder.
    """
    substrate = app.substrate(read_only=False)
    responders = kit.create()
    model = chosen.model if chosen is not None else None
    if provider is not None:
        executor = provider.executor
        responders.append(executor if model is None else asking(executor, model))
        app.close_later(provider.close)
    return Runtime(
        ledger,
        [instead_of(each) for each in responders],
        budget,
        cache_of(app, ledger, chosen),
        kits=[kit],
        edge_logic=(),
        inbox=SubstrateInbox(substrate, id_of(ledger)),
        remembers_from=chosen.fresh_from if chosen is not None else 0,
        loaded=kit_data(kit),
        upcasters=app.plugins.upcasters(),
        snapshots=snapshots_of(app, ledger, read_only=False),
    )
