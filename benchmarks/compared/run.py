"""Run the scenarios: ``python benchmarks/compared/run.py [--peer NAME] [--write] [SCENARIO...]``.

Each coder works in processes of its own, with a scripted model on the loopback interface. A peer that is
not installed is installed from PyPI, in an environment of its own below ``benchmarks/.environments``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# The modules of all benchmarks.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from coders import CODERS, Coder, Installed
from measuring import progress
from model import serving
from report import merged, render, results, store
from scenarios import SCENARIOS, Rows

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Run scenarios of coders, and print a table.

    Args:
        arguments: of the command line; those of this process if omitted.
    """
    parser = argparse.ArgumentParser(description="Compare a coding agent in three frameworks.")
    parser.add_argument("--peer", action="append", choices=CODERS, help="all if omitted")
    parser.add_argument("--write", action="store_true", help="write the table into the page")
    parser.add_argument("names", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    given = parser.parse_args(arguments)
    unknown = [name for name in given.names if name not in SCENARIOS]
    if unknown:
        parser.error(f"no scenario {unknown[0]!r}; choose from {', '.join(SCENARIOS)}")
    columns: dict[str, Rows] = {}
    versions: dict[str, str] = {}
    for name in given.peer or CODERS:
        coder = CODERS[name]
        error = coder.peer.install() if isinstance(coder, Installed) else None
        if error is not None:
            progress(f"{coder.title}: not installed: {error}")
            continue
        columns[name] = rows_of(coder, given.names or list(SCENARIOS))
        versions[name] = coder.versions()
    print(render(merged({}, columns, versions)))
    if given.write:
        store(merged(results(), columns, versions))


def rows_of(coder: Coder, names: list[str]) -> Rows:
    """Run scenarios of one coder, and return the cells of its column."""
    rows: Rows = {}
    with serving() as model:
        for name in names:
            progress(f"{coder.title}: {name}")
            rows |= SCENARIOS[name](coder, model)
    return rows


if __name__ == "__main__":
    main()
