"""What a server tells the process that works on a run, and what that one says at its end."""

from __future__ import annotations

import json
from typing import Any

import attrs

__all__ = ["Order", "Report", "decode_order", "decode_report", "encode"]


@attrs.frozen
class Order:
    """Work on a run.

    Attributes:
        run_id: of the run or branch.
        ledger_url: of the substrate.
        llm: provider that answers, ``provider`` or ``provider:argument``; None for the one of the
            environment if live models may answer, else for the cache alone.
        allows_live_llm: whether models that cost money or need a network may answer.
        max_usd: most that the whole run may spend, in US dollars; None for no limit.
        max_usd_per_day: most that all runs of the substrate may spend in a day (UTC).
    """

    run_id: str
    ledger_url: str
    llm: str | None = None
    allows_live_llm: bool = False
    max_usd: float | None = None
    max_usd_per_day: float | None = None


@attrs.frozen
class Report:
    """Why the work ended before nothing was left to do.

    Attributes:
        code: short name of the error, as in ``kando.errors``.
        message: what happened.
        events: length of the ledger then; a longer one has been worked on since.
    """

    code: str
    message: str
    events: int


def encode(value: Order | Report) -> bytes:
    """Return an order or a report as JSON."""
    return json.dumps(attrs.asdict(value)).encode()


def decode_order(body: bytes) -> Order:
    """Return the order that `encode` encoded.

    Raises:
        ValueError: it is not complete, because its sender has gone.
    """
    fields: dict[str, Any] = json.loads(body)
    return Order(**fields)


def decode_report(body: bytes) -> Report | None:
    """Return the report that `encode` encoded, or None if there is none."""
    try:
        return Report(**json.loads(body))
    except (ValueError, TypeError):
        return None
