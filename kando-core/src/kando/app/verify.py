"""Verify runs: their hash chain, and their snapshot."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from kando.app.context import Context
from kando.app.opened import OpenedRun, open_run
from kando.errors import KandoError, LedgerDeleted
from kando.ledger.chain import GENESIS
from kando.ledger.verification import Verdict, verify
from kando.runtime.stored_recovery import mismatched_recovery
from kando.views.stored import mismatched_views

__all__ = ["verify_run", "verify_store"]


def verify_run(run: OpenedRun) -> Verdict:
    """Recompute the hash chain of a run, and compare its snapshot, if any, with its ledger."""
    activities = run.context.activities
    with activities.reading(f"verify {run.id}", run.ledger) as ledger:
        verdict = verify(ledger)
    with activities.step(f"verify the snapshot of {run.id}"):
        stored = run.current_snapshot if verdict.is_intact else None
        wrong = []
        if stored is not None:
            wrong = mismatched_views(stored) + mismatched_recovery(stored)
    if stored is None or not wrong:
        return verdict
    views = ", ".join(wrong)
    problem = f"the snapshot at position {stored.position} contradicts the ledger: {views}"
    return attrs.evolve(verdict, problem=problem)


def verify_store(context: Context) -> Iterator[tuple[str, Verdict]]:
    """Yield the id and the verdict of each run and branch, newest first."""
    ids = [info.id for info in context.substrate().ledgers()]
    with context.activities.step("verify", total=len(ids), unit="runs") as step:
        for id in step.over(ids):
            try:
                yield id, verify_run(open_run(context, id))
            except LedgerDeleted:
                # Since the ledgers were listed.
                continue
            except KandoError as error:
                problem = f"the ledger cannot be opened: {error.message}"
                yield id, Verdict(0, GENESIS.hex(), problem)
