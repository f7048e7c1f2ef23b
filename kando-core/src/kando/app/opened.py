"""A run as it is opened for one command: its ledger, kit, choices, limits and snapshot, read once."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import attrs

from kando.app.addresses import parse_address
from kando.app.context import Context, id_of
from kando.app.demo import DEMO_ID
from kando.errors import ConfigurationError, InvalidData, KandoError, PositionOutOfRange
from kando.kit import Kit
from kando.ledger.interface import LedgerStore
from kando.ledger.substrate import Substrate
from kando.ledger.upcast import upcast
from kando.responders.budget import Budget
from kando.schema.events import BRANCH_CHANGED, BUDGET_SET, KIT_LOADED, RecordedEvent
from kando.views.status import StatusFold
from kando.views.stored import status_fold_of
from kando.world.snapshot import FileSnapshots, SnapshotStore, StoredSnapshot, open_snapshot

__all__ = ["Choices", "OpenedRun", "open_address", "open_run"]

_LIMITS = frozenset(each.name for each in attrs.fields(Budget))


@attrs.frozen
class Choices:
    """What was chosen for a run when it was started, or for a branch when it was forked.

    Attributes:
        kit: name, version and distribution of its kit; None for a run that no kit started.
        model: the model of all requests; None for the one that each request names.
        llm: ``provider`` or ``provider:argument`` that answers; None if nothing was chosen.
        fresh_id: the branch, or its ancestor, that refuses what was cached before it; or None.
        fresh_from: position of that branch's first own event; 0 without one.
        allows_writes: whether a branch calls tools that write without asking a person.
    """

    kit: dict[str, Any] | None
    model: str | None = None
    llm: str | None = None
    fresh_id: str | None = None
    fresh_from: int = 0
    allows_writes: bool = False


@attrs.define(slots=False)
class OpenedRun:
    """A run or branch that is opened. Each fact about it is read on first use, and only once.

    Open it anew after it was worked on: the facts may have changed.

    Attributes:
        context: the plugins, the settings and the substrate.
        ledger: events as they were recorded.
    """

    context: Context
    ledger: LedgerStore

    @cached_property
    def id(self) -> str:
        """Id of the run or branch."""
        return id_of(self.ledger)

    @property
    def is_demo_run(self) -> bool:
        """Whether this is the built-in demo run, which no substrate holds."""
        return self.id == DEMO_ID

    def snapshots(self, *, read_only: bool = True) -> SnapshotStore | None:
        """Return where the run's snapshot is kept: ``KANDO_SNAPSHOT_DIR``, else the substrate.

        Returns:
            None for the demo run, whose snapshot is not kept.
        """
        directory = self.context.environ.get("KANDO_SNAPSHOT_DIR")
        if directory:
            return FileSnapshots(Path(directory), self.ledger)
        if self.is_demo_run:
            return None
        return _SubstrateSnapshots(self.context.substrate(read_only=read_only), self.id)

    @cached_property
    def snapshot(self) -> StoredSnapshot | None:
        """The run's snapshot, with nothing in it decoded yet, or None."""
        store = self.snapshots()
        return open_snapshot(self.ledger, store) if store is not None else None

    @cached_property
    def choices(self) -> Choices:
        """What was chosen for the run; a branch inherits what it does not change.

        Only the first events of the branches that it descends from are read, and not the ledger
        between them.
        """
        found = self._branch_choices()
        return found if found.kit is not None else attrs.evolve(found, kit=self._started_with())

    @cached_property
    def kit(self) -> Kit | None:
        """The run's kit; None if no kit started it, or the kit is not installed."""
        known = self.choices.kit
        if known is None:
            return None
        try:
            return self.context.kit(known["name"])
        except KandoError:
            return None

    def require_kit(self, named: str | Kit | None = None) -> Kit:
        """Return the kit that works on the run.

        Args:
            named: the kit, or its name; the one that the run was started with if None.

        Raises:
            ConfigurationError: no kit started the run, and none is named.
            UnknownPlugin: the kit is not installed.
        """
        if isinstance(named, Kit):
            return named
        if named is not None:
            return self.context.kit(named)
        known = self.choices.kit
        if known is None:
            msg = f"{self.ledger.stream_name()} was not started by a kit."
            raise ConfigurationError(msg, hint="Name one with --kit.")
        return self.kit or self.context.kit(known["name"])

    def is_demo_of(self, kit: Kit) -> bool:
        """Whether the run was started as the demo of `kit`, whose script answers its requests."""
        known = self.choices.kit or {}
        return known.get("demo") is True and known.get("name") == kit.name and kit.demo is not None

    @cached_property
    def current(self) -> LedgerStore:
        """The ledger, read in the current versions of its events.

        Without the run's kit these are unknown; events are then read as they were recorded.
        """
        if self.kit is None:
            return self.ledger
        return upcast(self.ledger, [*self.context.plugins.upcasters(), *self.kit.upcasters])

    @cached_property
    def current_snapshot(self) -> StoredSnapshot | None:
        """The run's snapshot, held against `current`, or None."""
        return attrs.evolve(self.snapshot, ledger=self.current) if self.snapshot else None

    @cached_property
    def limits(self) -> Budget:
        """The limits that the run was given last; a branch inherits those of its parent.

        Raises:
            InvalidData: the ledger holds limits that no budget can have.
        """
        known = self._kept_status()
        start, limits = (known.length, known.budget) if known is not None else (0, {})
        source: RecordedEvent | None = None
        for event in self.ledger.read(start):
            if event.type == BUDGET_SET:
                source, limits = event, event.data.get("limits", {})
        try:
            if not isinstance(limits, dict) or not limits.keys() <= _LIMITS:
                raise ConfigurationError(f"{limits!r:.80} names no limits.", hint="")
            return Budget(**limits)
        except ConfigurationError as error:
            stream = self.ledger.stream_name()
            where = f"{source.id} of {stream}" if source else stream
            msg = f"The limits in {where} are damaged: {error.message}"
            raise InvalidData(msg, hint="Set new limits, with --no-budget.") from error

    def _branch_choices(self) -> Choices:
        found, ledger = Choices(None), self.ledger
        stop, id = ledger.length(), self.id
        is_branch = ledger.stream_name().startswith("branch:")
        while is_branch:
            info = self.context.substrate().info(id)
            if info.parent_id is None:
                break
            start = info.fork_position or 0
            # A branch that was itself forked before its first own event adds nothing.
            if start < stop:
                found = _with_changes(found, ledger, id, start, stop)
            stop, id = min(stop, start), info.parent_id
        return found

    def _started_with(self) -> dict[str, Any] | None:
        """Return the data of the run's first ``kit.loaded``, or None.

        ``demo`` is in it, and true, if the run works from the documents of the kit's demo.
        """
        first = self.ledger.at(0)
        if first is not None and first.type == KIT_LOADED:
            return first.data
        known = self._kept_status()
        if known is not None and known.first_kit is not None:
            return known.first_kit
        # A run that no kit started may be long: what the snapshot covers is not read again.
        start = known.length if known is not None else 0
        return next((e.data for e in self.ledger.read(start) if e.type == KIT_LOADED), None)

    def _kept_status(self) -> StatusFold | None:
        stored = self.snapshot
        return status_fold_of(stored, of_data=False) if stored is not None else None


