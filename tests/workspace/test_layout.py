"""Rules for every package and every file of the workspace."""

import ast
import os
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TypeGuard

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "kando-core": "kando",
    "kando-llm": "kando_llm",
    "kando-llamacpp": "kando_llamacpp",
    "kando-eventstore": "kando_eventstore",
    "kando-inspector": "kando_inspector",
    "kando-mcp": "kando_mcp",
    "kits/diligence": "kits/diligence",
    "kits/planning": "kits/planning",
    "kits/research": "kits/research",
}
REPOSITORY = "https://github.com/kando-project/kando"
#: Files that visitors of the repository look for; test_project_files.py checks what is in them.
HOSPITALITY = [
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "RELEASING.md",
    "SECURITY.md",
    ".editorconfig",
    ".pre-commit-config.yaml",
    ".github/ISSUE_TEMPLATE/bug.yml",
    ".github/ISSUE_TEMPLATE/config.yml",
    ".github/ISSUE_TEMPLATE/feature.yml",
    ".github/PULL_REQUEST_TEMPLATE.md",
    ".github/workflows/ci.yml",
    ".github/workflows/release.yml",
]
# Starts Python with a module of its own, and with nothing that a caller names.
STARTS_PROCESSES = {
    "kando-core/src/kando/testing/_killed.py",
    "kando-core/src/kando/text/_parser.py",
    "kando-inspector/src/kando_inspector/workers.py",
    "kando-mcp/src/kando_mcp/worker/pool.py",
}
SOURCES = [path for folder in PACKAGES for path in sorted((ROOT / folder / "src").rglob("*.py"))]


