"""The activities of a store: what its threads are doing now, for a display or a health check.

Work is not reported event by event. Its numbers stay where they are, in the folds of the run and in the
counter of a loop. A display reads them when it draws.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

import attrs

from kando.errors import KandoError
from kando.ledger.counted import CountedLedger
from kando.ledger.interface import LedgerStore

if TYPE_CHECKING:
    from kando.views.progress import Progress

__all__ = ["Activities", "Activity", "Step"]

_Item = TypeVar("_Item")


@attrs.frozen
class Activity:
    """The work that a thread of a store is doing now.

    Attributes:
        what: the activity, such as ``run k3x9q2m4ab``.
        seconds: since it began; not compared.
        done: how much of it is done; None if it is not counted.
        total: how much there is to do; None if that is unknown.
        unit: what is counted, such as ``events``.
        progress: of the run that is worked on; None for another activity, and while its ledger is
            read.
        is_waiting: whether it waits for work, if no later activity of its thread has begun.
    """

    what: str
    seconds: float = attrs.field(eq=False)
    done: int | None = None
    total: int | None = None
    unit: str = "events"
    progress: Progress | None = None
    is_waiting: bool = False

    def __str__(self) -> str:
        if self.progress is not None:
            return f"{self.what}: {self.progress}"
        if self.done is None:
            return self.what
        of = "" if self.total is None else f" of {self.total:,}"
        return f"{self.what}: {self.done:,}{of} {self.unit}"


@attrs.define(eq=False)
class Step:
    """An activity that has not ended. Its own thread counts in `done`.

    Attributes:
        what, done, total, unit, is_waiting: as for `Activity`.
        sample: returns the progress of the run that is worked on.
    """

    what: str
    total: int | None = None
    unit: str = "events"
    is_waiting: bool = False
    done: int | None = None
    sample: Callable[[], Progress | None] = lambda: None
    _began: float = attrs.field(factory=time.monotonic)

    def add(self, number: int) -> None:
        """Count what is done."""
        self.done = (self.done or 0) + number

    def over(self, items: Iterable[_Item]) -> Iterator[_Item]:
        """Yield `items`, and count each when the next one is asked for."""
        self.done = self.done or 0
        for item in items:
            yield item
            self.done += 1

    def activity(self) -> Activity:
        """Return what is known of it now."""
        seconds = time.monotonic() - self._began
        return Activity(
            self.what, seconds, self.done, self.total, self.unit, self.sample(), self.is_waiting
        )


class Activities:
    """The activities of the threads of a store. Any thread may call any method."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._steps: list[Step] = []

    def now(self) -> list[Activity]:
        """Return the activities that have not ended, in the order in which they began."""
        with self._lock:
            steps = list(self._steps)
        return [step.activity() for step in steps]

    @contextmanager
    def step(
        self,
        what: str,
        *,
        total: int | None = None,
        unit: str = "events",
        is_waiting: bool = False,
    ) -> Iterator[Step]:
        """Begin an activity, which ends with the block; the arguments are as for `Activity`."""
        step = Step(what, total, unit, is_waiting)
        with self._lock:
            self._steps.append(step)
        try:
            yield step
        finally:
            with self._lock:
                self._steps.remove(step)

    @contextmanager
    def reading(self, what: str, ledger: LedgerStore) -> Iterator[LedgerStore]:
        """Yield a ledger whose reading is an activity: a view of `ledger` that counts its events."""
        with self.step(what) as step:
            # A ledger that cannot be read is reported by its reader.
            with suppress(KandoError):
                step.total = ledger.length()
            yield CountedLedger(ledger, step.add)

    @contextmanager
    def working(self, run_id: str, sample: Callable[[], Progress | None]) -> Iterator[None]:
        """Make the work on a run an activity.

        Args:
            run_id: of the run or branch.
            sample: returns its progress, called by any thread; None while its ledger is read.
        """
        with self.step(f"run {run_id}") as step:
            step.sample = sample
            yield
