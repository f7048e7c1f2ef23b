"""resume: opening a run that has ended, until the first new event is recorded, at several lengths."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterator
from math import log
from typing import Any

from kando.app.builtin import installed_plugins
from kando.app.opened import OpenedRun
from kando.app.store import open_store
from kando.emit import create, patch
from kando.responders.base import Responder, responder
from kando.runtime import Runtime
from kando.schema.events import OBJECT_CREATED, OBJECT_PATCHED, KandoEvent, make_event
from measuring import Figure, Settings, fresh_folder, progress, repetition, timed
from table import Goal, Line
from workload import data_of

__all__ = ["lines"]

#: Exponent of the growth of the cost with the length of the run.
_EXPONENT = Goal(most=0.3)
_LEAST = 1_000


def lines(settings: Settings) -> Iterator[Line]:
    """Compare a resume from the snapshot with one from the whole ledger, and with the shortest run."""
    lengths = (
        [_LEAST, 10_000, 100_000] if settings.is_quick else [_LEAST, 10_000, 100_000, 1_000_000]
    )
    for world in _WORLDS:
        with fresh_folder() as folder:
            found: dict[tuple[str, int], list[Figure]] = {}
            for length in lengths:
                progress(f"resume: a run of {length:,} events, {world} world")
                repetition("resume.py", "run", world, folder / f"{length}.db", length)
            for number in range(settings.repetitions):
                for length in lengths:
                    progress(f"resume {world} {length:,}, {number + 1} of {settings.repetitions}")
                    for action in ("resume", "whole"):
                        figure = repetition(
                            "resume.py", action, world, folder / f"{length}.db", length
                        )
                        found.setdefault((action, length), []).append(figure)
        for length in lengths:
            yield from _lines_of(world, length, found)


def _lines_of(
    world: str, length: int, found: dict[tuple[str, int], list[Figure]]
) -> Iterator[Line]:
    ours, whole, size = (
        found["resume", length],
        found["whole", length],
        f"{length:,} events, {world}",
    )
    is_longest, is_bounded = length == max(each for _, each in found), world == "bounded"
    goals = {
        "cpu ms": Goal(most=0.1) if is_longest else None,
        "wall ms": None,
        "peak RSS KB": None,
    }
    for quantity, goal in goals.items():
        numbers = [[_number(each, quantity) for each in figures] for figures in (ours, whole)]
        yield Line("resume", size, quantity, numbers[0], "whole ledger", numbers[1], goal)
    if is_longest:
        pairs = zip(ours, found["resume", _LEAST], strict=True)
        growth = [log(long.cpu / short.cpu) / log(length / _LEAST) for long, short in pairs]
        goal = _EXPONENT if is_bounded else None
        yield Line("resume", size, "exponent of cpu", growth, "linear", [1.0] * len(growth), goal)
        peaks = [_number(each, "peak RSS KB") / 1_000 for each in ours]
        goal = Goal(most=1) if is_bounded else None
        yield Line("resume", size, "peak RSS MB", peaks, "100 MB", [100.0] * len(peaks), goal)


def _number(figure: Figure, quantity: str) -> float:
    if quantity == "peak RSS KB":
        return float(figure.facts["peak"])
    return 1_000 * (figure.cpu if quantity == "cpu ms" else figure.wall)


def _growing(steps: int) -> Responder:
    """Return a responder that creates an object in each step."""

    @responder("step", {OBJECT_CREATED})
    def step(event: Any, world: Any) -> Iterator[KandoEvent]:
        number = event.data["data"]["number"] + 1
        if number < steps:
            yield create("Step", data_of(number))

    return step


def _bounded(steps: int) -> Responder:
    """Return a responder that patches the same object in each step."""

    @responder("step", {OBJECT_CREATED, OBJECT_PATCHED})
    def step(event: Any, world: Any) -> Iterator[KandoEvent]:
        number = world.objects[event.data["id"]].data["number"] + 1
        if number < steps:
            yield patch(event.data["id"], data_of(number))

    return step


_WORLDS: dict[str, Callable[[int], Responder]] = {"bounded": _bounded, "growing": _growing}


def main(action: str, world: str, path: str, length: int) -> None:
    """Run the steps that make `length` events, or resume that run with one event.

    Args:
        action: ``run``, ``resume``, or ``whole`` to resume without the snapshot.
        world: one of the worlds.
        path: of the SQLite file.
        length: number of events.
    """
    step = _WORLDS[world]((length + 2) // 3)
    plugins = installed_plugins({"KANDO_PLUGINS": ""})
    with timed() as watch, open_store(f"sqlite:{path}", plugins=plugins, environ={}) as store:
        substrate = store.context.substrate(read_only=False)
        ledger = substrate.create("bench") if action == "run" else substrate.open("bench")
        kept = OpenedRun(store.context, ledger).snapshots(read_only=False)
        runtime = Runtime(
            ledger, [step], edge_logic=(), snapshots=kept if action != "whole" else None
        )
        if action == "run":
            runtime.run([create("Step", data_of(0))])
        else:
            (event,) = runtime.record([make_event("note", "", "cli", [], {})])
            if event.position < length:
                msg = f"The run has {event.position} events, not {length}."
                raise RuntimeError(msg)
    watch.report(peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))
