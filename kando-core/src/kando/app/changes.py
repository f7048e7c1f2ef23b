"""What a branch was told to do differently, as its own first events say."""

from __future__ import annotations

from typing import Any

import attrs

from kando.app.context import App, id_of
from kando.app.kits.find import find_kit, loaded_kit
from kando.app.snapshots import stored_snapshot
from kando.errors import KandoError
from kando.kit import Kit
from kando.ledger.interface import LedgerStore
from kando.ledger.upcast import upcast
from kando.schema.events import BRANCH_CHANGED, KIT_LOADED

__all__ = ["Choices", "brought_up", "brought_up_by", "choices_of", "installed_kit"]


@attrs.frozen
class Choices:
    """What was chosen for a run when it was started, or for a branch when it was forked.

    Attributes:
        kit: name, version and distribution of its kit; None for a run made by hand.
        model: that all requests ask for; None for the one that each request names.
        llm: ``provider`` or ``provider:argument`` that answers; None if nothing was chosen.
        fresh_id: the branch, it or an ancestor, that refuses what was cached before; or None.
        fresh_from: position of the first event of that branch's own; 0 without one.
    """

    kit: dict[str, Any] | None
    model: str | None = None
    llm: str | None = None
    fresh_id: str | None = None
    fresh_from: int = 0


def choices_of(app: App, ledger: LedgerStore) -> Choices:
    """Return what was chosen for a run or branch; a branch inherits what it does not change.

    It reads the first events of the branches it descends from, and not the ledger between.
    """
    found = Choices(None)
    stop, id, is_branch = ledger.length(), id_of(ledger), ledger.stream_name().startswith("branch:")
    while is_branch:
        info = app.substrate().info(id)
        if info.parent_id is None:
            break
        start = info.fork_position or 0
        # A branch that was itself forked before its first own event adds nothing.
        if start < stop:
            found = _with_changes(found, ledger, id, start, stop)
        stop, id = min(stop, start), info.parent_id
    if found.kit is not None:
        return found
    return attrs.evolve(found, kit=loaded_kit(ledger, lambda: stored_snapshot(app, ledger)))


def _with_changes(
    found: Choices, ledger: LedgerStore, branch_id: str, start: int, stop: int
) -> Choices:
    for position in range(start + 1, stop):
        event = ledger.at(position)
        if event is not None and event.type == KIT_LOADED:
            found = attrs.evolve(found, kit=found.kit or event.data)
        elif event is not None and event.type == BRANCH_CHANGED:
            data = event.data
            found = attrs.evolve(
                found, model=found.model or data.get("model"), llm=found.llm or data.get("llm")
            )
            if data.get("fresh") and found.fresh_id is None:
                found = attrs.evolve(found, fresh_id=branch_id, fresh_from=start)
        else:
            break
    return found


def installed_kit(app: App, ledger: LedgerStore) -> Kit | None:
    """Return the kit of a run or branch; None if it has none, or none that is installed."""
    known = choices_of(app, ledger).kit
    if known is None:
        return None
    try:
        return find_kit(known["name"], app.plugins)
    except KandoError:
        return None


def brought_up(app: App, ledger: LedgerStore) -> LedgerStore:
    """Return a ledger that is read in the current versions of its events.

    A kit that is not installed cannot say which these are; then events are read as they are.
    """
    return brought_up_by(installed_kit(app, ledger), app, ledger)


def brought_up_by(kit: Kit | None, app: App, ledger: LedgerStore) -> LedgerStore:
    """Do what `brought_up` does, for a kit that is known: its `installed_kit`."""
    if kit is None:
        return ledger
    return upcast(ledger, [*app.plugins.upcasters(), *kit.upcasters])
