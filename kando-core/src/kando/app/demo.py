"""The demo run: three events in memory, to try the commands that read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kando.schema.events import OBJECT_CREATED, KandoEvent

if TYPE_CHECKING:
    from kando.ledger.memory import MemoryLedgerStore

__all__ = ["DEMO_ID", "demo_ledger"]

DEMO_ID = "demo"


def demo_ledger() -> MemoryLedgerStore:
    """Return the ledger of the demo run: a goal, a company and a claim, each caused by the one before."""
    # Not at the top: every command that names a run imports DEMO_ID.
    from kando.ledger.memory import MemoryLedgerStore

    ledger = MemoryLedgerStore(DEMO_ID)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    steps = [
        ("cli", [], "goal-1", "Goal", {"text": "Evaluate Acme Corp"}),
        ("demo.on_goal", ["object.created-0"], "company-1", "Company", {"name": "Acme Corp"}),
        (
            "demo.on_company",
            ["object.created-1"],
            "claim-1",
            "Claim",
            {"statement": "Acme Corp makes anvils.", "status": "pending"},
        ),
    ]
    ledger.append(
        [
            KandoEvent(
                "",
                OBJECT_CREATED,
                ledger.stream_name(),
                actor,
                cause,
                at,
                {"id": id, "type": type, "data": data},
            )
            for actor, cause, id, type, data in steps
        ]
    )
    return ledger
