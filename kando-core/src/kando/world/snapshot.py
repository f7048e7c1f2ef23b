"""Snapshots: a stored world at a ledger position. Only an optimisation; the ledger wins."""

# long: what is stored, and each reason to ignore it, in one place; half of it is reference.

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar, overload, runtime_checkable

import attrs
import msgspec

from kando.errors import ConfigurationError, PositionOutOfRange
from kando.ledger.files import write_whole
from kando.ledger.interface import LedgerStore
from kando.ledger.upcast import UpcastLedger
from kando.schema.exact_json import encode, exact
from kando.settings import SNAPSHOT_DIR, value_of
from kando.world._container import Container, Header, Installed, Rest, pack, unpack
from kando.world.graph import Relation, World, WorldObject, stored_data, undecoded_objects

__all__ = [
    "FileSnapshots",
    "Installed",
    "Rest",
    "Snapshot",
    "SnapshotStore",
    "StoredSnapshot",
    "load_snapshot",
    "note_rest",
    "open_snapshot",
    "save_snapshot",
]

#: Name of the view that every snapshot holds.
WORLD_STATE = "world-state"

View = TypeVar("View")


class Snapshot(NamedTuple):
    """A world, and how many events of its ledger it amounts to."""

    world: World
    position: int


class SnapshotStore(Protocol):
    """Where the one snapshot of a ledger is kept.

    Attributes:
        least: how many events more than the one that is kept a snapshot must have to pay.
    """

    @property
    def least(self) -> int:
        """Return the number of events that a snapshot must spare to be worth its place."""

    def get(self) -> bytes | None:
        """Return what is kept, or None."""

    def put(self, body: bytes) -> None:
        """Keep a snapshot in place of the one before."""


@runtime_checkable
class _KnowsInstalled(Protocol):
    """A store that knows the installation of kits: readers need no import to see that it is unchanged."""

    def installed(self, kit: Mapping[str, Any]) -> Installed | None:
        """Return the installation of a kit, given its name, version and distribution."""


@runtime_checkable
class _Inherits(Protocol):
    """A store of the snapshot of a branch, which also has those of its ancestors."""

    def inherited(self) -> Iterator[tuple[str, bytes]]:
        """Yield the names of its ancestors and their snapshots, the nearest first."""


class _World(msgspec.Struct):
    """A world as it is stored; decoding it checks the types of everything in it.

    Attributes:
        objects: the fields of each.
        relations: the fields of each.
        former_types: of the objects that another type replaced.
        order: ids of the objects of the types that have such an object; those of any other type are in
            the order of `objects`.
    """

    objects: list[tuple[str, str, msgspec.Raw, str, str]]
    relations: list[tuple[str, str, str, str, dict[str, Any], str]]
    former_types: dict[str, list[tuple[str, str]]] = {}
    order: dict[str, list[str]] = {}


class _File(msgspec.Struct):
    """The snapshot of a run that no ledger is bound to."""

    run_id: str
    position: int
    world: _World


_decode_world = msgspec.json.Decoder(_World).decode
_decode_file = msgspec.json.Decoder(_File).decode

# Characters that would make a run id name more than a file in a folder.
_NO_FILE_NAME = frozenset("/\\\0")


@attrs.frozen
class FileSnapshots:
    """The snapshot of a ledger in a folder.

    Attributes:
        directory: made if it is missing.
        ledger: names the file.
    """

    directory: Path
    ledger: LedgerStore
    #: Saving was requested explicitly, so short ledgers count, too.
    least: int = 1

    @property
    def path(self) -> Path:
        """The file."""
        return self.directory / f"{self.ledger.stream_name().replace(':', '-', 1)}.snapshot"

    def get(self) -> bytes | None:
        """Return what is kept, or None."""
        try:
            return self.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def put(self, body: bytes) -> None:
        """Keep a snapshot in place of the one before."""
        write_whole(self.path, [body], make_folder=True)

    def remove(self) -> None:
        """Remove what is kept, if anything is."""
        with suppress(FileNotFoundError, NotADirectoryError):
            self.path.unlink()


