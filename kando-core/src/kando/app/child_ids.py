"""Ids of child runs: which child a ``run.requested`` has."""

from __future__ import annotations

from hashlib import sha256

from kando.app.addresses import derived_ledger_id
from kando.app.context import Context
from kando.app.opened import OpenedRun
from kando.errors import LedgerNotFound

__all__ = ["child_id_of", "opened_child"]


def child_id_of(stream: str, lineage_key: str) -> str:
    """Return the id of the child run that a ``run.requested`` starts.

    Repeated after a crash, the request has the same lineage key, and so the same child.

    Args:
        stream: of the run or branch that starts it.
        lineage_key: of the request.
    """
    return derived_ledger_id(sha256(f"{stream} {lineage_key}".encode()).digest())


def opened_child(context: Context, stream: str, lineage_key: str) -> OpenedRun | None:
    """Return the child run of a request, opened for reading; None if it has not been started.

    Args:
        context: the plugins, the settings and the substrate.
        stream: as for `child_id_of`.
        lineage_key: as for `child_id_of`.
    """
    try:
        ledger = context.substrate().open(child_id_of(stream, lineage_key))
    except LedgerNotFound:
        return None
    return OpenedRun(context, ledger) if ledger.length() else None
