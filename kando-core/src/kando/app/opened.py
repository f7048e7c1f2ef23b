"""A run that is opened for one command: its ledger, kit, choices, limits and snapshot, read once."""

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
    """The choices for a run when it was started, or for a branch when it was forked.

    Attributes:
        kit: name, version and distribution of its kit; None for a run without a kit.
        model: the model of all requests; None for the one that each request names.
        llm: ``provider`` or ``provider:argument`` that answers; None if no choice was made.
        fresh_id: the branch, or its ancestor, that ignores answers cached before it; or None.
        fresh_from: position of the first own event of that branch; 0 without one.
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
    """An opened run or branch. Each fact about it is read on first use, and only once.

    Open the run again after work on it: the facts may have changed.

    Attributes:
        context: the plugins, the settings and the substrate.
        ledger: with its events as recorded.
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
        """Return the store of the run's snapshot: ``KANDO_SNAPSHOT_DIR``, else the substrate.

        Returns:
            None for the demo run, which has no snapshot.
        """
        directory = self.context.environ.get("KANDO_SNAPSHOT_DIR")
        if directory:
            return FileSnapshots(Path(directory), self.ledger)
        if self.is_demo_run:
            return None
        return _SubstrateSnapshots(self.context.substrate(read_only=read_only), self.id)

    @cached_property
    def snapshot(self) -> StoredSnapshot | None:
        """The run's snapshot, not decoded yet, or None."""
        store = self.snapshots()
        return open_snapshot(self.ledger, store) if store is not None else None

    @cached_property
    def choices(self) -> Choices:
        """The choices for the run; a branch inherits those that it does not change.

        Only the first own events of the branch and its ancestors are read.
        """
        found = self._branch_choices()
        return found if found.kit is not None else attrs.evolve(found, kit=self._started_with())

    @cached_property
    def kit(self) -> Kit | None:
        """The run's kit; None if the run has no kit, or the kit is not installed."""
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
            named: the kit, or its name; the run's kit if None.

        Raises:
            ConfigurationError: the run has no kit, and `named` is None.
            UnknownPlugin: the kit is not installed.
        """
        if isinstance(named, Kit):
            return named
        if named is not None:
            return self.context.kit(named)
        known = self.choices.kit
        if known is None:
            msg = f"{self.ledger.stream_name()} has no kit."
            raise ConfigurationError(msg, hint="Name one with --kit.")
        return self.kit or self.context.kit(known["name"])

    def is_demo_of(self, kit: Kit) -> bool:
        """Whether the run is the demo of `kit`, whose script answers its requests."""
        known = self.choices.kit or {}
        return known.get("demo") is True and known.get("name") == kit.name and kit.demo is not None

    @cached_property
    def current(self) -> LedgerStore:
        """The ledger with its events upcast to their current versions.

        Without the run's kit these are unknown; events are then read as recorded.
        """
        if self.kit is None:
            return self.ledger
        return upcast(self.ledger, [*self.context.plugins.upcasters(), *self.kit.upcasters])

    @cached_property
    def current_snapshot(self) -> StoredSnapshot | None:
        """The run's snapshot, as a snapshot of `current`, or None."""
        return attrs.evolve(self.snapshot, ledger=self.current) if self.snapshot else None

    @cached_property
    def limits(self) -> Budget:
        """The current limits of the run; a branch inherits those of its parent.

        Raises:
            InvalidData: the ledger contains limits that no budget can have.
        """
        known = self._stored_status()
        start, limits = (known.length, known.budget) if known is not None else (0, {})
        source: RecordedEvent | None = None
        for event in self.ledger.read(start):
            if event.type == BUDGET_SET:
                source, limits = event, event.data.get("limits", {})
        try:
            if not isinstance(limits, dict) or not limits.keys() <= _LIMITS:
                raise ConfigurationError(f"{limits!r:.80} is not a set of limits.", hint="")
            return Budget(**limits)
        except ConfigurationError as error:
            stream = self.ledger.stream_name()
            where = f"{source.id} of {stream}" if source else stream
            msg = f"The limits in {where} are damaged: {error.message}"
            hint = f"`kando resume {self.id} --no-budget` removes them."
            raise InvalidData(msg, hint=hint) from error

    def _branch_choices(self) -> Choices:
        found, ledger = Choices(None), self.ledger
        stop, id = ledger.length(), self.id
        is_branch = ledger.stream_name().startswith("branch:")
        while is_branch:
            info = self.context.substrate().info(id)
            if info.parent_id is None:
                break
            start = info.fork_position or 0
            # A branch that was forked again before its first own event has no choices.
            if start < stop:
                found = _with_changes(found, ledger, id, start, stop)
            stop, id = min(stop, start), info.parent_id
        return found

    def _started_with(self) -> dict[str, Any] | None:
        """Return the data of the run's first ``kit.loaded``, or None.

        Its ``demo`` is true if the run works from the documents of the kit's demo.
        """
        first = self.ledger.at(0)
        if first is not None and first.type == KIT_LOADED:
            return first.data
        known = self._stored_status()
        if known is not None and known.first_kit is not None:
            return known.first_kit
        # A run without a kit may be long: events that the snapshot covers are not read again.
        start = known.length if known is not None else 0
        return next((e.data for e in self.ledger.read(start) if e.type == KIT_LOADED), None)

    def _stored_status(self) -> StatusFold | None:
        stored = self.snapshot
        return status_fold_of(stored, of_data=False) if stored is not None else None


def open_run(context: Context, name: str, *, read_only: bool = True) -> OpenedRun:
    """Open a run or branch.

    Args:
        context: the plugins, the settings and the substrate.
        name: an id, a unique prefix, ``@last``, or ``demo``.
        read_only: whether the caller only reads.

    Raises:
        LedgerNotFound: no run matches; nothing was created.
        AmbiguousName: the prefix matches several runs.
        PositionOutOfRange: the name is ``RUN@N``.
    """
    return OpenedRun(context, context.ledger(name, read_only=read_only))


def open_address(context: Context, address: str, at: int | None = None) -> tuple[OpenedRun, int]:
    """Open a run for reading, and return it with the number of events that are addressed.

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
    msg = f"{run.ledger.stream_name()} has {length} events; position {wanted} is out of range."
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
    #: Fewer events are read from the ledger within milliseconds.
    least: int = 1000

    def get(self) -> bytes | None:
        """Return the stored snapshot, or None."""
        return self.substrate.snapshot(self.ledger_id)

    def put(self, body: bytes) -> None:
        """Store a snapshot, and replace the previous one."""
        self.substrate.store_snapshot(self.ledger_id, body)
