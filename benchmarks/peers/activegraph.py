"""ActiveGraph: objects, a chain of steps, and what an existing chain costs to read and fork."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Any

from activegraph import Graph, Runtime, behavior
from activegraph.trace.causal import causal_chain

from stopwatch import timed
from workload import data_of, short_data_of

__all__: list[str] = []

# An empty view. Its default one is a copy of the whole graph for each behavior that runs.
_CHEAPEST = {"around": "event.nothing", "recent_events": 0}


def _respond(count: int, view: str, data: Any = data_of) -> Any:
    options: dict[str, Any] = {} if view == "default" else {"view": _CHEAPEST}

    @behavior(name="respond", on=["object.created"], **options)
    def respond(event: Any, graph: Any, context: Any) -> None:
        number = event.payload["object"]["data"]["number"] + 1
        if number < count:
            graph.add_object("Step", data(number))

    return respond


def run(workload: str, size: str, path: str) -> None:
    """Run a workload and report.

    Args:
        workload: ``objects``, ``chain``, or ``steps``, a chain with texts of 100 bytes.
        size: how many objects it creates.
        path: of the new SQLite file.
    """
    count = int(size)
    data = short_data_of if workload == "steps" else data_of
    graph = Graph()
    behaviors = [_respond(0 if workload == "objects" else count, "fast", data)]
    runtime = Runtime(graph, behaviors, persist_to=path)
    seeds = [data(number) for number in range(count if workload == "objects" else 1)]
    with timed() as watch:
        for seed in seeds:
            graph.add_object("Item", seed)
        runtime.run_until_idle()
    created = len(graph.all_objects())
    if created != count:
        msg = f"ActiveGraph created {created} objects, not {count}."
        raise RuntimeError(msg)
    watch.report()


def history(action: str, path: str, length: str, view: str) -> None:
    """Time one action on a chain and report.

    Args:
        action: ``prepare``, which runs the chain, or ``load``, ``strict``, ``forking``,
            ``diff_half`` or ``trace``.
        path: of its SQLite file; the id of the run is kept next to it.
        length: number of events.
        view: ``default``, by which each behavior gets a copy of the whole graph, or ``fast``.
    """
    name = Path(f"{path}.id")
    respond = _respond((int(length) + 2) // 3, view)
    if action == "prepare":
        graph = Graph()
        runtime = Runtime(graph, [respond], persist_to=path)
        with timed() as watch:
            graph.add_object("Step", data_of(0))
            runtime.run_until_idle()
        name.write_text(runtime.run_id)
        watch.report(size=Path(path).stat().st_size, events=len(graph.events))
        return
    is_strict = action == "strict"
    with timed() as loading:
        runtime = Runtime.load(path, name.read_text(), behaviors=[respond], replay_strict=is_strict)
    watch = loading
    before = _bytes_of(path)
    if action not in ("load", "strict"):
        watch = _acted(action, runtime, respond, loading)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    watch.report(peak=peak, added=_bytes_of(path) - before)


def _acted(action: str, runtime: Any, respond: Any, loading: Any) -> Any:
    middle = runtime.graph.events[len(runtime.graph.events) // 2].id
    branch = runtime.fork(middle, behaviors=[respond]) if action == "diff_half" else None
    with timed() as watch:
        if action == "forking":
            runtime.fork(middle, behaviors=[respond])
        elif action == "diff_half":
            runtime.diff(branch)
        else:
            causal_chain(runtime.graph, runtime.graph.all_objects()[-1].id)
    if action == "trace":
        # Ours begins with a file as well.
        watch.cpu, watch.wall = watch.cpu + loading.cpu, watch.wall + loading.wall
    return watch


def _bytes_of(path: str) -> int:
    files = (Path(path), Path(f"{path}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


if __name__ == "__main__":
    if sys.argv[1] in ("objects", "chain", "steps"):
        run(*sys.argv[1:])
    else:
        history(*sys.argv[1:])
