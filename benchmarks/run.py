"""Run the benchmarks and print one table: ``python benchmarks/run.py [--quick] [NAME...]``.

A benchmark is a module of this folder whose ``lines(settings)`` yields the lines of the table.
"""

from __future__ import annotations

import argparse
from importlib import import_module

from measuring import HERE, Settings, progress
from table import Line, render, write

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

#: Benchmarks that a quick run leaves out unless they are named, to stay under 5 minutes.
_NOT_QUICK = ("objects", "chain", "history", "observers", "start-up", "plugins")


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
    known = _benchmarks()
    parser = argparse.ArgumentParser(description="Measure Kando against floors and peers.")
    parser.add_argument(
        "--quick", action="store_true", help="smaller sizes, and not all benchmarks"
    )
    parser.add_argument("--repetitions", type=int, default=5, metavar="N", help="at least 5")
    parser.add_argument("--write", action="store_true", help="write the table into README.md")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    given = parser.parse_args(arguments)
    unknown = [name for name in given.names if name not in known]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; choose from {', '.join(known)}")
    if given.repetitions < 5:
        parser.error("a median of fewer than 5 repetitions says nothing")
    settings = Settings(given.repetitions, given.quick)
    lines: list[Line] = []
    chosen = given.names or [name for name in known if not (given.quick and name in _NOT_QUICK)]
    for name in chosen:
        module, _, function = known[name].partition(":")
        lines += getattr(import_module(module), function)(settings)
        progress(f"{name}: done")
        if given.write:
            # At once: the rest may take hours, or fail.
            write(HERE / "README.md", lines, keeps_others=True)
    print(render(lines))
    if given.write and set(chosen) == set(known):
        write(HERE / "README.md", lines, keeps_others=False)


if __name__ == "__main__":
    main()
