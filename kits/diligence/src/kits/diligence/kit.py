"""Due diligence on a company: the public names of the kit.

An event passes the seed here, then `_reading` (plan, sources, statements), `_disputes`
(comparisons, contradictions, confidence) and `_report`.
"""

from __future__ import annotations

from kando.responders.base import Responder
from kando.schema.events import OBJECT_CREATED, KandoEvent, make_event
from kits.diligence import _disputes, _report  # noqa: F401 (imported to register responders)
from kits.diligence._reading import DEFAULT_QUESTIONS, MAX_EVIDENCE
from kits.diligence._types import (
    CLAIM,
    COMPANY,
    CONTRADICTION,
    CONTRADICTS,
    DEPENDS_ON,
    EVIDENCE,
    REPORT,
    SOURCED_FROM,
    SUPPORTS,
    Settings,
    kit,
)

__all__ = [
    "CLAIM",
    "COMPANY",
    "CONTRADICTION",
    "CONTRADICTS",
    "DEFAULT_QUESTIONS",
    "DEPENDS_ON",
    "EVIDENCE",
    "MAX_EVIDENCE",
    "REPORT",
    "SOURCED_FROM",
    "SUPPORTS",
    "Settings",
    "create_kit",
    "kit",
    "seed_from_goal",
]


def create_kit() -> list[Responder]:
    """Return the kit's responders, to be passed to a `Runtime`."""
    return kit.create()


@kit.seeds
def seed_from_goal(goal: str, run_id: str) -> list[KandoEvent]:
    """Return the one event that starts a run.

    Args:
        goal: the goal in plain text; it becomes the company's name.
        run_id: id of the run that the event is recorded in.
    """
    data = {"type": COMPANY, "data": {"name": goal}}
    return [make_event(OBJECT_CREATED, f"run:{run_id}", "cli", [], data)]
