"""Run the benchmarks and print one table: ``python benchmarks/run.py [--quick] [NAME...]``.

A benchmark is a module of this folder whose ``lines(settings)`` yields the lines of the table.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from importlib import import_module

from measuring import HERE, Settings
from table import Line, render

__all__ = ["main"]

#: The function of each benchmark, by the benchmark's name, in the order of the table.
_TARGETS = {
    "objects": "objects:lines",
    "chain": "chain:lines",
    "steps": "steps:lines",
    "conversation": "conversation:lines",
    "calls": "calls:lines",
    "history": "history:lines",
    "state": "state:lines",
    "resume": "resume:lines",
    "forks": "forks:lines",
    "workers": "workers:lines",
    "writers": "writers:lines",
    "observers": "observers:lines",
    "start-up": "start_up:lines",
    "instructions": "start_up:instruction_lines",
    "plugins": "start_up:plugin_lines",
}

_Lines = Callable[[Settings], Iterator[Line]]


def _benchmarks() -> dict[str, str]:
    """Return the benchmarks whose modules exist."""
    found = {name: target.partition(":")[0] for name, target in _TARGETS.items()}
    return {
        name: _TARGETS[name] for name, module in found.items() if (HERE / f"{module}.py").is_file()
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure what was asked for.

    Args:
        arguments: of the command line; those of this process if omitted.
    """
    parser = argparse.ArgumentParser(description="Measure Kando against a floor and a peer.")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, about a minute")
    parser.add_argument("--repetitions", type=int, default=5, metavar="N", help="at least 5")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(_BENCHMARKS))
    given = parser.parse_args(arguments)
    unknown = [name for name in given.names if name not in _BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; choose from {', '.join(_BENCHMARKS)}")
    if given.repetitions < 5:
        parser.error("a median of fewer than 5 repetitions says nothing")
    settings = Settings(given.repetitions, given.quick)
    lines = [line for name in given.names or _BENCHMARKS for line in _BENCHMARKS[name](settings)]
    print(render(lines))


if __name__ == "__main__":
    main()
