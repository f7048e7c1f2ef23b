"""The choices for a run: its kit and limits, and for a branch its model, provider and freshness."""

from __future__ import annotations

from typing import Any

import attrs

from kando.schema.events import (
    BRANCH_CHANGED,
    BRANCH_CREATED,
    BUDGET_SET,
    KIT_LOADED,
    STARTED_BY,
    RecordedEvent,
)
from kando.views.kit import ADDED, LoadedKit, kit_after, recorded_servers

__all__ = ["CHOOSING", "IMPORTED", "Choices"]

#: Types of events that change the choices.
CHOOSING = frozenset({KIT_LOADED, BRANCH_CREATED, BRANCH_CHANGED, BUDGET_SET})

#: Field of a ``branch.changed`` that an import records: the choices before it come from a file.
IMPORTED = "imported"


@attrs.frozen
class Choices:
    """The choices for a run. Immutable: applying an event returns new choices.

    A branch inherits what it does not change, since its ledger begins with that of its parent.

    Attributes:
        loaded: the kit that works on the run; None for a run that no kit has worked on.
        model: the model of all requests; None for the one that each request names.
        llm: ``provider`` or ``provider:argument`` that answers; None if no choice was made.
        fresh_id: the branch, or its ancestor, that ignores answers cached before it; or None.
        fresh_from: position of the first own event of that branch; 0 without one.
        allows_writes: whether a branch calls tools that write without asking a person.
        is_imported: whether model, provider and added tool servers come from an imported file, and no person of this
            store has confirmed them.
        limits: data of the last ``budget.set``; unchecked, None without one.
        limits_id: id of that event, or None.
        branch_id: the branch that the events so far are of; None if they are of a run.
        branch_from: position of that branch's first own event; 0 for a run.
        started_by: of a child run: what started it, as its first event states it; None for any
            other run, such as a branch of a child that a person made.
    """

    loaded: LoadedKit | None = None
    model: str | None = None
    llm: str | None = None
    fresh_id: str | None = None
    fresh_from: int = 0
    allows_writes: bool = False
    is_imported: bool = False
    limits: Any = None
    limits_id: str | None = None
    branch_id: str | None = None
    branch_from: int = 0
    started_by: dict[str, Any] | None = None

    @property
    def kit(self) -> dict[str, Any] | None:
        """Name, version and distribution of the kit that works on the run, or None."""
        return self.loaded.data if self.loaded is not None else None

    @property
    def authority(self) -> tuple[str | None, str | None, bool, tuple[str, ...]]:
        """The choices of who is asked and paid, what a branch may do without asking, and who is called."""
        servers = recorded_servers(self.kit)
        added = sorted(name for name, each in servers.items() if each.get(ADDED) is True)
        return self.model, self.llm, self.allows_writes, tuple(added)

    def apply(self, event: RecordedEvent) -> Choices:
        """Return the choices after the next event of the ledger."""
        data = event.data
        if event.type == KIT_LOADED:
            known = attrs.evolve(self, loaded=kit_after(self.loaded, event))
            return known if event.position else known._started_by(data)
        if event.type == BUDGET_SET:
            return attrs.evolve(self, limits=data.get("limits", {}), limits_id=event.id)
        if event.type == BRANCH_CREATED:
            id = _text(data.get("branch_id"))
            return attrs.evolve(self, branch_id=id, branch_from=event.position, started_by=None)
        if event.type == BRANCH_CHANGED and data.get(IMPORTED) is True:
            return attrs.evolve(self, is_imported=True, allows_writes=False)
        if event.type == BRANCH_CHANGED:
            is_fresh = data.get("fresh") is True and self.branch_id is not None
            named = self._started_by(data)
            return attrs.evolve(
                named,
                model=_text(data.get("model")) or named.model,
                llm=_text(data.get("llm")) or named.llm,
                fresh_id=self.branch_id if is_fresh else self.fresh_id,
                fresh_from=self.branch_from if is_fresh else self.fresh_from,
                allows_writes=self.allows_writes or data.get("allow_writes") is True,
                is_imported=self.is_imported and _text(data.get("llm")) is None,
            )
        return self

    def _started_by(self, data: dict[str, Any]) -> Choices:
        named = data.get(STARTED_BY)
        if not isinstance(named, dict):
            return self
        # A child of a branch is asked of the model that was chosen for the branch.
        model, llm = _text(named.get("model")) or self.model, _text(named.get("llm")) or self.llm
        return attrs.evolve(self, started_by=named, model=model, llm=llm)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
