"""What the operator allows: limits that hold whatever a client asks for."""

from __future__ import annotations

import attrs

__all__ = ["DEFAULT_MAX_RESULT_CHARS", "MAX_WAIT_SECONDS", "Settings"]

#: The longest a call waits for a run, in seconds: hosts give up on a call after 60.
MAX_WAIT_SECONDS = 45

DEFAULT_MAX_RESULT_CHARS = 20_000


@attrs.frozen
class Settings:
    """How a server was started.

    Attributes:
        ledger_url: URL of the substrate; from the environment if None.
        is_read_only: whether only tools that read are offered.
        max_usd_per_run: most that one run may spend on models, in US dollars; None for no limit.
        max_usd_per_day: most that all runs of the substrate may spend in a day (UTC).
        allows_live_llm: whether models that cost money or need a network may answer; else only
            offline providers and the cache do.
        max_result_chars: length of a tool's result, in characters of its JSON.
    """

    ledger_url: str | None = None
    is_read_only: bool = False
    max_usd_per_run: float | None = None
    max_usd_per_day: float | None = None
    allows_live_llm: bool = False
    max_result_chars: int = DEFAULT_MAX_RESULT_CHARS
