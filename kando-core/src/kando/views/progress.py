"""The progress of a run: a few numbers of its status, for those who wait for it."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from kando.ledger.interface import LedgerStore
from kando.schema.visible import clean
from kando.views.status import StatusFold

__all__ = ["Follower", "Progress", "progress_of"]


@attrs.frozen
class Progress:
    """The progress of a run so far, as `kando status` counts it.

    Attributes:
        events: length of the ledger.
        requests: number of LLM requests.
        answered: number of answered LLM requests.
        tool_calls: number of tool calls.
        cost_usd: known cost of the answers, in US dollars.
        unpriced: number of answers of unknown cost.
        unanswered: number of requests of any kind that wait for an answer.
        in_flight: number of calls that this process makes now; None if another process works on
            the run.
        report: what a tool in flight has reported last, as text; empty if nothing.
    """

    events: int
    requests: int
    answered: int
    tool_calls: int
    cost_usd: float
    unpriced: int
    unanswered: int
    in_flight: int | None = None
    report: str = ""

    def __str__(self) -> str:
        parts = []
        if self.in_flight is not None and (self.in_flight or self.requests or self.tool_calls):
            parts.append(_counted(self.in_flight, "call") + " in flight")
        elif self.in_flight is None and self.unanswered:
            parts.append(f"{self.unanswered} unanswered")
        if self.requests:
            parts.append(f"{self.answered} of {self.requests} answered")
        if self.tool_calls:
            parts.append(_counted(self.tool_calls, "tool call"))
        if self.cost_usd or self.unpriced:
            parts.append(f"{'at least ' if self.unpriced else ''}${self.cost_usd:.4f}")
        parts.append(_counted(self.events, "event"))
        return ", ".join([*parts, self.report] if self.report else parts)


def _counted(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def progress_of(fold: StatusFold, in_flight: int | None = None, report: object = None) -> Progress:
    """Return the progress of a run from the fold of its status.

    Args:
        fold: of the events so far. Another thread may be extending it.
        in_flight: number of calls that this process makes now.
        report: what a tool has reported last, or None.
    """
    return Progress(
        events=fold.length,
        requests=fold.requests,
        answered=fold.answers,
        tool_calls=fold.spent.tool_calls,
        cost_usd=fold.spent.llm_cost_usd,
        unpriced=fold.spent.llm_unpriced,
        unanswered=len(fold.intents),
        in_flight=in_flight,
        # From a tool: it may hold anything, and is shown on a terminal.
        report="" if report is None else clean(str(report)),
    )


class Follower:
    """Follows a run that another process works on; each of its events is read once."""

    def __init__(self) -> None:
        self._fold: StatusFold | None = None

    def observe(
        self, ledger: LedgerStore, restore: Callable[[], StatusFold | None] = lambda: None
    ) -> Progress:
        """Return the progress of the run.

        Args:
            ledger: of the run; only the events since the last call are read.
            restore: returns the fold of the run's snapshot, or None; called once.
        """
        if self._fold is None:
            self._fold = restore() or StatusFold()
        if ledger.length() > self._fold.length:
            for event in ledger.read(self._fold.length):
                self._fold.observe(event)
        return progress_of(self._fold)
