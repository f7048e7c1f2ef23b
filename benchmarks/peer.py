"""The peer: ActiveGraph does what Kando does in `objects` and `chain`, at its cheapest."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

from measuring import timed
from workload import data_of

__all__ = ["NOT_INSTALLED", "is_installed"]

NOT_INSTALLED = "activegraph: not installed"

# An empty view. Its default one is a copy of the whole graph for each behavior that runs.
_VIEW = {"around": "event.nothing", "recent_events": 0}


def is_installed() -> bool:
    """Whether ActiveGraph can be measured."""
    return find_spec("activegraph") is not None


def main(workload: str, size: str, path: str) -> None:
    """Run a workload and report.

    Args:
        workload: ``objects`` or ``chain``.
        size: how many objects it creates.
        path: of the new SQLite file.
    """
    from activegraph import Graph, Runtime, behavior

    count = int(size)
    number_of_seeds = count if workload == "objects" else 1

    @behavior(name="respond", on=["object.created"], view=_VIEW)
    def respond(event: Any, graph: Any, context: Any) -> None:
        if workload == "chain":
            number = event.payload["object"]["data"]["number"] + 1
            if number < count:
                graph.add_object("Step", data_of(number))

    graph = Graph()
    runtime = Runtime(graph, [respond], persist_to=path)
    seeds = [data_of(number) for number in range(number_of_seeds)]
    with timed() as watch:
        for data in seeds:
            graph.add_object("Item", data)
        runtime.run_until_idle()
    created = len(graph.all_objects())
    if created != count:
        msg = f"ActiveGraph created {created} objects, not {count}."
        raise RuntimeError(msg)
    watch.report()


if __name__ == "__main__":
    main(*sys.argv[1:])