@attrs.frozen
class StoredSnapshot:
    """A snapshot that fits its ledger. Each view in it is decoded when it is asked for.

    Attributes:
        ledger: that it is of.
        position: how many events of the ledger it amounts to.
    """

    ledger: LedgerStore
    position: int
    _container: Container = attrs.field(repr=False)

    def view(
        self, name: str, decode: Callable[[bytes], View], *, of_data: bool = True
    ) -> View | None:
        """Return a view, or None; one that is damaged is ignored with a warning.

        Args:
            name: of the view.
            decode: returns it; raises ValueError, TypeError or LookupError if it is damaged.
            of_data: whether it depends on what events say, and so on the versions of their
                schemas.
        """
        if of_data and not self.is_current:
            _ignored(
                self.ledger.stream_name(), "events are read in other versions of their schemas now"
            )
            return None
        try:
            body = self._container.section(name)
            return decode(body) if body is not None else None
        except (ValueError, TypeError, LookupError) as error:
            _ignored(self.ledger.stream_name(), f"its {name} is damaged ({type(error).__name__})")
            return None

    @property
    def is_inherited(self) -> bool:
        """Whether it is of a ledger that this one descends from."""
        return self._container.header.ledger != self.ledger.stream_name()

    def ignore(self, problem: str) -> None:
        """Warn that the snapshot is ignored.

        Args:
            problem: why.
        """
        _ignored(self.ledger.stream_name(), problem)

    @property
    def is_current(self) -> bool:
        """Whether events are read in the versions of their schemas that it was made from."""
        return self._container.header.versions == _versions(self.ledger)

    def world(self) -> World | None:
        """Return the world, or None; one that is damaged is ignored with a warning."""
        return self.view(WORLD_STATE, _world)

    def is_at_rest(self, kit: Mapping[str, Any]) -> bool:
        """Whether a kit had nothing left to do at the end that the ledger has now.

        Args:
            kit: its name, version and distribution; another version may have something to do.
        """
        rest = self.rest()
        return rest is not None and rest.kit == _about(kit)

    def rest(self) -> Rest | None:
        """Return the note that a kit had nothing left to do, if it is of the ledger's present end."""
        rest = self._container.header.rest
        is_of_end = (
            rest is not None
            and self.is_current
            and rest.position == self.ledger.length()
            and rest.digest == self.ledger.digest(rest.position).hex()
        )
        return rest if is_of_end else None

    def resting(self, kit: Mapping[str, Any], installed: Installed | None = None) -> bytes:
        """Return it as it is stored once a kit has nothing left to do at the ledger's end."""
        return self._container.resting(_rest(self.ledger, self.ledger.length(), kit, installed))


def note_rest(ledger: LedgerStore, store: SnapshotStore, kit: Mapping[str, Any]) -> None:
    """Note in the snapshot of a ledger that a kit has nothing left to do at the ledger's end.

    A short ledger has no snapshot: it gets one at position 0, which holds only this note. A branch
    does not copy the snapshot of its parent for it.

    Args:
        ledger: that it is noted of.
        store: of its snapshot.
        kit: its name, version and distribution.

    Raises:
        OSError, StoreError: it cannot be stored.
    """
    stored = open_snapshot(ledger, store)
    if stored is None or (stored.is_inherited and stored.position == 0):
        header = Header(ledger.stream_name(), 0, ledger.digest(0).hex(), _versions(ledger))
        stored = StoredSnapshot(ledger, 0, Container(header, b"", 0))
    if stored.is_inherited:
        return
    rest, installed = stored.rest(), _installed(ledger, store, kit)
    is_known = rest is not None and installed in (None, rest.installed)
    if not is_known or not stored.is_at_rest(kit):
        store.put(stored.resting(kit, installed))


@overload
def save_snapshot(
    world: World,
    ledger: LedgerStore,
    where: str | Path | SnapshotStore,
    position: int | None = None,
    *,
    views: Mapping[str, bytes] | None = None,
    resting_kit: Mapping[str, Any] | None = None,
) -> None: ...


@overload
def save_snapshot(run_id: str, world: World, position: int) -> None: ...


