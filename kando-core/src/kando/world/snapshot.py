"""Snapshots: a stored world at a ledger position. Only an optimisation; the ledger wins."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path
from typing import Any, Protocol

import attrs
import msgspec

from kando.errors import PositionOutOfRange
from kando.ledger.interface import LedgerStore
from kando.ledger.upcast import UpcastLedger
from kando.schema.exact_json import encode
from kando.world.graph import Relation, World, WorldObject

__all__ = ["FileSnapshots", "Snapshot", "SnapshotStore", "load_snapshot", "save_snapshot"]

_FORMAT = 1


@attrs.frozen
class Snapshot:
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


class _Content(msgspec.Struct):
    """A snapshot as it is stored; decoding it checks the types of everything in it."""

    format: int
    ledger: str
    position: int
    digest: str
    objects: list[tuple[str, str, dict[str, Any], str, str]]
    relations: list[tuple[str, str, str, str, dict[str, Any], str]]
    # Current versions of the event types that were brought up while the world was projected.
    versions: dict[str, int] = {}


_decode = msgspec.json.Decoder(_Content).decode


@attrs.frozen
class FileSnapshots:
    """The snapshot of a ledger in a folder.

    Args:
        directory: made if it is missing.
        ledger: names the file.
    """

    directory: Path
    ledger: LedgerStore
    #: Somebody asked for these.
    least: int = 1

    @property
    def path(self) -> Path:
        """The file."""
        return self.directory / f"{self.ledger.stream_name().replace(':', '-', 1)}.snapshot.json"

    def get(self) -> bytes | None:
        """Return what is kept, or None."""
        try:
            return self.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def put(self, body: bytes) -> None:
        """Keep a snapshot in place of the one before."""
        path = self.path
        path.parent.mkdir(parents=True, exist_ok=True)
        # A reader finds the old snapshot or the new one, never half of one.
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(body)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def save_snapshot(
    world: World,
    ledger: LedgerStore,
    where: str | Path | SnapshotStore,
    position: int | None = None,
) -> None:
    """Store a world; an older snapshot of the ledger is replaced.

    Args:
        world: the projection of the first `position` events of `ledger`.
        ledger: the snapshot is bound to it by the hash chain at `position`.
        where: a folder, or a store.
        position: the length of the ledger if omitted.

    Raises:
        OSError, StoreError: it cannot be stored.
    """
    position = ledger.length() if position is None else position
    content = {
        "format": _FORMAT,
        "ledger": ledger.stream_name(),
        "position": position,
        "digest": ledger.digest(position).hex(),
        "versions": _versions(ledger),
        "objects": [
            [o.id, o.type, o.data, o.event_id, o.changed_by] for o in world.objects.values()
        ],
        "relations": [
            [r.id, r.type, r.source_id, r.target_id, r.data, r.event_id]
            for r in world.relations.values()
        ],
    }
    _store(where, ledger).put(encode(content))


def load_snapshot(ledger: LedgerStore, where: str | Path | SnapshotStore) -> Snapshot | None:
    """Return the stored world of a ledger, or None.

    A snapshot that is damaged, of another ledger, or not on this ledger's hash chain is ignored
    with a warning.

    Args:
        ledger: that it must be of.
        where: a folder, or a store.
    """
    try:
        body = _store(where, ledger).get()
        if body is None:
            return None
        content = _decode(body)
        if content.format != _FORMAT or content.ledger != ledger.stream_name():
            problem = "it is of another ledger or format"
        elif content.versions != _versions(ledger):
            problem = "events are read in other versions of their schemas now"
        elif ledger.digest(content.position).hex() != content.digest:
            problem = "the ledger has another history"
        else:
            return Snapshot(_world(content), content.position)
    except PositionOutOfRange:
        problem = "the ledger is shorter"
    except (OSError, ValueError, TypeError, LookupError) as error:
        problem = f"it is damaged ({type(error).__name__})"
    warnings.warn(f"The snapshot of {ledger.stream_name()} is ignored: {problem}.", stacklevel=2)
    return None


def _versions(ledger: LedgerStore) -> dict[str, int]:
    return ledger.versions if isinstance(ledger, UpcastLedger) else {}


def _world(content: _Content) -> World:
    world = World()
    for row in content.objects:
        world._put_object(WorldObject(*row))
    for relation in content.relations:
        world._put_relation(Relation(*relation))
    return world


def _store(where: str | Path | SnapshotStore, ledger: LedgerStore) -> SnapshotStore:
    return FileSnapshots(Path(where), ledger) if isinstance(where, str | Path) else where
