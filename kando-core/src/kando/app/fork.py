"""Fork runs, with or without changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from kando.app.addresses import new_ledger_id, parse_address
from kando.app.context import Context, id_of
from kando.app.kits.find import kit_data, make_seeds
from kando.app.kits.settings import KitSettings, recorded_settings, settings_data
from kando.app.limits import limits_event
from kando.app.opened import OpenedRun
from kando.app.provider_choice import check_provider
from kando.app.send import check_type
from kando.app.tool_servers import responders_of
from kando.branch.draft import BranchDraft
from kando.branch.fork import BranchMeta, head_of
from kando.errors import (
    ConfigurationError,
    EventNotFound,
    InvalidData,
    KandoError,
    PositionOutOfRange,
)
from kando.kit import Kit
from kando.ledger.checks import check_fork_position
from kando.responders.budget import Budget
from kando.runtime import Runtime
from kando.schema.events import (
    BRANCH_CHANGED,
    KIT_LOADED,
    OBJECT_PATCHED,
    KandoEvent,
    RecordedEvent,
    make_event,
)
from kando.views.kit import ADDED, recorded_servers
from kando.views.labels import check_changes, labels_event

__all__ = ["fork_run"]


def fork_run(
    run: OpenedRun,
    at: int | None = None,
    *,
    before: str | None = None,
    patches: Sequence[tuple[str, Mapping[str, Any]]] = (),
    events: Sequence[Mapping[str, Any]] = (),
    goal: str | None = None,
    model: str | None = None,
    llm: str | None = None,
    kit: str | Kit | None = None,
    fresh: bool = False,
    allow_writes: bool = False,
    budget: Budget | None = None,
    settings: KitSettings | None = None,
    labels: Mapping[str, str | None] | None = None,
    actor: str = "cli",
) -> BranchMeta:
    """Fork a run or branch; no event is copied, and no model or tool is called.

    The changes are recorded on the branch after its ``branch.created``, in the same step: a
    refused change leaves no branch. `kando.app.resume.resume_run` continues it.

    Args:
        run: opened for writing.
        at: number of events that the branch shares.
        before: id of the first event that the branch does not share, or its address ``RUN@N``;
            instead of `at`.
        patches: for each object its id, and the fields to set by name.
        events: each with ``type``, and optionally ``data`` and ``cause``.
        goal: goal for which the kit makes seeds, in addition to the shared events.
        model: of all requests of the branch, regardless of the model that they name.
        llm: ``provider`` or ``provider:argument`` that answers these requests.
        kit: the kit of the branch, or its name; the one that the ledger names if None.
        fresh: whether the branch ignores answers that were cached before the fork.
        allow_writes: whether the branch calls tools that write without asking a person.
        budget: limits of the branch; where none is set, it has those of the run at the position.
        settings: of the kit, to change: by name, or an instance of its class.
        labels: of the branch, to change: values by name; None removes a label.
        actor: of the fork.

    Raises:
        PositionOutOfRange: the position is missing, or the run is shorter.
        EventNotFound: the run has no event `before`.
        UnknownPlugin: no such kit or provider is installed.
        RefusedEvent: a change cannot be recorded, such as a patch of an unknown object.
        InvalidData: a label is malformed.
        ConfigurationError: `at` and `before` are both given, or no kit can make seeds for the goal.
    """
    parent = run.ledger
    at = _position(run, at, before)
    check_fork_position(parent.stream_name(), at, parent.length())
    meta = BranchMeta(new_ledger_id(), run.id, at)
    head = head_of(parent, meta, actor)
    chosen = _chosen(run.context, goal, model, llm, fresh, allow_writes)
    limits = budget or Budget()
    is_changed = bool(chosen or patches or events or kit or settings or labels or limits.limits())
    own = [head]
    if is_changed:
        changes = [
            *_patches(patches, actor),
            *(_event(each, actor) for each in events),
        ]
        own = _drafted(run, head, kit, goal, chosen, limits, settings, labels, changes)
    run.context.substrate(read_only=False).fork_with(run.id, at, meta.branch_id, own)
    return meta


def _position(run: OpenedRun, at: int | None, before: str | None) -> int:
    """Return the position at which to fork a run; `at` and `before` are as for `fork_run`."""
    if before is None:
        if at is not None:
            return at
        msg = f"The position at which to fork {run.id} is missing."
        raise PositionOutOfRange(msg, hint="Give --at N, --before EVENT, or RUN@N.")
    if at is not None:
        msg = f"The position at which to fork {run.id} is given twice: {at}, and before {before}."
        raise ConfigurationError(msg, hint="Give either --at N or --before EVENT.")
    event = run.ledger.find(before)
    if event is not None:
        return event.position
    position = _addressed(run, before)
    if position is not None and position < run.ledger.length():
        return position
    msg = f"{run.ledger.stream_name()} has no event {before!r:.80}."
    raise EventNotFound(msg, hint=f"`kando events {run.id}` lists them.")


def _addressed(run: OpenedRun, address: str) -> int | None:
    """Return the position that ``RUN@N`` names in a run; None if it is not an address in it."""
    with suppress(KandoError):
        parsed = parse_address(address)
        if parsed.position is not None and id_of(run.context.ledger(parsed.ledger)) == run.id:
            return parsed.position
    return None


def _chosen(
    context: Context,
    goal: str | None,
    model: str | None,
    llm: str | None,
    fresh: bool,
    allow_writes: bool,
) -> dict[str, Any]:
    """Return the data of ``branch.changed``: the choices for the branch."""
    if llm is not None:
        name = llm.partition(":")[0]
        hint = f"Fork without --llm, and `kando resume BRANCH --llm {name}:...`."
        check_provider(context, llm, hint=hint)
    for what, text in (("model", model), ("goal", goal)):
        if text is not None and not text.strip():
            raise InvalidData(f"The {what} is empty.", hint=f"Give a {what}, or leave it out.")
    chosen = {"goal": goal, "model": model, "llm": llm, "fresh": fresh or None}
    chosen["allow_writes"] = allow_writes or None
    return {name: value for name, value in chosen.items() if value is not None}


def _patches(patches: Sequence[tuple[str, Mapping[str, Any]]], actor: str) -> Iterator[KandoEvent]:
    for object_id, fields in patches:
        yield make_event(OBJECT_PATCHED, "", actor, [], {"id": object_id, "patch": dict(fields)})


def _event(given: Mapping[str, Any], actor: str) -> KandoEvent:
    type, data, cause = given.get("type"), given.get("data", {}), given.get("cause", [])
    if not isinstance(type, str) or not isinstance(data, dict) or not isinstance(cause, list):
        msg = f"An event for the branch is malformed: {str(dict(given))!r:.80}."
        hint = 'Write {"type": ..., "data": {...}}, and optionally "cause": [...].'
        raise InvalidData(msg, hint=hint)
    return make_event(check_type(type), "", actor, cause, data)


def _drafted(
    run: OpenedRun,
    head: RecordedEvent,
    named: str | Kit | None,
    goal: str | None,
    chosen: dict[str, Any],
    budget: Budget,
    settings: KitSettings | None,
    labels: Mapping[str, str | None] | None,
    changes: list[KandoEvent],
) -> list[RecordedEvent]:
    """Return the branch's own events, with the checks that recording makes."""
    draft = BranchDraft(run.ledger, head)
    # The kit that worked on the run at the fork position; if that is before any, the run's own.
    forked = OpenedRun(run.context, draft)
    is_loaded = forked.choices.kit is not None
    kit = _kit(forked if is_loaded else run, named, needed=goal is not None or bool(settings))
    events: list[KandoEvent] = []
    is_new = named is not None or (goal is not None and not is_loaded)
    if kit is not None and (is_new or settings):
        of_run = recorded_settings(kit, (forked if is_loaded else run).choices.kit)
        known = recorded_servers((forked if is_loaded else run).choices.kit)
        # Another kit lists the tools of its own servers when the branch is resumed.
        kept = known if named is None else {n: s for n, s in known.items() if s.get(ADDED) is True}
        data = settings_data(run.context, kit, settings, of_run)
        loaded = kit_data(kit, settings=data, tool_servers=kept)
        events.append(make_event(KIT_LOADED, "", head.actor, [], loaded))
    if chosen:
        events.append(make_event(BRANCH_CHANGED, "", head.actor, [head.id], chosen))
    if budget.limits():
        events.append(limits_event(budget.with_defaults(forked.limits), head.actor))
    if labels:
        events.append(labels_event(check_changes(labels, forked.labels), head.actor))
    kits = [] if kit is None else [kit]
    responders = [] if kit is None else responders_of(kit, forked.choices.kit)
    runtime = Runtime(draft, responders, kits=kits, edge_logic=())
    runtime.record(events, is_own=True)
    runtime.record(changes, is_external=True)
    if kit is not None and goal is not None:
        runtime.record(make_seeds(kit, goal, head.data["branch_id"]))
    return draft.own


def _kit(run: OpenedRun, named: str | Kit | None, *, needed: bool) -> Kit | None:
    if named is not None or run.choices.kit is not None:
        return run.require_kit(named)
    if needed:
        msg = f"{run.ledger.stream_name()} has no kit that could make seeds or have settings."
        raise ConfigurationError(msg, hint="Name one with --kit.")
    return None
