"""A third-party provider needs one `pip install`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PARROT = Path(__file__).parents[1] / "fixtures" / "kando-parrot"


class Installed:
    """The example package, installed in addition to the packages of this environment."""

    def __init__(self, folder: Path) -> None:
        self.project, self.site = folder / "kando-parrot", folder / "site"
        shutil.copytree(PARROT, self.project)
        self._environ = {
            "HOME": str(folder),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"]),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_CONFIG_FILE": os.devnull,
            "PYTHONPATH": str(self.site),
        }
        # Its requirements, including the build backend, are installed: nothing is downloaded.
        how = ["--no-index", "--no-deps", "--no-build-isolation", "--target", str(self.site)]
        self.run(sys.executable, "-m", "pip", "install", "-q", *how, str(self.project))

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=300,
            cwd=self.project,
            env=self._environ,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("parrot"))


def test_it_is_listed_and_answers_a_run(installed: Installed) -> None:
    listed = json.loads(installed.run("kando", "plugins", "--json"))["items"]
    run = installed.run(
        "kando", "run", "research", "--goal", "Do parrots fly?", "--llm", "parrot:So:"
    )
    found = installed.run("kando", "world", run.strip(), "--type", "Finding")

    (parrot,) = [each for each in listed if each["name"] == "parrot"]
    assert parrot["distribution"] == "kando-parrot"
    assert found.count('"text": "So: ') == 3


def test_it_passes_the_suite_for_providers(installed: Installed) -> None:
    printed = installed.run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")

    assert " passed" in printed
    assert "failed" not in printed
