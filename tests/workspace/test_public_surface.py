"""The tables of the reference say which modules and names are public, and the code agrees."""

import importlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from doc_examples import blocks_in
from public_surface import (
    ROOT,
    covers,
    imports_of,
    internal_rows,
    modules,
    names_cell,
    public_rows,
)

pytestmark = pytest.mark.once

INTERNAL = internal_rows()
TABLES = public_rows()
ROWS = [row for rows in TABLES.values() for row in rows]
PUBLIC = {module for module, _ in ROWS}
EVERY_MODULE = modules()
MODULES = [each for each in EVERY_MODULE if each.has_names and not each.is_private]
OURS = re.compile(r"(kando|kando_\w+|kits)(\.|$)")

TEMPLATES = ROOT / "kando-core" / "src" / "kando" / "app" / "templates"
#: Sources that import only what other distributions may import, too.
GUESTS = [
    *sorted(TEMPLATES.rglob("*.py.tmpl")),
    *sorted((ROOT / "kits").glob("*/src/**/*.py")),
    *sorted((ROOT / "kando-eventstore" / "src").rglob("*.py")),
    *sorted((ROOT / "kando-llamacpp" / "src").rglob("*.py")),
    *sorted((ROOT / "kando-llm" / "src").rglob("*.py")),
]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(ROOT.glob("kando-*/README.md")),
    *sorted(ROOT.glob("kits/*/README.md")),
]
WRITES = "run `python tests/helpers/public_surface.py` to rewrite the rows of python.md"


def tables_of(module: str, public: list[str], internal: list[str]) -> list[str]:
    """Return the rows that a module is in; a row of its own takes precedence over a package's."""
    own = [row for row in (*public, *internal) if row == module]
    return own or [row for row in internal if covers(row, module)]


def not_public(source: str, package: str) -> list[str]:
    """Return what a source imports from Kando that is not in a table, apart from its package."""
    found = []
    for module, name in imports_of(source):
        if not OURS.match(module) or module == package or module.startswith(f"{package}."):
            continue
        is_name = module in PUBLIC and (
            name is None or name in importlib.import_module(module).__all__
        )
        if not is_name and f"{module}.{name}" not in PUBLIC:
            found.append(f"{module}: {name}" if name is not None else module)
    return found


def package_of(path: Path) -> str:
    """Return the package that a source belongs to; only templates have none yet."""
    if "src" not in path.parts or TEMPLATES in path.parents:
        return "PACKAGE"
    parts = path.parts[len(path.parts) - path.parts[::-1].index("src") :]
    return ".".join(parts[:2] if parts[0] == "kits" else parts[:1])


@pytest.mark.parametrize("module", [each.name for each in MODULES])
def test_a_module_is_in_one_table_or_private(module: str) -> None:
    rows = tables_of(module, [name for name, _ in ROWS], INTERNAL)

    assert len(rows) == 1, (
        f"{module} is in {len(rows)} rows of docs/reference/{{python,public-surface}}.md: "
        "add it to the table for kit authors, for plugin authors or of internal modules, or "
        "start its name with _"
    )


def test_a_module_that_is_in_no_table_or_in_two_is_found() -> None:
    assert tables_of("kando.new", ["kando.kit"], ["kando.app"]) == []
    assert tables_of("kando.kit", ["kando.kit", "kando.kit"], []) == ["kando.kit"] * 2
    assert tables_of("kando.kit", ["kando.kit"], ["kando.kit"]) == ["kando.kit"] * 2
    assert tables_of("kando.views.a", ["kando.views.a"], ["kando.views"]) == ["kando.views.a"]
    assert tables_of("kando.views.b", ["kando.views.a"], ["kando.views"]) == ["kando.views"]
    assert tables_of("kando.runtime", [], ["kando.runtime.*"]) == []


@pytest.mark.parametrize("row", [*(name for name, _ in ROWS), *INTERNAL])
def test_a_row_is_about_modules_that_exist(row: str) -> None:
    assert any(covers(row, each.name) for each in EVERY_MODULE)
    assert importlib.import_module(row.removesuffix(".*"))


@pytest.mark.parametrize(("module", "cell"), ROWS, ids=[module for module, _ in ROWS])
def test_a_row_has_the_names_of_its_module_with_their_parameters(module: str, cell: str) -> None:
    assert cell == names_cell(importlib.import_module(module), PUBLIC, cell), WRITES


@pytest.mark.parametrize("path", GUESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_plugins_import_only_public_names(path: Path) -> None:
    source = re.sub(r"\$\w+|\$\{\w+\}", "PACKAGE", path.read_text())

    assert not_public(source, package_of(path)) == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_import_only_public_names(path: Path) -> None:
    for block in blocks_in(path.read_text()):
        if block.language == "python":
            assert not_public(block.text, "kando_kit_weather") == [], f"line {block.line}"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from kando.kit import Kit\nimport kando.errors\nfrom kando import errors, emit", []),
        ("import os, pluggy\nfrom kits.mine import _parts\nfrom . import _other", []),
        ("from kando.app.run import Run", ["kando.app.run: Run"]),
        ("def f():\n    import kando.cli.main", ["kando.cli.main"]),
        ("from kando.world.projection import change_of", ["kando.world.projection: change_of"]),
        ("from kando.ledger import _sqlite_rows", ["kando.ledger: _sqlite_rows"]),
    ],
)
def test_an_import_of_what_is_not_public_is_found(source: str, found: list[str]) -> None:
    assert not_public(source, "kits.mine") == found


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return a function that has the helper read and write a page of its own."""
    path = tmp_path / "python.md"

    def write(text: str) -> Path:
        path.write_text(text)
        monkeypatch.setattr("public_surface._PYTHON", path)
        return path

    return write


def test_rows_are_rewritten_and_keep_how_they_show_classes(page: Callable[[str], Path]) -> None:
    from public_surface import rewrite

    path = page(
        "## For kit authors\n\n"
        "| `kando.ledger.verification` | checks | `Verdict`, `old()` |\n"
        "| `kando.cache.llm` | the cache | `LLMCache()`: `old()` |\n"
        "| `kando.text.relevance` | new | |\n\n## For plugin authors\n"
    )

    rewrite()

    text = path.read_text()
    assert "| `kando.ledger.verification` | checks | `Verdict`, `verify(ledger)` |\n" in text
    assert "`LLMCache(" in text
    assert "`get(request)`" in text
    assert "`old()`" not in text
    assert "| `kando.text.relevance` | new | `Ranked(order)`" in text
