"""Pages and workflows for contributors name only files and commands that exist."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import click
import pytest

from doc_examples import anchors_in, blocks_in, code_spans_in, links_in
from kando.cli.main import cli

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("CONTRIBUTING.md", "RELEASING.md", "SECURITY.md")]
WORKFLOWS = ROOT / ".github" / "workflows"
YAML = [
    *sorted(ROOT.glob("*.y*ml")),
    *sorted(ROOT.glob(".*.y*ml")),
    *sorted((ROOT / ".github").rglob("*.y*ml")),
    *sorted((ROOT / "docker").glob("*.y*ml")),
]
PROJECTS = [
    tomllib.loads(path.read_text())["project"] for path in ROOT.glob("k*/**/pyproject.toml")
]
#: A path that begins with the name of a package is one below its folder of sources.
SOURCES = {
    "kando": ROOT / "kando-core" / "src",
    "kando_eventstore": ROOT / "kando-eventstore" / "src",
    "kando_inspector": ROOT / "kando-inspector" / "src",
    "kando_llamacpp": ROOT / "kando-llamacpp" / "src",
    "kando_llm": ROOT / "kando-llm" / "src",
    "kando_mcp": ROOT / "kando-mcp" / "src",
}

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)


def paths_in(markdown: str) -> list[str]:
    """Return the inline code of a page that is a path; what follows a colon is a name in it."""
    found = [span.partition(":")[0] for span in code_spans_in(markdown)]
    kinds = r"(?:cfg|ini|md|py|svg|toml|tmpl|txt|ya?ml)"
    path = re.compile(rf"[\w.-]+(?:/[\w.*-]+)*(?:/|\.{kinds})|(?:[\w.-]+/)+[\w.*-]+|Makefile")
    return [span for span in found if path.fullmatch(span)]


def resolved(path: str) -> list[Path]:
    """Return what a path of a page stands for: from the root, or from a package's sources."""
    # NAME is to be replaced by a name that does not exist yet: its folder has to.
    known = re.sub(r"[^/]*NAME.*", "", path)
    package = known.partition("/")[0]
    folders = [ROOT, SOURCES[package]] if package in SOURCES else [ROOT]
    return [found for folder in folders for found in folder.glob(known.rstrip("/") or ".")]


def names_in(path: Path) -> set[str]:
    """Return the names of the functions, classes and variables that a file defines."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


@every_page
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    missing = [path for path in paths_in(page.read_text()) if not resolved(path)]

    assert missing == []


@every_page
def test_every_name_in_a_file_exists(page: Path) -> None:
    spans = [span.partition(":") for span in code_spans_in(page.read_text()) if ".py:" in span]
    missing = [
        f"{path}:{name}"
        for path, _, name in spans
        for found in resolved(path)
        if not set(name.split(".")) <= names_in(found)
    ]

    assert missing == []


def test_a_path_that_does_not_exist_is_found() -> None:
    page = "`kando/runtime/nowhere.py`, `kando/runtime/`, `tests/core`, `make test` and `Event.id`"

    assert paths_in(page) == ["kando/runtime/nowhere.py", "kando/runtime/", "tests/core"]
    assert not resolved("kando/runtime/nowhere.py")
    assert resolved("kando/runtime/")
    assert resolved("kando/cli/NAME.py")
    assert not resolved("kando/nowhere/NAME.py")


def test_the_map_of_the_house_has_every_room() -> None:
    named = paths_in((ROOT / "CONTRIBUTING.md").read_text())
    kando = SOURCES["kando"] / "kando"
    rooms = {f"kando/{path.parent.name}/" for path in kando.glob("*/__init__.py")}
    modules = {f"kando/{path.name}" for path in kando.glob("*.py")} - {"kando/__init__.py"}

    assert (rooms | modules) - set(named) == set()


@every_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links_in(page.read_text()):
        name, _, anchor = link.partition("#")
        if not name.startswith("https://"):
            target = ROOT / name if name else page
            assert target.exists(), link
            assert not anchor or anchor in anchors_in(target.read_text()), link


@every_page
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    spans = [*code_spans_in(text), *(block.text for block in blocks_in(text))]
    made = {name for span in spans for name in re.findall(r"\bmake ([a-z-]+)", span)}
    called = {name for span in spans for name in re.findall(r"\bkando ([a-z]+)", span)}

    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert made <= set(targets)
    assert called <= set(cli.list_commands(click.Context(cli)))


def test_every_file_of_yaml_can_be_parsed() -> None:
    # mkdocs brings a parser, the tests alone do not.
    yaml = pytest.importorskip("yaml")

    for path in YAML:
        assert yaml.compose(path.read_text()), path


def test_the_hooks_use_the_version_of_ruff_that_make_lint_uses() -> None:
    pinned = re.findall(r"^ruff.+$", (ROOT / "requirements-dev.txt").read_text(), re.MULTILINE)
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()

    assert set(re.findall(r'"(ruff.*)"', hooks)) == set(pinned)


def test_every_distribution_is_published_the_core_first() -> None:
    workflow = (WORKFLOWS / "release.yml").read_text()
    (listed,) = re.findall(r"distribution:\n((?: +- .+\n)+)", workflow)
    published = re.findall(r"- (\S+)", listed)

    assert published[0] == "kando-core"
    assert set(published) == {str(project["name"]) for project in PROJECTS}
    named = re.findall(r"`pypi-(\S+)`", (ROOT / "RELEASING.md").read_text())
    assert named == published


def test_every_python_that_a_package_names_is_tested() -> None:
    workflow = (WORKFLOWS / "ci.yml").read_text()
    classifiers = {each for project in PROJECTS for each in project["classifiers"]}

    named = {found for each in classifiers for found in re.findall(r"Python :: (3\.\d+)", each)}
    assert set(re.findall(r'"(3\.\d+)"', workflow)) == named


def test_the_changelog_and_the_security_policy_are_about_this_version() -> None:
    version = str(PROJECTS[0]["version"])
    (newest, *_) = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert newest == version
    assert f"| {version.rpartition('.')[0]} | yes |" in (ROOT / "SECURITY.md").read_text()