def project(folder: str) -> dict[str, object]:
    with (ROOT / folder / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"]


def test_all_packages_share_one_version_and_pin_each_other_to_it() -> None:
    versions = {project(folder)["version"] for folder in PACKAGES}

    assert len(versions) == 1
    (only,) = versions
    for folder in PACKAGES:
        siblings = [d for d in project(folder)["dependencies"] if d.startswith("kando-")]
        assert all(d.endswith(f"=={only}") for d in siblings), folder


def test_the_kits_state_the_version_of_their_distribution() -> None:
    from kits.diligence.kit import kit as diligence
    from kits.planning.kit import kit as planning
    from kits.research.kit import kit as research

    assert diligence.version == version("kando-kit-diligence")
    assert planning.version == version("kando-kit-planning")
    assert research.version == version("kando-kit-research")


@pytest.mark.parametrize("folder", PACKAGES)
def test_a_package_has_what_its_readers_and_type_checkers_look_for(folder: str) -> None:
    about = project(folder)

    assert about["license"] == "Apache-2.0"
    assert about["license-files"] == ["LICENSE"]
    assert about["readme"] == "README.md"
    assert about["authors"] == [{"name": "The Kando developers"}]
    python = "Programming Language :: Python :: 3"
    assert {"Typing :: Typed", *(f"{python}.{minor}" for minor in range(11, 15))} <= {
        *about["classifiers"]
    }
    assert about["requires-python"] == ">=3.11"
    assert (ROOT / folder / "src" / PACKAGES[folder] / "py.typed").exists()
    assert (ROOT / folder / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    readme = (ROOT / folder / "README.md").read_text()
    assert "```console" in readme
    assert "one version and one CHANGELOG" in readme


@pytest.mark.parametrize("folder", PACKAGES)
def test_a_package_says_where_its_project_lives(folder: str) -> None:
    assert project(folder)["urls"] == {
        "Homepage": REPOSITORY,
        "Documentation": f"{REPOSITORY}/blob/main/docs/index.md",
        "Source": f"{REPOSITORY}/tree/main/{folder}",
        "Changelog": f"{REPOSITORY}/blob/main/CHANGELOG.md",
        "Issues": f"{REPOSITORY}/issues",
    }


@pytest.mark.parametrize("name", HOSPITALITY)
def test_the_repository_has_what_its_visitors_look_for(name: str) -> None:
    assert (ROOT / name).read_text().strip()


def test_every_list_of_the_packages_names_all_of_them() -> None:
    makefile = re.search(r"^PACKAGES := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    workspace = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["workspace"]
    developing = (ROOT / "requirements-dev.txt").read_text()
    tox = re.search(r"^    OURS = (.+)$", (ROOT / "tox.ini").read_text(), re.MULTILINE)
    readme = (ROOT / "README.md").read_text().replace("\\\n", "")
    installing = re.search(r"^\$ pip install (-e .+)$", readme, re.MULTILINE)

    assert makefile is not None
    assert installing is not None
    assert tox is not None
    expected = set(PACKAGES)
    assert set(makefile[1].split()) == expected
    assert set(workspace["members"]) == expected
    assert set(re.findall(r"^-e \./([\w/-]+)", developing, re.MULTILINE)) == expected
    assert set(re.findall(r"-e '?\./([\w/-]+)", installing[1])) == expected
    assert set(tox[1].split()) == {project(folder)["name"] for folder in PACKAGES}


def test_kits_is_a_namespace_that_no_kit_claims_for_itself() -> None:
    stray = [
        path
        for path in ROOT.glob("kits/**/__init__.py")
        if path.parent.name == "kits" or path.parent.parent == ROOT / "kits"
    ]

    assert stray == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_source_file_says_in_its_first_line_what_it_holds_and_stays_short(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    docstring = ast.get_docstring(tree)

    assert docstring
    assert docstring.splitlines()[0].endswith((".", ":"))
    assert len(text.splitlines()) <= 400 or "\n# long: " in text
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 80, node.name


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_code_evaluates_unpickles_or_runs_text(path: Path) -> None:
    tree = ast.parse(path.read_text())
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    imports = {
        alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }

    assert not names & {"eval", "exec", "__import__", "compile"}
    assert not imports & {"pickle", "marshal", "shelve"}
    assert "subprocess" not in imports or path.relative_to(ROOT).as_posix() in STARTS_PROCESSES


def test_init_files_hold_imports_and_nothing_else() -> None:
    for path in SOURCES:
        if path.name == "__init__.py":
            allowed = (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign)
            nodes = ast.parse(path.read_text()).body
            for node in [each for each in nodes if is_for_type_checkers(each)]:
                nodes += [*node.body, *node.orelse]
                nodes.remove(node)
            assert all(isinstance(node, allowed) for node in nodes), path


def is_for_type_checkers(node: ast.stmt) -> TypeGuard[ast.If]:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def test_packages_that_need_the_same_library_accept_the_same_versions_of_it() -> None:
    accepted: dict[str, set[str]] = {}
    for folder in PACKAGES:
        for requirement in project(folder)["dependencies"]:
            name = re.split(r"[^\w-]", requirement, maxsplit=1)[0]
            accepted.setdefault(name, set()).add(requirement)

    assert [found for found in accepted.values() if len(found) > 1] == []


def test_no_file_names_a_place_of_one_machine() -> None:
    machine_paths = re.compile(r"(?<![\w.])/(?:(?:work|root|home|opt)/\w|tmp/v\d*/)")

    found = [path for path in texts() if machine_paths.search(path.read_text())]

    assert found == []


def texts() -> Iterator[Path]:
    """Yield what is written by hand: of hidden folders only two, and nothing that was built."""
    kinds = {"", ".cfg", ".ini", ".md", ".py", ".toml", ".txt", ".yml", ".yaml"}
    for folder, inner, names in os.walk(ROOT):
        inner[:] = [
            name
            for name in inner
            if name in {".ci", ".github"}
            or not (
                name.startswith(".") or name in {"__pycache__", "build", "dist", "node_modules"}
            )
        ]
        for path in map(Path(folder).joinpath, names):
            # In a worktree, .git is a file.
            if path.suffix in kinds and path.name != ".git" and path != Path(__file__):
                yield path