def save_snapshot(*args: Any, **named: Any) -> None:
    """Store a world; an older snapshot of the ledger is replaced.

    Without a ledger, ``save_snapshot(run_id, world, position)`` writes a JSON file named after the
    run into the folder ``KANDO_SNAPSHOT_DIR``, ``.kando_snapshots`` if that is not set. Nothing
    binds it to a ledger: `load_snapshot` cannot notice that the ledger has another history.

    Args:
        world: the projection of the first `position` events of `ledger`.
        ledger: the snapshot is bound to it by the hash chain at `position`.
        where: a folder, or a store.
        position: the length of the ledger if omitted.
        views: other folds over the same events, encoded, by name.
        resting_kit: name, version and distribution of the kit that has nothing left to do there.

    Raises:
        OSError, StoreError: it cannot be stored.
        ConfigurationError: the run id is not a file name.
        PositionOutOfRange: the position is negative, or past the end of the ledger.
        InvalidData: the world holds data that is not JSON.
    """
    if isinstance(args[0] if args else named.get("run_id"), str):
        _save_file(*args, **named)
    else:
        _save_bound(*args, **named)


def _save_bound(
    world: World,
    ledger: LedgerStore,
    where: str | Path | SnapshotStore,
    position: int | None = None,
    *,
    views: Mapping[str, bytes] | None = None,
    resting_kit: Mapping[str, Any] | None = None,
) -> None:
    position, store = ledger.length() if position is None else position, _store(where, ledger)
    rest = None
    if resting_kit is not None:
        rest = _rest(ledger, position, resting_kit, _installed(ledger, store, resting_kit))
    digest = ledger.digest(position).hex()
    header = Header(ledger.stream_name(), position, digest, _versions(ledger), rest=rest)
    state = encode(_rows(world))
    store.put(pack(header, {**(views or {}), WORLD_STATE: state}))


def _save_file(run_id: str, world: World, position: int) -> None:
    path = _file_of(run_id)
    if position < 0:
        msg = f"Position {position} is outside run {run_id}."
        raise PositionOutOfRange(msg, hint="Positions start at 0.")
    things: list[WorldObject | Relation] = [*world.objects.values(), *world.relations.values()]
    for each in things:
        exact(each.data, f"the data of {each.id!r}")
    content = {"run_id": run_id, "position": position, "world": _rows(world)}
    write_whole(path, [encode(content, "the snapshot")], make_folder=True)


@overload
def load_snapshot(ledger: LedgerStore, where: str | Path | SnapshotStore) -> Snapshot | None: ...


@overload
def load_snapshot(run_id: str) -> Snapshot | None: ...


def load_snapshot(*args: Any, **named: Any) -> Snapshot | None:
    """Return the stored world of a ledger and its position, or None.

    A snapshot that is damaged, of another ledger, or not on this ledger's hash chain is ignored
    with a warning. ``load_snapshot(run_id)`` reads what ``save_snapshot(run_id, world, position)``
    wrote.

    Args:
        ledger: that it must be of.
        where: a folder, or a store.

    Raises:
        ConfigurationError: the run id is not a file name.
    """
    if isinstance(args[0] if args else named.get("run_id"), str):
        return _load_file(*args, **named)
    return _load_bound(*args, **named)


def _load_bound(ledger: LedgerStore, where: str | Path | SnapshotStore) -> Snapshot | None:
    stored = open_snapshot(ledger, where)
    world = stored.world() if stored is not None else None
    return Snapshot(world, stored.position) if stored is not None and world is not None else None


def _load_file(run_id: str) -> Snapshot | None:
    path = _file_of(run_id)
    try:
        found = _decode_file(path.read_bytes())
        if found.run_id == run_id:
            return Snapshot(_world_of(found.world), found.position)
        problem = f"it is of {found.run_id!r}"
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError) as error:
        problem = f"it is damaged ({type(error).__name__})"
    _ignored(f"run {run_id}", problem)
    return None


def open_snapshot(ledger: LedgerStore, where: str | Path | SnapshotStore) -> StoredSnapshot | None:
    """Return the snapshot of a ledger with nothing in it decoded yet, or None.

    It is ignored, with a warning, where `load_snapshot` ignores it.

    Args:
        ledger: that it must be of.
        where: a folder, or a store.
    """
    store = _store(where, ledger)
    try:
        body = store.get()
        if body is None:
            return _inherited(ledger, store)
        found = _of_ledger(ledger, ledger.stream_name(), body)
        if isinstance(found, StoredSnapshot):
            return found
        problem = found
    except (OSError, ValueError, TypeError, LookupError) as error:
        problem = f"it is damaged ({type(error).__name__})"
    _ignored(ledger.stream_name(), problem)
    return None


