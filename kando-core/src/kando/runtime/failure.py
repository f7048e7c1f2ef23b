"""What a ledger says of a failure: type, message and traceback, free of secrets."""

from __future__ import annotations

import traceback
from typing import Any

from kando.responders.scrubbing import scrubbed
from kando.schema.events import OBSERVED

__all__ = ["PARKED", "RAISED", "RETRIED", "failure_data", "scrubbed"]

#: What followed a failed attempt.
RETRIED = "retried"
PARKED = "parked"
RAISED = "raised"


def failure_data(
    responder: str, trigger_id: str, error: BaseException, attempt: int, outcome: str
) -> dict[str, Any]:
    """Return the data of a ``responder.failed`` event.

    The traceback names files and lines, which differ between machines, so it is ``observed``.

    Args:
        responder: name of the responder.
        trigger_id: the event it handled.
        error: what it raised.
        attempt: counted from 1.
        outcome: what follows: ``retried``, ``parked`` or ``raised``.
    """
    frames = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return {
        "responder": responder,
        "trigger": trigger_id,
        "attempt": attempt,
        "outcome": outcome,
        "error": {"type": type(error).__name__, "message": scrubbed(str(error))},
        OBSERVED: {"traceback": scrubbed(frames)},
    }
