"""Compare this checkout with another one: ``python benchmarks/against.py OTHER [--repetitions N]``.

OTHER is the root of another checkout, such as a git worktree of an earlier commit, whose ``.venv`` has
that commit installed. Each repetition runs the benchmark scripts of both checkouts in turn, each with
the interpreter of its own ``.venv``, and the table shows the ratio of the medians of their CPU times,
for calls that of their times on the clock.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from statistics import median

from measuring import Figure, fresh_folder, progress

__all__ = ["main"]

_ROOT = Path(__file__).resolve().parent.parent

_CALLS = 20


def main(arguments: list[str] | None = None) -> None:
    """Measure both checkouts and print a line for each benchmark.

    Args:
        arguments: of the command line; those of this process if omitted.
    """
    parser = argparse.ArgumentParser(description="Compare this checkout with another one.")
    parser.add_argument("other", type=Path, help="root of the other checkout")
    parser.add_argument("--repetitions", type=int, default=5, metavar="N", help="at least 5")
    given = parser.parse_args(arguments)
    if given.repetitions < 5:
        parser.error("a median of fewer than 5 repetitions says nothing")
    found: dict[str, tuple[list[float], list[float]]] = {}
    for number in range(given.repetitions):
        progress(f"{number + 1} of {given.repetitions}")
        # The first of two neighbours has an advantage or a disadvantage: take turns.
        roots = [_ROOT, given.other.resolve()]
        for root in roots if number % 2 == 0 else reversed(roots):
            for name, seconds in _measure(root).items():
                found.setdefault(name, ([], []))[root != _ROOT].append(seconds)
    print(f"{'benchmark':<24}{'here, s':>10}{'there, s':>10}{'ratio':>8}")
    for name, (here, there) in found.items():
        a, b = median(here), median(there)
        print(f"{name:<24}{a:>10.3f}{b:>10.3f}{a / b:>8.2f}")


def _measure(root: Path) -> dict[str, float]:
    """Return the CPU seconds of each benchmark, once, with the code of a checkout."""
    with fresh_folder() as folder:
        found = {
            "objects, 5,000": _run(root, "objects.py", 5_000, folder / "objects.db").cpu,
            "chain, 1,000 steps": _run(root, "chain.py", 1_000, *_chain(folder, "small")).cpu,
            "chain, 10,000 steps": _run(root, "chain.py", 10_000, *_chain(folder, "10000")).cpu,
            f"calls, {_CALLS} at once": _run(
                root, "calls.py", _CALLS, _CALLS, folder / "calls.db"
            ).wall,
        }
        length = 10_000
        _run(root, "chain.py", (length + 2) // 3, folder / f"{length}.db", folder / "lengths.json")
        _run(root, "history_work.py", "prepare", folder / f"{length}.db", length)
        for action in ("load", "snapshot", "strict", "trace"):
            figure = _run(root, "history_work.py", action, folder / f"{length}.db", length)
            found[f"history, {action}"] = figure.cpu
        return found


def _chain(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / f"chain-{name}.db", folder / f"chain-{name}.json"


def _run(root: Path, script: str, *arguments: object) -> Figure:
    python = root / ".venv" / "bin" / "python"
    command = [str(python), str(root / "benchmarks" / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        msg = f"{' '.join(command)} failed with {done.returncode}:\n{done.stderr}"
        raise RuntimeError(msg)
    return Figure(**json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    main()
