"""Packages written by `kando new` pass their own tests, and no existing file is overwritten."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kando.app.new import KINDS, TEMPLATES, write_package
from kando.errors import ConfigurationError

pytestmark = [pytest.mark.long, pytest.mark.once]

#: Kinds of packages, and the templates of kits.
EVERY = [*((kind, None) for kind in KINDS), *(("kit", each) for each in TEMPLATES)]

# Modules that kits and plugins must not import.
INTERNAL = re.compile(r"kando\.(app|cli|runtime)(\.|$)|.*\._")


def on_the_path(folder: Path, name: str) -> dict[str, str]:
    """Return an environment in which the package can be imported and found, as if installed."""
    package = folder.name.replace("-", "_")
    metadata = folder / "src" / f"{package}-0.1.0.dist-info"
    metadata.mkdir()
    about = f"Metadata-Version: 2.1\nName: {folder.name}\nVersion: 0.1.0\n"
    (metadata / "METADATA").write_text(about)
    (metadata / "entry_points.txt").write_text(f"[kando]\n{name} = {package}.plugin\n")
    home = folder.parent / "home"
    return {**os.environ, "HOME": str(home), "PYTHONPATH": str(folder / "src")}


def kando(environ: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "kando.cli.main", *arguments]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("kind", "template"), EVERY)
def test_a_new_package_passes_its_own_tests(
    kind: str, template: str | None, tmp_path: Path
) -> None:
    folder, written = write_package(kind, "two-words", tmp_path, template)
    environ = on_the_path(folder, "two-words")

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stdout
    assert re.search(r"^\d+ passed", done.stdout, re.MULTILINE)
    assert {Path(".github/workflows/ci.yml"), Path("README.md"), Path("pyproject.toml")} <= {
        *written
    }


@pytest.mark.parametrize(("kind", "template"), EVERY)
def test_a_new_package_imports_no_internal_module_of_kando(
    kind: str, template: str | None, tmp_path: Path
) -> None:
    folder, written = write_package(kind, "two-words", tmp_path, template)

    sources = [(folder / path).read_text() for path in written if path.suffix == ".py"]
    nodes = [node for source in sources for node in ast.walk(ast.parse(source))]
    modules = {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    imported = {each.name for node in nodes if isinstance(node, ast.Import) for each in node.names}
    assert {each for each in modules | imported if INTERNAL.match(each)} == set()
    assert "kando.plugins" in modules


def test_a_new_kit_runs_by_its_name(tmp_path: Path) -> None:
    folder, _ = write_package("kit", "weather", tmp_path)
    environ = on_the_path(folder, "weather")

    run_id = kando(environ, "run", "weather", "--goal", "Lisbon").strip()

    world = json.loads(kando(environ, "world", run_id, "--json"))
    assert [each["type"] for each in world["objects"]] == ["Topic", "Question"]


def test_a_new_substrate_stores_a_run_and_its_branch(tmp_path: Path) -> None:
    folder, _ = write_package("substrate", "toy", tmp_path)
    write_package("kit", "weather", tmp_path)
    environ = on_the_path(folder, "toy")
    kit = on_the_path(tmp_path / "kando-kit-weather", "weather")
    environ["PYTHONPATH"] += os.pathsep + kit["PYTHONPATH"]
    url = f"toy:{tmp_path}/ledgers"

    run_id = kando(environ, "--ledger", url, "run", "weather", "--goal", "Lisbon").strip()
    branch = kando(environ, "--ledger", url, "fork", run_id, "--at", "2").strip()

    items = json.loads(kando(environ, "--ledger", url, "runs", "--json"))["items"]
    assert [item["run_id"] for item in items] == [branch, run_id]


@pytest.mark.parametrize(("kind", "template"), [("provider", "tools"), ("kit", "kit")])
def test_a_template_that_does_not_exist_is_refused(
    kind: str, template: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="no template"):
        write_package(kind, "toy", tmp_path, template)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "Weather", "a_b", "-a", "a--b", "../x", "1st", "a/b", "কাণ্ড"])
def test_a_malformed_name_is_refused_and_nothing_is_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="hyphens"):
        write_package("kit", name, tmp_path)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("kind", "name"), [("provider", "core"), ("kit", "diligence")])
def test_a_name_whose_distribution_is_installed_is_refused(
    kind: str, name: str, tmp_path: Path
) -> None:
    # Installing the new package would replace the other one.
    with pytest.raises(ConfigurationError, match="is already installed"):
        write_package(kind, name, tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_refused_and_left_unchanged(tmp_path: Path) -> None:
    (tmp_path / "kando-kit-weather").mkdir()

    with pytest.raises(ConfigurationError, match="--into"):
        write_package("kit", "weather", tmp_path)

    assert list((tmp_path / "kando-kit-weather").iterdir()) == []
