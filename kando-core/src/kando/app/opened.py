"""A run that is opened for one command: its ledger, choices, limits and snapshot, read once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from kando.app.addresses import parse_address
from kando.app.context import Context, id_of
from kando.app.demo import DEMO_ID
from kando.errors import (
    ConfigurationError,
    InvalidData,
    KandoError,
    LedgerNotFound,
    PositionOutOfRange,
)
from kando.ledger.interface import LedgerStore
from kando.ledger.substrate import Substrate
from kando.ledger.upcast import upcast
from kando.schema.events import RecordedEvent
from kando.schema.firing import Firing, outputs_of
from kando.settings import SNAPSHOT_DIR, value_of
from kando.views.choices import CHOOSING, Choices
from kando.views.labels import Labels
from kando.views.status import StatusFold
from kando.views.stored import status_fold_of
from kando.world.snapshot import (
    FileSnapshots,
    Installed,
    SnapshotStore,
    StoredSnapshot,
    open_snapshot,
)

if TYPE_CHECKING:
    from kando.kit import Kit
    from kando.responders.budget import Budget

__all__ = ["Choices", "OpenedRun", "open_address", "open_run"]

#: How many events and firings of a run are kept in memory after they are read. A run that has more
#: has a snapshot, or its events are read again.
_KEPT = 1000


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
        directory = value_of(SNAPSHOT_DIR, self.context.environ)
        if self.is_demo_run:
            return FileSnapshots(Path(directory), self.ledger) if directory else None
        substrate = self.context.substrate(read_only=read_only)
        folder = Path(directory) if directory else None
        own = _snapshots_of(self.context, substrate, self.ledger, folder)
        if not self.ledger.stream_name().startswith("branch:"):
            return own
        return _BranchSnapshots(own, self.context, substrate, self.id, folder)

    def remove_snapshot(self) -> None:
        """Remove the run's snapshot in ``KANDO_SNAPSHOT_DIR``; the substrate removes its own."""
        directory = value_of(SNAPSHOT_DIR, self.context.environ)
        if directory:
            FileSnapshots(Path(directory), self.ledger).remove()

    @cached_property
    def snapshot(self) -> StoredSnapshot | None:
        """The run's newest snapshot, not decoded yet, or None."""
        store = self.snapshots()
        found = open_snapshot(self.ledger, store) if store is not None else None
        cache = self.context.snapshot_cache
        kept = cache.latest(self.ledger, self.ledger.length()) if cache is not None else None
        if found is None or (kept is not None and kept.position > found.position):
            return kept
        return found

    def read_firings(self, start: int) -> Iterator[RecordedEvent | Firing]:
        """Yield the events from a position on as recorded, each whole firing as one item.

        Those after the snapshot are read only once, unless they are many.

        Args:
            start: position of the first event.
        """
        if start != (self.snapshot.position if self.snapshot is not None else 0):
            yield from self.ledger.read_firings(start)
            return
        yield from self._first
        if len(self._first) == _KEPT:
            last = self._first[-1]
            after = last.position + (len(last) if isinstance(last, Firing) else 1)
            yield from self.ledger.read_firings(after)

    @cached_property
    def _first(self) -> list[RecordedEvent | Firing]:
        """The first events and firings after the snapshot."""
        start = self.snapshot.position if self.snapshot is not None else 0
        return list(islice(self.ledger.read_firings(start), _KEPT))

    @cached_property
    def choices(self) -> Choices:
        """The choices for the run; a branch inherits those that it does not change.

        Only the events after the snapshot are read.
        """
        stored = self.snapshot
        known = status_fold_of(stored, of_data=False) if stored is not None else None
        start, choices = (known.length, known.choices) if known is not None else (0, Choices())
        for event in outputs_of(self.read_firings(start)):
            if event.type in CHOOSING:
                choices = choices.apply(event)
        return choices

    @cached_property
    def labels(self) -> Labels:
        """The labels of the run. Only the events after the snapshot are read."""
        return self.status_fold(self.ledger.length()).labels

    def chosen_llm(self) -> str | None:
        """Return the provider that the run's choices name, or None.

        Raises:
            ConfigurationError: the choices come from an imported file, and were not accepted.
        """
        choices = self.choices
        if not choices.is_imported:
            return choices.llm
        named = [f"provider {choices.llm!r:.80}"] if choices.llm else []
        named += [f"model {choices.model!r:.80}"] if choices.model else []
        if not named:
            return None
        msg = f"{self.ledger.stream_name()} was imported from a file that chooses the {' and the '.join(named)}."
        hint = f"Name the provider to use: `kando resume {self.id} --llm PROVIDER`."
        raise ConfigurationError(msg, hint=hint)

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
            named: the kit, or its name; the one that worked on the run last if None.

        Raises:
            ConfigurationError: no kit has worked on the run, and none is named.
            UnknownPlugin: the kit is not installed.
        """
        if isinstance(named, str):
            return self.context.kit(named)
        if named is not None:
            return named
        known = self.choices.kit
        if known is None:
            msg = f"{self.ledger.stream_name()} has no kit."
            raise ConfigurationError(msg, hint="Name one with --kit.")
        return self.kit or self._find_kit(known)

    def _find_kit(self, known: Mapping[str, Any]) -> Kit:
        from kando.plugins.errors import UnknownPlugin

        try:
            return self.context.kit(known["name"])
        except UnknownPlugin as error:
            if known.get("distribution"):
                raise
            # A kit without a distribution was a file, or an object of a program.
            hint = f"If it is in a Python file: `kando resume {self.id} --kit ./FILE.py`."
            error.hint = f"{hint} {error.hint or ''}".rstrip()
            raise

    def is_demo_of(self, kit: Kit) -> bool:
        """Whether the run was started as the demo of `kit`, whose script answers its requests."""
        loaded = self.choices.loaded
        return loaded is not None and loaded.demo_of == kit.name and kit.demo is not None

    @cached_property
    def is_known_idle(self) -> bool:
        """Whether the run's kit had nothing left to do, and is still installed as it was then.

        The kit is not imported to know it: there are no upcasters, and it has no work.
        """
        rest = self.snapshot.rest() if self.snapshot is not None else None
        if rest is None or rest.installed is None or self.choices.kit is None:
            return False
        is_of_kit = rest.kit["name"] == self.choices.kit["name"]
        return is_of_kit and self.context.is_unchanged(rest.kit, rest.installed)

    @cached_property
    def current(self) -> LedgerStore:
        """The ledger with its events upcast to their current versions.

        Without the run's kit these are unknown; events are then read as recorded.
        """
        if self.is_known_idle or self.kit is None:
            return self.ledger
        return upcast(self.ledger, [*self.context.plugins.upcasters(), *self.kit.upcasters])

    @cached_property
    def current_snapshot(self) -> StoredSnapshot | None:
        """The run's snapshot, as a snapshot of `current`, or None."""
        return attrs.evolve(self.snapshot, ledger=self.current) if self.snapshot else None

    def snapshot_at(self, end: int) -> StoredSnapshot | None:
        """Return the latest snapshot at or before a position, as a snapshot of `current`, or None."""
        return self._latest(self.current, end, self.current_snapshot)

    def status_fold(self, end: int) -> StatusFold:
        """Return the fold of the run's status after its first events, from events as recorded.

        It counts no objects. Only what follows from the runtime's own events may be used: what kits
        record may have been read in other versions.
        """
        stored = self._latest(self.ledger, end, self.snapshot)
        fold = status_fold_of(stored, of_data=False) if stored is not None else None
        fold = fold or StatusFold()
        for event in islice(self.ledger.read(fold.length), end - fold.length):
            fold.observe(event)
        return fold

    def _latest(
        self, ledger: LedgerStore, end: int, newest: StoredSnapshot | None
    ) -> StoredSnapshot | None:
        if newest is None or newest.position <= end:
            return newest
        cache = self.context.snapshot_cache
        return cache.latest(ledger, end) if cache is not None else None

    @cached_property
    def limits(self) -> Budget:
        """The current limits of the run; a branch inherits those of its parent.

        Raises:
            InvalidData: the ledger contains limits that no budget can have.
        """
        from kando.responders.budget import Budget

        choices = self.choices
        known = {each.name for each in attrs.fields(Budget)}
        limits = {} if choices.limits is None else choices.limits
        try:
            if not isinstance(limits, dict) or not limits.keys() <= known:
                raise ConfigurationError(f"{limits!r:.80} is not a set of limits.", hint="")
            return Budget(**limits)
        except ConfigurationError as error:
            where = f"{choices.limits_id} of {self.ledger.stream_name()}"
            msg = f"The limits in {where} are damaged: {error.message}"
            hint = f"`kando resume {self.id} --no-budget` removes them."
            raise InvalidData(msg, hint=hint) from error


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


