"""The containers do what their documentation says, as far as that shows without an engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from doc_examples import blocks_in
from kando.cli.main import cli

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
COMPOSE = (ROOT / "compose.yaml").read_text()
COMMANDS = [
    ("python -m kando.cli.main status demo", "3"),
    ("python -m kando.cli.main trace object.created-2", "object.created-0 (root)"),
    ("kando status demo", "3"),
    ("kando run research --goal X --llm echo", ""),
    ("kando worker --group analysts --llm echo --until-idle", "0 jobs done"),
    ("kando plugins --check", "esdb"),
    ("kando-mcp --help", "kando-mcp"),
]


def compose_program() -> list[str]:
    """Return the command that is installed: version 1, or the plugin of docker; empty if neither."""
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    plugin = ["docker", "compose"]
    if not shutil.which("docker"):
        return []
    found = subprocess.run([*plugin, "version"], capture_output=True, check=False)
    return plugin if found.returncode == 0 else []


def instructions(name: str) -> list[str]:
    """Return the arguments of the Dockerfile's instructions of one kind."""
    joined = re.sub(r"\\\n\s*", "", DOCKERFILE)
    return re.findall(rf"^{name} (.+)$", joined, re.MULTILINE)


def copied() -> list[str]:
    """Return the folders that the image is built from."""
    return [each.split()[0] for each in instructions("COPY") if not each.startswith("--from")]


def services() -> dict[str, str]:
    """Return the text of each service by its name."""
    section = COMPOSE.partition("services:\n")[2].partition("\nvolumes:")[0]
    parts = re.split(r"^  ([\w-]+):\n", section, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_compose_has_a_server_and_a_service_that_takes_a_command() -> None:
    found = services()

    assert set(found) == {"eventstore", "kando"}
    assert "kurrentplatform/kurrentdb:" in found["eventstore"]
    assert "healthcheck:" in found["eventstore"]
    assert "dockerfile: docker/Dockerfile" in found["kando"]
    assert "KANDO_LEDGER: http://eventstore:2113" in found["kando"]
    assert "condition: service_healthy" in found["kando"]
    # Each volume that a service mounts is declared.
    mounted = set(re.findall(r"^      - (\w+):/", COMPOSE, re.MULTILINE))
    declared = COMPOSE.partition("\nvolumes:\n")[2].split()
    assert {f"{name}:" for name in mounted} == set(declared)


@pytest.mark.skipif(not compose_program(), reason="neither docker-compose nor docker compose")
@pytest.mark.parametrize("file", ["compose.yaml", "docker/compose.cluster.yaml"])
def test_docker_compose_accepts_the_file(file: str) -> None:
    command = [*compose_program(), "-f", file, "config"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_the_image_holds_every_package_and_its_build_context_nothing_else() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    (installing,) = [each for each in instructions("RUN") if "pip install" in each]
    packages = [path.parent for path in ROOT.glob("k*/**/pyproject.toml")]

    assert "*" in ignored
    assert {line[1:] for line in ignored if line.startswith("!")} == set(copied())
    for package in packages:
        assert f"/src/{package.relative_to(ROOT)}" in installing


def test_the_image_takes_any_command_and_does_not_run_as_root() -> None:
    assert instructions("ENTRYPOINT") == []
    assert instructions("CMD") == ['["kando", "--help"]']
    assert instructions("USER") == ["kando"]
    assert instructions("VOLUME") == ["/data"]


def test_documentation_and_makefile_name_services_and_commands_that_exist() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    blocks = [block for page in pages for block in blocks_in(page.read_text())]
    texts = [*(block.text for block in blocks), (ROOT / "Makefile").read_text(), COMPOSE]
    options = r"(?: -\S+)*"
    ran = re.findall(rf"docker compose run{options} (\S+) (.+)", "\n".join(texts))
    started = re.findall(rf"docker compose up{options} (\S+)", "\n".join(texts))

    assert started
    assert {*started, *(service for service, _ in ran)} <= set(services())
    names = cli.list_commands(click.Context(cli))
    for _, command in ran:
        named = re.match(r"(?:python -m kando\.cli\.main|kando) (\S+)", command)
        assert command == "kando-mcp" or (named and named[1] in names), command


@pytest.mark.skipif(not os.environ.get("WHEELS"), reason="it needs a package index, as WHEELS does")
def test_the_steps_of_the_image_give_an_environment_that_runs_its_commands(tmp_path: Path) -> None:
    # The steps of the engine, in a folder instead of a container.
    folders = {"/src": tmp_path / "src", "/kando": tmp_path / "kando", "/data": tmp_path / "data"}
    folders["/data"].mkdir()
    for folder in copied():
        left_out = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, folders["/src"] / folder, ignore=left_out)
    environ = {
        "HOME": str(tmp_path / "data"),
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
    }
    steps = [each for each in instructions("RUN") if "useradd" not in each]
    for step in steps:
        here = re.sub(r"(?<!\w)(/src|/kando)(?=/|\s|$)", lambda at: str(folders[at[1]]), step)
        subprocess.run(["sh", "-c", here], env=environ, check=True, timeout=600)
    shutil.rmtree(folders["/src"])

    environ["PATH"] = f"{folders['/kando']}/bin:/usr/bin:/bin"
    environ["XDG_DATA_HOME"] = str(folders["/data"])
    for command, shown in COMMANDS:
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=folders["/data"],
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        assert shown in done.stdout, command
    assert (folders["/data"] / "kando" / "kando.sqlite").exists()
