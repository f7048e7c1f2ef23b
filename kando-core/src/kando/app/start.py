"""Start runs: record the kit's seeds for a goal and the input documents, and work on the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs

from kando.app.addresses import new_ledger_id
from kando.app.claims import RunClaim
from kando.app.context import Context, id_of
from kando.app.kits.demos import demo_documents, demo_of
from kando.app.kits.find import kit_data, make_seeds
from kando.app.kits.settings import KitSettings, settings_data
from kando.app.kits.spelling import check_spelling
from kando.app.limits import default_limits, limits_event
from kando.app.observers import Observation
from kando.app.opened import OpenedRun
from kando.app.provider_choice import provider_event
from kando.app.providers import Provider
from kando.app.resume import RunResult, opened_provider, runtime_of, work
from kando.app.status import status_of
from kando.app.tool_servers import GivenServers, Servers, servers_of
from kando.app.workspace import loaded_event
from kando.errors import ConfigurationError, LedgerExists
from kando.kit import Kit
from kando.ledger.groups import Job
from kando.ledger.interface import LedgerStore
from kando.ledger.memory import MemoryLedgerStore
from kando.ledger.substrate import Substrate
from kando.ledger.trees import copy_trees
from kando.responders.budget import Budget
from kando.responders.tool_servers import ToolServer
from kando.runtime import Runtime
from kando.schema.events import CASE, KIT_LOADED, OBJECT_CREATED, STARTED_BY, KandoEvent, make_event
from kando.schema.identity import default_event_id
from kando.text.documents import Document, Skipped, read_documents
from kando.views.labels import check_labels, labels_event
from kando.world.graph import WorldObject

__all__ = ["DOCUMENT", "SKIPPED_DOCUMENT", "create_run", "start_run"]

#: Object types of the documents that ``--input`` names.
DOCUMENT = "Document"
SKIPPED_DOCUMENT = "SkippedDocument"

_ACTOR = "cli"

# Reasons in the message about inputs of which none could be read.
_MAX_REASONS = 5


def start_run(
    context: Context,
    kit: str | Kit,
    goal: str | None,
    *,
    inputs: Sequence[str | Path] = (),
    demo: bool = False,
    llm: str | Provider | None = None,
    budget: Budget | None = None,
    settings: KitSettings | None = None,
    group: str | None = None,
    workspace: str | Path | None = None,
    mcp: GivenServers | None = None,
    labels: Mapping[str, str] | None = None,
    documents: Sequence[Document | Skipped] = (),
    case: Mapping[str, Any] | None = None,
    on_started: Callable[[str], None] = lambda run_id: None,
) -> RunResult:
    """Start a run of a kit and work on it until no work is left.

    The ledger starts with ``kit.loaded``, the kit's seeds and the input documents, recorded in one
    step.

    Args:
        context: the plugins, the settings and the substrate.
        kit: the kit, or the name of an installed one.
        goal: goal of the run; None only for a demo, which has a goal.
        inputs: files and folders, read before anything is recorded.
        demo: whether to work from the kit's demo documents; the demo's script answers unless `llm`
            is given.
        llm: ``provider`` or ``provider:argument``, or an open provider, which stays open; from the
            environment if None.
        budget: limits of the run, which its ledger remembers.
        settings: of the kit: by name, or an instance of its class; the defaults if omitted.
        group: the responder group whose workers do the work, instead of this process.
        workspace: folder whose files the run's workspace has first; they are copied.
        mcp: MCP servers to add to the run, by name: a command or a URL.
        labels: of the run: values by name.
        documents: further input, which is read already.
        case: of an evaluation: recorded with its first event.
        on_started: called with the run's id as soon as it is durable.

    Raises:
        UnknownPlugin: no such kit or provider is installed.
        ConfigurationError: the kit cannot be started from a goal, the goal is missing, or none of
            the inputs could be read.
        NotFoundError: the kit has no demo.
        PluginBroken: the kit fails to make seeds for the goal.
        RefusedEvent: a seed or a label cannot be recorded; no event was recorded.
        Exception: the error of a responder; the run can be resumed.
    """
    loaded = kit if isinstance(kit, Kit) else context.kit(kit)
    with (
        opened_provider(context, loaded, llm, demo) as provider,
        Observation(context.plugins.observers()) as observation,
        context.tool_servers.in_use(),
    ):
        documents = [*_read(context, inputs), *documents]
        chosen = settings_data(context, loaded, settings)
        added = context.tool_servers.give(mcp or {})
        ledger, servers = _created(
            *(context, loaded, goal, documents, demo, budget, chosen, workspace, added, labels),
            over=observation.over,
            recorded={} if case is None else {CASE: dict(case)},
        )
        if group is not None:
            context.substrate(read_only=False).group(group).offer(Job(id_of(ledger)))
            on_started(id_of(ledger))
        else:
            with RunClaim(context, id_of(ledger)) as claim:
                on_started(id_of(ledger))
                known: dict[str, Any] = {"settings": chosen, "servers": servers}
                runtime = runtime_of(
                    context, ledger, loaded, provider, budget, claim=claim, **known
                )
                work(context, runtime)
    return _result(OpenedRun(context, ledger), provider, documents)


def _result(
    run: OpenedRun, provider: Provider | None, documents: Sequence[Document | Skipped]
) -> RunResult:
    skipped = [each for each in documents if isinstance(each, Skipped)]
    noted = [each for each in documents if isinstance(each, Document) and each.notes]
    return RunResult(status_of(run), provider.name if provider else None, skipped, noted)


def create_run(
    context: Context,
    kit: str | Kit,
    goal: str | None,
    *,
    inputs: Sequence[str | Path] = (),
    demo: bool = False,
    budget: Budget | None = None,
    settings: KitSettings | None = None,
    started_by: Mapping[str, Any] | None = None,
    run_id: str | None = None,
    workspace: str | Path | None = None,
    mcp: GivenServers | None = None,
    llm: str | None = None,
    labels: Mapping[str, str] | None = None,
    handed: Sequence[WorldObject] = (),
) -> str:
    """Create a run of a kit, with its goal recorded and no work done yet, and return its id.

    `kando.app.resume.resume_run` works on it, in any process.

    Args:
        context: the plugins, the settings and the substrate.
        kit: the kit, or the name of an installed one.
        goal: goal of the run; None only for a demo, which has a goal.
        inputs: as for `start_run`.
        demo: as for `start_run`.
        budget: as for `start_run`.
        settings: as for `start_run`.
        started_by: of a child run: recorded with its first event.
        run_id: of a child run, which may have been created before; a new id if None.
        workspace: as for `start_run`.
        mcp: as for `start_run`.
        llm: ``provider`` or ``provider:argument`` that answers, which the ledger keeps; the one that
            the environment of the worker configures if None.
        labels: as for `start_run`.
        handed: of a child run: objects of the run that started it, which it begins with.

    Raises:
        UnknownPlugin: no such kit or provider is installed.
        ConfigurationError: the kit cannot be started from a goal, the goal is missing, or none of
            the inputs could be read.
        NotFoundError: the kit has no demo.
        PluginBroken: the kit fails to make seeds for the goal.
        RefusedEvent: a seed or a label cannot be recorded; no event was recorded.
    """
    loaded = kit if isinstance(kit, Kit) else context.kit(kit)
    documents, chosen = _read(context, inputs), settings_data(context, loaded, settings)
    recorded = {} if run_id is None else {STARTED_BY: dict(started_by or {})}
    added = context.tool_servers.give(mcp or {})
    with context.tool_servers.in_use():
        ledger, _ = _created(
            context,
            loaded,
            goal,
            documents,
            demo,
            budget,
            chosen,
            workspace,
            added,
            labels,
            child_id=run_id,
            recorded=recorded,
            llm=llm,
            handed=handed,
        )
    return id_of(ledger)


def _read(context: Context, inputs: Sequence[str | Path]) -> list[Document | Skipped]:
    """Read the inputs of a run, which must contain a document if there are any."""
    with context.activities.step("read documents", unit="parts") as step:
        found = list(step.over(read_documents(inputs)))
    if inputs and not any(isinstance(each, Document) for each in found):
        reasons = [f"{each.path}: {each.reason}" for each in found if isinstance(each, Skipped)]
        more = f"; and {len(reasons) - _MAX_REASONS} more" if len(reasons) > _MAX_REASONS else ""
        msg = f"No input could be read: {'; '.join(reasons[:_MAX_REASONS]) or 'no files'}{more}."
        raise ConfigurationError(msg, hint="Give at least one file that contains text.")
    return found


def _created(
    context: Context,
    kit: Kit,
    goal: str | None,
    documents: Sequence[Document | Skipped],
    demo: bool,
    budget: Budget | None,
    settings: dict[str, Any] | None,
    workspace: str | Path | None,
    added: dict[str, ToolServer],
    labels: Mapping[str, str] | None,
    over: Callable[[LedgerStore], LedgerStore] = lambda ledger: ledger,
    child_id: str | None = None,
    recorded: Mapping[str, Any] = MappingProxyType({}),
    llm: str | None = None,
    handed: Sequence[WorldObject] = (),
) -> tuple[LedgerStore, Servers]:
    # Invalid settings and misspelled names are reported before a run is created.
    default_limits(context.environ)
    check_spelling(kit)
    labels = check_labels(labels)
    shipped = demo_of(kit) if demo else None
    goal = goal if goal is not None or shipped is None else shipped.goal
    if goal is None:
        raise ConfigurationError("The run has no goal.", hint="Give a goal.")
    if not goal.strip():
        raise ConfigurationError("The goal is empty.", hint="Give a goal.")
    run_id = new_ledger_id() if child_id is None else child_id
    inputs = [*(demo_documents(shipped) if shipped else ()), *documents]
    servers = servers_of(context, kit, None, added)
    loaded = kit_data(kit, demo=demo, settings=settings, tool_servers=servers.listings)
    loaded |= recorded
    # In memory first: a refused seed must create neither an empty run nor a new store.
    trial = MemoryLedgerStore(run_id)
    first = [make_event(KIT_LOADED, "", _ACTOR, [], loaded)]
    if labels:
        first.append(labels_event(labels, _ACTOR))
    if llm is not None:
        first.append(provider_event(context, llm, _ACTOR))
    if workspace is not None:
        first.append(loaded_event(context, trial, Path(workspace), _ACTOR))
    seeds = _seeds(first, make_seeds(kit, goal, run_id), inputs, handed)
    if budget is not None and budget.limits():
        seeds.append(limits_event(budget, _ACTOR))
    _record(trial, kit, seeds)
    substrate = context.substrate(read_only=False)
    ledger = over(
        substrate.create(run_id) if child_id is None else _child_ledger(substrate, run_id)
    )
    copy_trees(seeds, trial.blobs, ledger)
    # Regardless of the budget: a run that has its goal can be resumed with a larger one.
    if child_id is None or not ledger.length():
        _record(ledger, kit, seeds)
    return ledger, servers


def _child_ledger(substrate: Substrate, run_id: str) -> LedgerStore:
    """Return the ledger of a child run; a process that was killed may have created it."""
    with suppress(LedgerExists):
        return substrate.create(run_id)
    return substrate.open(run_id)


def _seeds(
    first: Sequence[KandoEvent],
    seeds: Sequence[KandoEvent],
    documents: Sequence[Document | Skipped],
    handed: Sequence[WorldObject],
) -> list[KandoEvent]:
    # The goal's position is known, so documents can name the goal as their cause.
    cause = [seeds[0].id or default_event_id(seeds[0].type, len(first))] if seeds else []
    data = [*map(_document_data, documents), *({"type": o.type, "data": o.data} for o in handed)]
    made = (make_event(OBJECT_CREATED, "", _ACTOR, cause, each) for each in data)
    return [*first, *seeds, *made]


def _record(ledger: LedgerStore, kit: Kit, seeds: Sequence[KandoEvent]) -> None:
    Runtime(ledger, kit.create(), kits=[kit], edge_logic=()).record(seeds, is_own=True)


def _document_data(document: Document | Skipped) -> dict[str, Any]:
    type = DOCUMENT if isinstance(document, Document) else SKIPPED_DOCUMENT
    fields = attrs.asdict(document)
    for name in ("notes", "pages"):
        if not fields.get(name):
            fields.pop(name, None)
    return {"type": type, "data": fields}
