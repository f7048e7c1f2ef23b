"""Ids of child runs: which child a ``run.requested`` has."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from typing import Any

from kando.app.addresses import derived_ledger_id
from kando.app.context import Context
from kando.app.opened import OpenedRun
from kando.errors import LedgerNotFound

__all__ = ["asked_of", "child_id_of", "child_ids_of", "opened_child"]

#: Fields of a ``run.requested`` that say what the child is to do.
_ASKED = ("kit", "goal", "settings", "documents")


def asked_of(data: Mapping[str, Any]) -> list[Any]:
    """Return what a ``run.requested`` asks for: equal requests ask for the same.

    Args:
        data: of the event.
    """
    return [data.get(name) for name in _ASKED]


def child_id_of(stream: str, lineage_key: str) -> str:
    """Return the id of the child run that a ``run.requested`` starts.

    Repeated after a crash, the request has the same lineage key, and so the same child.

    Args:
        stream: of the run or branch that starts it.
        lineage_key: of the request.
    """
    return derived_ledger_id(sha256(f"{stream} {lineage_key}".encode()).digest())


def child_ids_of(stream: str, lineage_key: str) -> list[str]:
    """Return the ids that the child run of a ``run.requested`` may have, the usual one first.

    An imported branch is a run in a store without its parent; the ids of its children stay.

    Args:
        stream: as for `child_id_of`.
        lineage_key: as for `child_id_of`.
    """
    kind, _, id = stream.partition(":")
    kinds = [kind, "branch"] if kind == "run" else [kind]
    return [child_id_of(f"{each}:{id}", lineage_key) for each in kinds]


def opened_child(context: Context, stream: str, lineage_key: str) -> OpenedRun | None:
    """Return the child run of a request, opened for reading; None if it has not been started.

    Args:
        context: the plugins, the settings and the substrate.
        stream: as for `child_id_of`.
        lineage_key: as for `child_id_of`.
    """
    for id in child_ids_of(stream, lineage_key):
        with suppress(LedgerNotFound):
            ledger = context.substrate().open(id)
            if ledger.length():
                return OpenedRun(context, ledger)
    return None
