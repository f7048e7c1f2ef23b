"""The data of a recorded failure: type, message and traceback, without secrets."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from math import inf
from typing import Any

from kando.responders.redaction import redact
from kando.schema.events import OBSERVED

__all__ = ["failure_data"]


def failure_data(
    responder: str, trigger_id: str, error: BaseException, attempt: int, outcome: str
) -> dict[str, Any]:
    """Return the data of a ``responder.failed`` event.

    The traceback names files and lines, which differ between machines, so it is ``observed``.
    If the error has an attribute ``spent`` with the usage and the cost of the failed attempt, in the
    form of an ``llm.response``, they are recorded too.

    Args:
        responder: name of the responder.
        trigger_id: the event it handled.
        error: the exception.
        attempt: counted from 1.
        outcome: ``retried``, ``parked`` or ``raised``.
    """
    spent = getattr(error, "spent", None)
    frames = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return {
        "responder": responder,
        "trigger": trigger_id,
        "attempt": attempt,
        "outcome": outcome,
        "error": {"type": type(error).__name__, "message": redact(str(error))},
        **(_charged(spent) if isinstance(spent, Mapping) else {}),
        OBSERVED: {"traceback": redact(frames)},
    }


def _charged(spent: Mapping[str, Any]) -> dict[str, Any]:
    """Return usage and cost in the form of an ``llm.response``; empty if the usage is malformed."""
    usage, cost = spent.get("usage"), spent.get("cost_usd")
    if not isinstance(usage, Mapping) or not all(type(each) is int for each in usage.values()):
        return {}
    counts = {str(name): count for name, count in usage.items() if count >= 0}
    if not isinstance(cost, int | float) or isinstance(cost, bool) or not 0 <= cost < inf:
        cost = None
    return {"usage": counts, "cost_usd": cost} if counts else {}
