"""New packages, from wheels in a virtual environment of their own: installed, run, removed.

Builds need a package index, so this is run only where WHEELS says where the built wheels are.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

WHEELS = os.environ.get("WHEELS", "")
PACKAGES = {
    "kando-kit-weather": ("kit", "weather"),
    "kando-kit-talk": ("kit", "talk"),
    "kando-kit-clerk": ("kit", "clerk"),
    "kando-kit-mill": ("kit", "mill"),
    "kando-toy": ("substrate", "toy"),
    "kando-parrot": ("provider", "parrot"),
}
TEMPLATES = {"talk": "chat", "clerk": "tools", "mill": "pipeline"}

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(not WHEELS, reason="WHEELS names no folder of built wheels"),
]


@attrs.frozen
class Place:
    """A virtual environment, and the packages that are installed in it."""

    folder: Path

    def run(self, *command: str | Path, cwd: Path | None = None) -> str:
        """Run a command, which must succeed, and return what it printed."""
        tools = [str(self.folder / "venv" / "bin"), str(Path(sys.executable).parent)]
        environ = {
            "HOME": str(self.folder / "home"),
            "PATH": os.pathsep.join([*tools, "/usr/bin", "/bin"]),
            "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(Path("~/.cache/uv").expanduser())),
            "UV_SYSTEM_CERTS": "1",
        }
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd or self.folder,
            env=environ,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @property
    def python(self) -> Path:
        """The interpreter of the environment."""
        return self.folder / "venv" / "bin" / "python"

    def plugins(self) -> set[tuple[str, str, str]]:
        """Return kind, name and distribution of what `kando plugins` lists."""
        items = json.loads(self.run("kando", "plugins", "--json"))["items"]
        return {(item["kind"], item["name"], item["distribution"]) for item in items}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("place"))
    (core,) = Path(WHEELS).resolve().glob("kando_core-*.whl")
    uv = [sys.executable, "-m", "uv"]
    made.run(*uv, "venv", "-q", "--python", sys.executable, "venv")
    made.run(*uv, "pip", "install", "-q", "--python", made.python, core)
    for kind, name in PACKAGES.values():
        template = ("--template", TEMPLATES[name]) if name in TEMPLATES else ()
        made.run("kando", "new", kind, name, *template)
    wheels = made.folder / "wheels"
    for distribution in PACKAGES:
        made.run(*uv, "build", "-q", "--wheel", "-o", wheels, distribution)
    found = sorted(wheels.glob("*.whl"))
    tests = ["pytest", "hypothesis"]
    made.run(*uv, "pip", "install", "-q", "--python", made.python, *found, *tests)
    yield made
    made.run(*uv, "pip", "uninstall", "-q", "--python", made.python, *PACKAGES)
    names = {name for _, name, _ in made.plugins()}
    assert not names & {name for _, name in PACKAGES.values()}


@pytest.mark.parametrize("distribution", PACKAGES)
def test_a_new_package_is_sound_and_listed(place: Place, distribution: str) -> None:
    folder = place.folder / distribution

    place.run(place.python, "-m", "pytest", "-q", cwd=folder)
    place.run("ruff", "check", ".", cwd=folder)
    place.run("ruff", "format", "--check", ".", cwd=folder)
    # Its results about kando-core for one package are valid for the others.
    found = place.folder / "mypy"
    place.run("mypy", "--python-executable", place.python, "--cache-dir", found, cwd=folder)

    assert (*PACKAGES[distribution], distribution) in place.plugins()


def test_the_new_kit_runs_in_the_new_substrate_answered_by_the_new_provider(place: Place) -> None:
    ledger = ["--ledger", f"toy:{place.folder}/ledgers"]

    run_id = place.run("kando", *ledger, "run", "weather", "--goal", "X", "--llm", "parrot").strip()

    world = json.loads(place.run("kando", *ledger, "world", run_id, "--json"))
    assert world["objects"][1]["data"]["status"] == "answered"


def test_the_new_kit_runs_without_any_option(place: Place) -> None:
    assert place.run("kando", "run", "weather", "--goal", "X").strip()


def test_a_removed_package_is_gone(place: Place) -> None:
    uv = [sys.executable, "-m", "uv", "pip"]
    wheel = next((place.folder / "wheels").glob("kando_kit_weather-*.whl"))
    assert ("kit", "weather", "kando-kit-weather") in place.plugins()

    place.run(*uv, "uninstall", "-q", "--python", place.python, "kando-kit-weather")

    assert "weather" not in {name for _, name, _ in place.plugins()}
    place.run(*uv, "install", "-q", "--python", place.python, wheel)
