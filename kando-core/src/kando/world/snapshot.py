"""Snapshots: a stored world at a ledger position. Only an optimisation; the ledger wins."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import attrs

from kando.errors import PositionOutOfRange
from kando.ledger.interface import LedgerStore
from kando.schema.exact_json import decode, encode
from kando.world.graph import Relation, World, WorldObject

__all__ = ["Snapshot", "load_snapshot", "save_snapshot"]

_FORMAT = 1


@attrs.frozen
class Snapshot:
    """A world, and how many events of its ledger it amounts to."""

    world: World
    position: int


def save_snapshot(
    world: World, ledger: LedgerStore, directory: str | Path, position: int | None = None
) -> Path:
    """Store a world, and return the file it is in; an older snapshot of the ledger is replaced.

    Args:
        world: the projection of the first `position` events of `ledger`.
        ledger: the snapshot is bound to it by the hash chain at `position`.
        directory: made if it is missing.
        position: the length of the ledger if omitted.
    """
    position = ledger.length() if position is None else position
    content = {
        "format": _FORMAT,
        "ledger": ledger.stream_name(),
        "position": position,
        "digest": ledger.digest(position).hex(),
        "objects": [
            [o.id, o.type, o.data, o.event_id, o.changed_by] for o in world.objects.values()
        ],
        "relations": [
            [r.id, r.type, r.source_id, r.target_id, r.data, r.event_id]
            for r in world.relations.values()
        ],
    }
    path = _path(ledger, Path(directory))
    path.parent.mkdir(parents=True, exist_ok=True)
    # A reader finds the old snapshot or the new one, never half of one.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(encode(content))
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def load_snapshot(ledger: LedgerStore, directory: str | Path) -> Snapshot | None:
    """Return the stored world of a ledger, or None.

    A snapshot that is damaged, of another ledger, or not on this ledger's hash chain is ignored
    with a warning.
    """
    path = _path(ledger, Path(directory))
    try:
        content = decode(path.read_bytes())
        position = content["position"]
        if content["format"] != _FORMAT or content["ledger"] != ledger.stream_name():
            problem = "it is of another ledger or format"
        elif ledger.digest(position).hex() != content["digest"]:
            problem = "the ledger has another history"
        else:
            return Snapshot(_world(content), position)
    except FileNotFoundError:
        return None
    except PositionOutOfRange:
        problem = "the ledger is shorter"
    except (OSError, ValueError, TypeError, LookupError) as error:
        problem = f"it is damaged ({type(error).__name__})"
    warnings.warn(f"Snapshot {path.name} is ignored: {problem}.", stacklevel=2)
    return None


def _world(content: dict[str, Any]) -> World:
    world = World()
    for row in content["objects"]:
        world._put_object(WorldObject(*row))
    for row in content["relations"]:
        world._put_relation(Relation(*row))
    return world


def _path(ledger: LedgerStore, directory: Path) -> Path:
    return directory / f"{ledger.stream_name().replace(':', '-', 1)}.snapshot.json"
