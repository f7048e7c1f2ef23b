"""Fixtures: the command line, in this process or in its own, with an empty home and sample kits."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from gated_runs import CHAIN, Scene
from kando.cli.main import main

Done = subprocess.CompletedProcess[str]

#: A goal becomes a claim, and a request about it that a provider such as ``parrot`` answers.
TINY = """
    from kando.emit import ask, create, patch, relate
    from kando.kit import Kit
    from kando.plugins import KitSpec, ProviderSpec, hookimpl
    from kando.schema.events import make_event

    kit = Kit("tiny", version="1")

    @kit.seeds
    def seeds(goal, run_id):
        data = {"id": "goal", "type": "Goal", "data": {"text": goal}}
        return [make_event("object.created", f"run:{run_id}", "cli", [], data)]

    @kit.responder("object.created", type="Goal")
    def on_goal(event, world):
        claim = yield create("Claim", {"status": "pending"}, id="claim")
        yield relate("about", claim, event, id="about-goal")
        yield ask([{"role": "user", "content": event.data["data"]["text"]}], about=claim)

    @kit.responder("llm.response")
    def on_answer(event, world):
        answer = {"status": "completed", "text": event.data["text"]}
        yield patch(event.data["cause_object_id"], answer)

    def open_parrot(argument, environ):
        def complete(request):
            said = request["messages"][-1]["content"]
            return {"text": argument or said, "model": "parrot", "cost_usd": 0.5}
        return complete

    @hookimpl
    def kando_kits():
        return [KitSpec("tiny", "tiny_plugin:kit", "one claim about a goal")]

    @hookimpl
    def kando_providers():
        return [ProviderSpec("parrot", "tiny_plugin:open_parrot", summary="repeats what is said")]
"""


#: Runs a command in a process that handles Ctrl-C, even if this process ignores it, as a job in the
#: background does.
INTERRUPTIBLE = """
import signal
from kando.cli.main import main
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""


@pytest.fixture
def interruptible() -> list[str]:
    """Return the beginning of a command line that heeds Ctrl-C in any case."""
    return [sys.executable, "-c", INTERRUPTIBLE]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return the user's home: an empty folder."""
    path = tmp_path / "home"
    path.mkdir()
    return path


@pytest.fixture
def environ(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Set the environment of this process to little more than a home, and return it.

    Only the commands under test write into the test's folder, so that tests can compare its content.
    """
    site = tmp_path / "site"
    site.mkdir()
    environ = {
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PATH": os.environ.get("PATH", ""),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]),
        # A test may take longer than the time after which a command shows its progress.
        "KANDO_QUIET": "1",
        "PYTHONWARNINGS": "error",
    }
    for name in set(os.environ) - set(environ):
        monkeypatch.delenv(name)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(tmp_path)
    return environ


@pytest.fixture
def install(environ: dict[str, str], tmp_path: Path) -> Iterator[Callable[[str, str], Path]]:
    """Return ``install(name, source)``, which installs a plugin and returns its module's path."""
    modules: set[str] = set()

    def install(name: str, source: str) -> Path:
        module = f"{name}_plugin"
        info = tmp_path / "site" / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[kando]\n{name} = {module}\n")
        path = tmp_path / "site" / f"{module}.py"
        path.write_text(dedent(source))
        modules.add(module)
        return path

    yield install
    for module in modules:
        sys.modules.pop(module, None)


@pytest.fixture
def tiny(install: Callable[[str, str], Path]) -> Path:
    """Install the kit ``tiny`` with the provider ``parrot``, and return its module's path."""
    return install("tiny", TINY)


@pytest.fixture
def kando(environ: dict[str, str], capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Return ``kando(*arguments)``, which runs a command in this process."""

    def kando(*arguments: str | Path) -> Done:
        given = [str(each) for each in arguments]
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(given)
        out, err = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return subprocess.CompletedProcess(["kando", *given], ended.value.code, out, err)

    return kando


@pytest.fixture
def process(environ: dict[str, str], tmp_path: Path) -> Callable[..., Done]:
    """Return ``process(*arguments, **variables)``, which runs a command in its own process."""

    def process(*arguments: str | Path, **variables: str) -> Done:
        return subprocess.run(
            [sys.executable, "-m", "kando.cli.main", *map(str, arguments)],
            cwd=tmp_path,
            env=environ | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return process


@pytest.fixture
def scene(
    environ: dict[str, str], install: Callable[[str, str], Path], tmp_path: Path
) -> Iterator[Scene]:
    install("chain", CHAIN)
    scene = Scene(environ, tmp_path)
    yield scene
    for process in scene.processes:
        with process:
            if process.poll() is None:
                process.kill()
            process.communicate()
