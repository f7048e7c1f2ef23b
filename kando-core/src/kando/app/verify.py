"""Verify runs: their hash chain, and their snapshot."""

from __future__ import annotations

import attrs

from kando.app.opened import OpenedRun
from kando.ledger.verification import Verdict, verify
from kando.views.stored import mismatched_views

__all__ = ["verify_run"]


def verify_run(run: OpenedRun) -> Verdict:
    """Recompute the hash chain of a run, and compare its snapshot, if any, with its ledger."""
    verdict = verify(run.ledger)
    stored = run.current_snapshot if verdict.is_intact else None
    wrong = mismatched_views(stored) if stored is not None else []
    if stored is None or not wrong:
        return verdict
    views = ", ".join(wrong)
    problem = f"the snapshot at position {stored.position} contradicts the ledger: {views}"
    return attrs.evolve(verdict, problem=problem)