def _of_ledger(ledger: LedgerStore, stream: str, body: bytes) -> StoredSnapshot | str:
    """Return a stored snapshot of a ledger, or why it is not one.

    Args:
        ledger: that it must fit.
        stream: name of the ledger that it must be of: the same, or an ancestor.
        body: of the snapshot.
    """
    container = unpack(body)
    if container is None or container.header.ledger != stream:
        return "it is of another ledger or format"
    try:
        digest = ledger.digest(container.header.position)
    except PositionOutOfRange:
        return "the ledger is shorter"
    if digest.hex() != container.header.digest:
        return "the ledger has another history"
    return StoredSnapshot(ledger, container.header.position, container)


def _inherited(ledger: LedgerStore, store: SnapshotStore) -> StoredSnapshot | None:
    """Return the snapshot of the nearest ancestor that stored one before the fork, or None."""
    for stream, body in store.inherited() if isinstance(store, _Inherits) else ():
        try:
            found = _of_ledger(ledger, stream, body)
        except (ValueError, TypeError, LookupError):
            # The ancestor's own reader reports the damage.
            continue
        if isinstance(found, StoredSnapshot):
            return found
    return None


def _ignored(name: str, problem: str) -> None:
    warnings.warn(f"The snapshot of {name} is ignored: {problem}.", stacklevel=3)


def _file_of(run_id: str) -> Path:
    """Return the file of a run's snapshot that no ledger is bound to."""
    if run_id in ("", ".", "..") or not _NO_FILE_NAME.isdisjoint(run_id):
        msg = f"The run id {run_id!r:.80} is not a file name."
        raise ConfigurationError(msg, hint="Use the id without a path: letters, digits, - and _.")
    return Path(value_of(SNAPSHOT_DIR, os.environ) or ".kando_snapshots", run_id)


def _versions(ledger: LedgerStore) -> dict[str, int]:
    return ledger.versions if isinstance(ledger, UpcastLedger) else {}


def _rest(
    ledger: LedgerStore, position: int, kit: Mapping[str, Any], installed: Installed | None
) -> Rest:
    return Rest(position, ledger.digest(position).hex(), _about(kit), installed)


def _installed(
    ledger: LedgerStore, store: SnapshotStore, kit: Mapping[str, Any]
) -> Installed | None:
    # A reader that imports no kit knows no upcasters.
    if _versions(ledger) or not isinstance(store, _KnowsInstalled):
        return None
    return store.installed(_about(kit))


def _about(kit: Mapping[str, Any]) -> dict[str, str | None]:
    return {name: kit.get(name) for name in ("name", "version", "distribution")}


def _rows(world: World) -> dict[str, Any]:
    former, index = world.objects.former_types, world.objects.index
    types = {world.objects[id].type for id in former if id in world.objects}
    return {
        "objects": [
            [o.id, o.type, stored_data(o), o.event_id, o.changed_by] for o in world.objects.values()
        ],
        "relations": [
            [r.id, r.type, r.source_id, r.target_id, r.data, r.event_id]
            for r in world.relations.values()
        ],
        "former_types": former,
        "order": {type: [*index[type]] for type in sorted(types)},
    }


def _world(encoded: bytes) -> World:
    return _world_of(_decode_world(encoded))


def _world_of(content: _World) -> World:
    world = World()
    world.objects.load(undecoded_objects(content.objects))
    if len(world.objects) != len(content.objects):
        msg = "two of its objects have the same id"
        raise ValueError(msg)
    for relation in content.relations:
        world.relations[relation[0]] = Relation(*relation)
    world.objects.former_types = content.former_types
    for type, ids in content.order.items():
        if world.objects.index.get(type, {}).keys() != set(ids):
            msg = f"it orders other objects than those of type {type!r}"
            raise ValueError(msg)
        world.objects.index[type] = dict.fromkeys(ids)
    return world


def _store(where: str | Path | SnapshotStore, ledger: LedgerStore) -> SnapshotStore:
    return FileSnapshots(Path(where), ledger) if isinstance(where, str | Path) else where
