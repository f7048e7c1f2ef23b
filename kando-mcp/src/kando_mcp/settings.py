"""The options that a server was started with."""

from __future__ import annotations

from typing import Any

import attrs

from kando.app.operator import OperatorLimits

__all__ = ["DEFAULT_MAX_RESULT_CHARS", "MAX_WAIT_SECONDS", "PROGRAM", "Settings", "operator_limits"]

#: Longest wait of a call, in seconds: hosts abort a call after 60.
MAX_WAIT_SECONDS = 45

DEFAULT_MAX_RESULT_CHARS = 20_000

#: The command that starts the server.
PROGRAM = "kando-mcp"


def operator_limits(**limits: Any) -> OperatorLimits:
    """Return limits of the operator: the fields of `kando.app.operator.OperatorLimits`."""
    return OperatorLimits(PROGRAM, **limits)


@attrs.frozen
class Settings:
    """The options that a server was started with.

    Attributes:
        ledger_url: URL of the substrate; from the environment if None.
        limits: of the operator, which override the arguments of clients.
        max_result_chars: maximum length of a tool's result, in characters of its JSON.
        max_parallel_runs: how many runs all servers of the substrate work on at once; None for no
            limit.
    """

    ledger_url: str | None = None
    limits: OperatorLimits = attrs.field(factory=operator_limits)
    max_result_chars: int = DEFAULT_MAX_RESULT_CHARS
    max_parallel_runs: int | None = None
