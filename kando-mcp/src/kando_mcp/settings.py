"""The operator's limits, which override the arguments of clients."""

from __future__ import annotations

import attrs

from kando.responders.budget import Budget

__all__ = ["DEFAULT_MAX_RESULT_CHARS", "MAX_WAIT_SECONDS", "Settings"]

#: Longest wait of a call, in seconds: hosts abort a call after 60.
MAX_WAIT_SECONDS = 45

DEFAULT_MAX_RESULT_CHARS = 20_000


@attrs.frozen
class Settings:
    """The options that a server was started with.

    Attributes:
        ledger_url: URL of the substrate; from the environment if None.
        is_read_only: whether only read-only tools are offered.
        max_usd_per_run: cost limit of each run, in US dollars; None for no limit.
        max_usd_per_day: cost limit of all runs of the substrate per day (UTC); None for no limit.
        allows_live_llm: whether models that cost money or need a network may answer; if not, only
            offline providers and the cache may.
        max_result_chars: maximum length of a tool's result, in characters of its JSON.
        budget: limits of each run: neither a client nor a ledger lifts one.
        max_tokens: limit of each answer of a model, in tokens; None for the one of the environment,
            the client or the kit. A client may set a lower one.
        max_parallel_runs: how many runs all servers of the substrate work on at once; None for no
            limit.
    """

    ledger_url: str | None = None
    is_read_only: bool = False
    max_usd_per_run: float | None = None
    max_usd_per_day: float | None = None
    allows_live_llm: bool = False
    max_result_chars: int = DEFAULT_MAX_RESULT_CHARS
    budget: Budget = attrs.field(factory=Budget)
    max_tokens: int | None = None
    max_parallel_runs: int | None = None
