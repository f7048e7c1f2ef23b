"""The time that the peer takes for the actions of the benchmark `history`, on its own chain."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Any

from measuring import timed
from workload import data_of

__all__: list[str] = []

_CHEAPEST = {"around": "event.nothing", "recent_events": 0}


def main(action: str, path: str, length: str, view: str) -> None:
    """Time one action and report.

    Args:
        action: ``prepare``, which runs the chain, or ``load``, ``strict``, ``forking``,
            ``diff_half`` or ``trace``.
        path: of its SQLite file; the id of the run is kept next to it.
        length: number of events.
        view: ``default``, by which each behavior gets a copy of the whole graph, or ``fast``.
    """
    from activegraph import Graph, Runtime, behavior

    count = (int(length) + 2) // 3
    name = Path(f"{path}.id")
    options: dict[str, Any] = {} if view == "default" else {"view": _CHEAPEST}

    @behavior(name="respond", on=["object.created"], **options)
    def respond(event: Any, graph: Any, context: Any) -> None:
        number = event.payload["object"]["data"]["number"] + 1
        if number < count:
            graph.add_object("Step", data_of(number))

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
    from activegraph.trace.causal import causal_chain

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
    main(*sys.argv[1:])