def _snapshots_of(
    context: Context, substrate: Substrate, ledger: LedgerStore, folder: Path | None
) -> SnapshotStore:
    if folder is not None:
        return FileSnapshots(folder, ledger)
    return _SubstrateSnapshots(substrate, id_of(ledger), context)


@attrs.frozen
class _BranchSnapshots:
    """The snapshot of a branch; until it has its own, those of its ancestors."""

    own: SnapshotStore
    context: Context
    substrate: Substrate
    ledger_id: str
    folder: Path | None

    @property
    def least(self) -> int:
        """As of its own."""
        return self.own.least

    def get(self) -> bytes | None:
        """Return its own snapshot, or None."""
        return self.own.get()

    def put(self, body: bytes) -> None:
        """Store its own snapshot, and replace the previous one."""
        self.own.put(body)

    def inherited(self) -> Iterator[tuple[str, bytes]]:
        """Yield the ledgers that it descends from, and their snapshots, its parent's first."""
        try:
            info = self.substrate.info(self.ledger_id)
        except LedgerNotFound:
            # It is being forked, and not in the store yet.
            return
        while info.parent_id is not None:
            ledger = self.substrate.open(info.parent_id)
            body = _snapshots_of(self.context, self.substrate, ledger, self.folder).get()
            if body is not None:
                yield ledger.stream_name(), body
            info = self.substrate.info(info.parent_id)


@attrs.frozen
class _SubstrateSnapshots:
    """The snapshot of a ledger in its substrate."""

    substrate: Substrate
    ledger_id: str
    context: Context
    #: Fewer events are read from the ledger within milliseconds.
    least: int = 1000

    def get(self) -> bytes | None:
        """Return the stored snapshot, or None."""
        return self.substrate.snapshot(self.ledger_id)

    def put(self, body: bytes) -> None:
        """Store a snapshot, and replace the previous one."""
        self.substrate.store_snapshot(self.ledger_id, body)

    def installed(self, kit: Mapping[str, Any]) -> Installed | None:
        """Return the installation of a kit; None if that is unknown."""
        return self.context.installed(kit)
