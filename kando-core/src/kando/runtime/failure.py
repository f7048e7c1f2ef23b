"""What a ledger says of a failure: type, message and traceback, free of secrets."""

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
    An error may know what the attempt used all the same, and say so as ``spent``: usage and cost, as
    they stand in an ``llm.response``.

    Args:
        responder: name of the responder.
        trigger_id: the event it handled.
        error: what it raised.
        attempt: counted from 1.
        outcome: what follows: ``retried``, ``parked`` or ``raised``.
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
    """Return what an attempt used, as it stands in an ``llm.response``; nothing if that is no usage."""
    usage, cost = spent.get("usage"), spent.get("cost_usd")
    if not isinstance(usage, Mapping) or not all(type(each) is int for each in usage.values()):
        return {}
    told = {str(name): count for name, count in usage.items() if count >= 0}
    if not isinstance(cost, int | float) or isinstance(cost, bool) or not 0 <= cost < inf:
        cost = None
    return {"usage": told, "cost_usd": cost} if told else {}