def open_run(context: Context, name: str, *, read_only: bool = True) -> OpenedRun:
    """Open a run or branch.

    Args:
        context: the plugins, the settings and the substrate.
        name: an id, a unique prefix, ``@last``, or ``demo``.
        read_only: whether nothing will be appended.

    Raises:
        LedgerNotFound: no run matches; nothing was created.
        AmbiguousName: the prefix matches several runs.
        PositionOutOfRange: the name is ``RUN@N``.
    """
    return OpenedRun(context, context.ledger(name, read_only=read_only))


def open_address(context: Context, address: str, at: int | None = None) -> tuple[OpenedRun, int]:
    """Open a run for reading and return it with the number of events that are addressed.

    Args:
        context: the plugins, the settings and the substrate.
        address: ``RUN``, or ``RUN@N`` for its first N events.
        at: takes precedence over the N of the address.

    Raises:
        LedgerNotFound, AmbiguousName: as for `open_run`.
        PositionOutOfRange: the run is shorter.
    """
    parsed = parse_address(address)
    run = open_run(context, parsed.ledger)
    length = run.ledger.length()
    wanted = at if at is not None else parsed.position
    if wanted is None:
        return run, length
    if 0 <= wanted <= length:
        return run, wanted
    msg = f"{run.ledger.stream_name()} has {length} events; position {wanted} is outside it."
    raise PositionOutOfRange(msg, hint=f"Use 0 to {length}.")


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
            if data.get("allow_writes") is True:
                found = attrs.evolve(found, allows_writes=True)
            if data.get("fresh") and found.fresh_id is None:
                found = attrs.evolve(found, fresh_id=branch_id, fresh_from=start)
        else:
            break
    return found


@attrs.frozen
class _SubstrateSnapshots:
    """The snapshot of a ledger in its substrate."""

    substrate: Substrate
    ledger_id: str
    #: Reading fewer events from the ledger takes a few milliseconds.
    least: int = 1000

    def get(self) -> bytes | None:
        """Return the stored snapshot, or None."""
        return self.substrate.snapshot(self.ledger_id)

    def put(self, body: bytes) -> None:
        """Store a snapshot in place of the one before."""
        self.substrate.store_snapshot(self.ledger_id, body)
