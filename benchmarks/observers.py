"""observers: what a run loses to an observer that sleeps a second at every event."""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from kando.app.builtin import installed_plugins
from kando.app.store import open_store
from kando.emit import create
from kando.kit import Kit
from kando.plugins import KitSpec, hookimpl
from kando.schema.events import OBJECT_CREATED, KandoEvent, make_event
from measuring import Settings, progress, repetition, timed
from table import Goal, Line

__all__ = ["kit", "lines"]

#: Each step is three events: fired, created, completed.
_STEPS = 333

kit = Kit("steps")


@kit.seeds
def seed(goal: str, run_id: str) -> list[KandoEvent]:
    """Start at step 0."""
    return [make_event(OBJECT_CREATED, "", "cli", [], {"type": "Step", "data": {"n": 0}})]


@kit.responder(OBJECT_CREATED)
def step(event: KandoEvent, world: object) -> Iterator[KandoEvent]:
    """Take the next step."""
    n = event.data["data"]["n"] + 1
    if n <= _STEPS:
        yield create("Step", {"n": n})


class _Offer:
    @hookimpl
    def kando_kits(self) -> list[KitSpec]:
        return [KitSpec("steps", "observers:kit")]


class _Sleeper:
    @hookimpl
    def kando_event_recorded(self, event: KandoEvent, position: int) -> None:
        time.sleep(1)


def lines(settings: Settings) -> Iterator[Line]:
    """Compare a durable run of a thousand events with an observer to one without."""
    found: dict[str, list[float]] = {"observed": [], "alone": []}
    for number in range(3 * settings.repetitions):
        progress(f"observers, {number + 1} of {3 * settings.repetitions}")
        # In turns, and each first half the time: a busy moment of the machine hits both.
        for which in sorted(found, reverse=bool(number % 2)):
            figure = repetition("observers.py", which)
            found[which].append(1000 * figure.wall)
            if which == "observed":
                assert "missed" in figure.facts["reported"], figure.facts
    yield Line(
        "observers",
        "1,000 events, sleeps 1 s each",
        "wall ms",
        found["observed"],
        "no observer",
        found["alone"],
        Goal(most=1.1),
    )


def _one(which: str) -> None:
    plugins = installed_plugins({"KANDO_PLUGINS": ""})
    plugins.register(_Offer(), name="steps")
    if which == "observed":
        plugins.register(_Sleeper(), name="sleeper")
    with (
        tempfile.TemporaryDirectory(prefix="kando-bench-") as folder,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        with open_store(
            f"sqlite:{Path(folder) / 'runs.sqlite'}", plugins=plugins, environ={}
        ) as store:
            with timed() as watch:
                result = store.start("steps", "go").result
            assert result.status.events >= 1000, result.status.events
    watch.report(reported=" ".join(str(each.message) for each in caught))


if __name__ == "__main__":
    _one(sys.argv[1])
