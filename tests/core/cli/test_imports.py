"""Commands that read import schema, ledger, world and views only, and the code that shows them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kando import create, make_event, open_store
from kando.kit import Kit
from kando.schema.events import KandoEvent
from kando.world.graph import World

#: Slow to import, and not needed to show what is recorded.
_WORKERS = {
    "asyncio",
    "cattrs",
    "concurrent.futures",
    "importlib_metadata",
    "kando.branch",
    "kando.cache",
    "kando.kit",
    "kando.plugins",
    "kando.responders",
    "kando.runtime",
    "pluggy",
    "rich",
    "ssl",
    "subprocess",
}

_SHOW_MODULES = """
import sys
from kando.cli.main import cli
try:
    cli.main(sys.argv[1:], prog_name="kando", standalone_mode=False)
finally:
    print("MODULES", *sys.modules)
"""


def _ledger(path: Path) -> str:
    """Record a run without a kit, and return the URL of its store."""
    from kando.ledger.sqlite_substrate import SQLiteSubstrate
    from kando.runtime import Runtime

    def step(event: KandoEvent, world: World) -> list[KandoEvent]:
        return [create("Thing", {"n": 1})] if event.type == "tick" else []

    from kando.responders.base import Responder

    with SQLiteSubstrate(path) as substrate:
        ledger = substrate.create("r1")
        runtime = Runtime(ledger, [Responder("me.step", frozenset({"tick"}), step)])
        runtime.run([make_event("tick", "", "me", [], {})])
        ledger.close()
    return f"sqlite:{path}"


def _modules(home: Path, *arguments: str) -> set[str]:
    environ = {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": "", "XDG_DATA_HOME": ""}
    done = subprocess.run(
        [sys.executable, "-c", _SHOW_MODULES, *arguments],
        capture_output=True,
        text=True,
        env=environ,
        cwd=home,
        check=True,
        timeout=120,
    )
    return set(done.stdout.rpartition("MODULES ")[2].split())


@pytest.mark.parametrize("command", [["runs"], ["status", "r1"], ["events", "r1"], ["world", "r1"]])
def test_a_command_that_reads_a_run_without_a_kit_imports_no_runtime_and_no_plugin(
    command: list[str], tmp_path: Path
) -> None:
    url = _ledger(tmp_path / "store.sqlite")

    found = _modules(tmp_path, "--ledger", url, *command)

    assert "kando.views.status" in found or command[0] in ("events", "world")
    assert found & _WORKERS == set()


def test_the_status_of_a_run_whose_kit_is_not_installed_imports_no_runtime(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'store.sqlite'}"
    kit = Kit("absent")

    @kit.seeds
    def seeds(goal: str, run_id: str) -> list[KandoEvent]:
        return [make_event("tick", "", "me", [], {})]

    with open_store(url, environ={}) as store:
        run = store.start(kit, "go")

    found = _modules(tmp_path, "--ledger", url, "status", run.id)

    assert "kando.plugins" in found
    assert found & {"kando.kit", "kando.runtime", "cattrs"} == set()


def test_importing_the_runtime_imports_no_converter_and_no_strict_replay() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import kando.runtime, sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )

    found = set(done.stdout.split())
    assert "kando.runtime.loop" in found
    assert (
        found & {"cattrs", "kando.runtime.strict_replay", "kando.ledger.memory", "pluggy"} == set()
    )


def test_a_runtime_imports_no_tools_settings_or_snapshots_until_it_needs_them() -> None:
    code = "import sys, kando.runtime; print(*sys.modules)"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()

    unneeded = {
        "asyncio",
        "cattrs",
        "kando.responders.llm_executor",
        "kando.responders.tools",
        "kando.settings",
        "kando.views.stored",
        "kando.world.snapshot",
        "logging",
    }
    assert "kando.runtime.loop" in shown
    assert unneeded & {*shown} == set()
