"""The messages between a server and its worker processes: an order, and a report."""

from __future__ import annotations

import json
from typing import Any

import attrs

__all__ = ["Order", "Report", "decode_order", "decode_report", "encode"]


@attrs.frozen
class Order:
    """An order to run a run or branch until it stops.

    Attributes:
        run_id: id of the run or branch.
        ledger_url: URL of the substrate.
        llm: ``provider`` or ``provider:argument``; None for the one in the environment if live
            models are allowed, else for the cache only.
        allows_live_llm: whether models that cost money or need a network may answer.
        max_usd: cost limit of the run over its whole life, in US dollars; None for no limit.
        max_usd_per_day: cost limit of all runs of the substrate per day (UTC); None for no limit.
        limits: further limits of the run, by the fields of `kando.responders.budget.Budget`.
        max_tokens: limit of each answer of a model, in tokens; None for the one of the environment,
            the run or its kit.
        max_parallel_runs: how many such processes may run at once; None for no limit.
    """

    run_id: str
    ledger_url: str
    llm: str | None = None
    allows_live_llm: bool = False
    max_usd: float | None = None
    max_usd_per_day: float | None = None
    limits: dict[str, float] = attrs.field(factory=dict)
    max_tokens: int | None = None
    max_parallel_runs: int | None = None


@attrs.frozen
class Report:
    """The error that ended a worker process early.

    Attributes:
        code: code of the error, as in ``kando.errors``.
        message: message of the error.
        events: length of the ledger at that time; the report is outdated if it has grown.
    """

    code: str
    message: str
    events: int


def encode(value: Order | Report) -> bytes:
    """Encode an order or a report as JSON."""
    return json.dumps(attrs.asdict(value)).encode()


def decode_order(body: bytes) -> Order:
    """Decode an order.

    Raises:
        ValueError: the order is truncated, because the server has ended.
    """
    fields: dict[str, Any] = json.loads(body)
    return Order(**fields)


def decode_report(body: bytes) -> Report | None:
    """Decode a report; None if it is empty or malformed."""
    try:
        return Report(**json.loads(body))
    except (ValueError, TypeError):
        return None
