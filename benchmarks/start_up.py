"""start-up: what it takes until the command line answers, with no plugin and with all of them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import callgrind
from environments import environment
from measuring import Figure, Settings, fresh_folder, progress, repetition
from table import Goal, Line, costs, missing

__all__ = ["instruction_lines", "lines", "plugin_lines", "process"]

_DISTRIBUTIONS = (
    "kando-core",
    "kando-llm",
    "kando-eventstore",
    "kando-inspector",
    "kando-mcp",
    "kando-kit-diligence",
    "kando-kit-planning",
    "kando-kit-research",
)


def lines(settings: Settings) -> Iterator[Line]:
    """Compare with a Python process that imports click and ends."""
    kando = str(Path(sys.executable).with_name("kando"))
    commands = {
        "floor": [sys.executable, "-c", "import click"],
        "kando --help": [kando, "--help"],
        "kando --version": [kando, "--version"],
    }
    found: dict[str, list[Figure]] = {name: [] for name in commands}
    with fresh_folder() as home:
        # Once without counting, so that all bytecode is compiled and all files are in memory.
        for number in range(-1, 3 * settings.repetitions):
            if number >= 0:
                progress(f"start-up, {number + 1} of {3 * settings.repetitions}")
            for name, command in commands.items():
                figure = process(command, home)
                if number >= 0:
                    found[name].append(figure)
    for name in ("kando --help", "kando --version"):
        yield from costs("start-up", name, found[name], "import click", found["floor"])


def instruction_lines(settings: Settings) -> Iterator[Line]:
    """Count the instructions of commands that read a run, and of an import."""
    goals = {
        "kando status": Goal(most=4),
        "kando runs": Goal(most=4),
        "kando status, installed kit": Goal(most=4),
        "import kando.runtime": None,
        "kando --version": None,
    }
    if not callgrind.can_count():
        for name in goals:
            yield missing("start-up", name, f"import click: {callgrind.ABSENCE}")
        return
    with fresh_folder() as home:
        ledger = ("--ledger", f"sqlite:{home / 'kando.db'}")
        of_kit = ("--ledger", f"sqlite:{home / 'kit.db'}")
        repetition("chain.py", 20, home / "kando.db", home / "lengths.json")
        kando = [sys.executable, str(Path(sys.executable).with_name("kando"))]
        commands = {
            "import click": [sys.executable, "-c", "import click"],
            "kando status": [*kando, "status", "bench", *ledger],
            "kando runs": [*kando, "runs", *ledger],
            "kando status, installed kit": [*kando, "status", "@last", *of_kit],
            "import kando.runtime": [sys.executable, "-c", "import kando.runtime"],
            "kando --version": [*kando, "--version"],
        }
        if settings.is_quick:
            del commands["kando runs"], commands["kando --version"]
        process([*kando, "run", "diligence", "--goal", "Acme Corp", "--demo", *of_kit], home)
        for command in commands.values():
            # So that all bytecode is compiled.
            process(command, home)
        progress(f"start-up, {callgrind.QUANTITY}")
        counted = callgrind.counted_at_once(commands, {**os.environ, "HOME": str(home)})
    floor = counted.pop("import click")
    for name, count in counted.items():
        thousands = [[count / 1000], [floor / 1000]]
        yield Line(
            *("start-up", name, callgrind.QUANTITY, thousands[0], "import click", thousands[1]),
            goals[name],
        )


def plugin_lines(settings: Settings) -> Iterator[Line]:
    """Compare `kando runs` with all of Kando's plugins to the same with kando-core alone.

    Once with no run, and once with a run, whose kit is then looked for.
    """
    with fresh_folder() as home:
        pythons = {
            "core": environment(home / "core", ["kando-core"]),
            "all": environment(home / "all", _DISTRIBUTIONS),
        }
        kando = {name: [str(python), "-m", "kando.cli.main"] for name, python in pythons.items()}
        for size in ("no run", "a run of diligence"):
            if size != "no run":
                process([*kando["all"], "run", "diligence", "--goal", "Acme Corp"], home)
            found: dict[str, list[Figure]] = {name: [] for name in kando}
            for number in range(-1, 3 * settings.repetitions):
                if number >= 0:
                    progress(f"start-up with plugins, {number + 1} of {3 * settings.repetitions}")
                for name in sorted(kando, reverse=bool(number % 2)):
                    figure = process([*kando[name], "runs"], home)
                    if number >= 0:
                        found[name].append(figure)
            what = f"kando runs, all plugins, {size}"
            goal = Goal(most=1.3)
            ours, theirs = found["all"], found["core"]
            yield from costs("start-up", what, ours, "core alone", theirs, cpu_goal=goal)


def process(command: list[str], home: Path) -> Figure:
    """Run a command in a process of its own, with `home` as its user's home, and time it."""
    environment = {**os.environ, "HOME": str(home)}
    # Without bytecode, each process would compile what it imports.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        msg = f"{' '.join(command)} failed with {process.returncode}."
        raise RuntimeError(msg)
    return Figure(usage.ru_utime + usage.ru_stime, wall)
