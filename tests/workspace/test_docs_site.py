"""The site that `make docs` builds: its navigation, its hooks and its pictures."""

import importlib
import importlib.util
import logging
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from doc_examples import blocks_in

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# Longer lines of these languages would scroll sideways at a width of 1,280 pixels. Others wrap.
LONGEST_LINE = 90
NOT_WRAPPED = {"html", "json", "markdown", "python", "toml"}


@pytest.fixture
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs_hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def navigation() -> list[tuple[str, str]]:
    """The title and the page of every entry, in order."""
    section = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    entries = re.match(r"(?: .*\n)+", section)
    assert entries is not None
    return re.findall(r"^ +- (.+): (\S+\.md)$", entries[0], re.MULTILINE)


def page(uri: str) -> SimpleNamespace:
    return SimpleNamespace(file=SimpleNamespace(src_uri=uri), meta={})


def test_a_warning_fails_the_build() -> None:
    (command,) = re.findall(r"^\t.*mkdocs build.*$", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert "--strict" in command
    # It hides warnings from --strict as well.
    assert "--quiet" not in command


def test_every_page_is_in_the_navigation_once(navigation: list[tuple[str, str]]) -> None:
    pages = [str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")]

    assert sorted(path for _, path in navigation) == sorted(pages), "see nav in mkdocs.yml"


def test_the_navigation_starts_with_tutorials_and_ends_with_explanation(
    navigation: list[tuple[str, str]],
) -> None:
    folders = [path.rpartition("/")[0] for _, path in navigation]

    assert list(dict.fromkeys(folders)) == ["", "tutorial", "how-to", "reference", "explanation"]
    order = list(dict.fromkeys(folders)).index
    assert folders == sorted(folders, key=order)


def test_entries_of_the_how_to_guides_start_with_their_verb(
    navigation: list[tuple[str, str]],
) -> None:
    titles = {path: title for title, path in navigation if path.startswith("how-to/")}

    for path, title in titles.items():
        assert title.split()[0].lower() == Path(path).stem.partition("-")[0], path


@pytest.mark.parametrize(
    "path", sorted(DOCS.rglob("*.md")), ids=lambda path: str(path.relative_to(DOCS))
)
def test_no_line_of_code_is_too_long_for_the_site(path: Path) -> None:
    for block in blocks_in(path.read_text()):
        if block.language in NOT_WRAPPED:
            for number, line in enumerate(block.text.splitlines(), block.line + 1):
                assert len(line) <= LONGEST_LINE, f"{path.name}:{number}"


def test_search_works_from_disk_without_a_server() -> None:
    configuration = (ROOT / "mkdocs.yml").read_text()
    polyfill = re.search(r"polyfills: \[(.*iframe-worker.*)\]", configuration)

    assert "\n  - offline\n" in configuration
    assert polyfill is not None
    assert "Permission is hereby granted" in (DOCS / polyfill[1]).read_text()


def link(found: re.Match[str]) -> str:
    return f"| [{found[1]}](#{found[1].strip('`')}) |"


def test_the_page_of_python_gets_the_docstrings_of_every_module_it_names(hooks: ModuleType) -> None:
    markdown = (DOCS / "reference" / "python.md").read_text()

    made = hooks.on_page_markdown(markdown, page("reference/python.md"))

    modules = re.findall(r"^::: (\S+)$", made, re.MULTILINE)
    assert modules
    assert made.startswith(
        re.sub(r"^\| (`kando(?:\.\w+)*`) \|", link, markdown, flags=re.MULTILINE)
    )
    assert len(set(modules)) == len(modules)
    for name in modules:
        assert importlib.import_module(name).__doc__, name
    assert "kando.runtime" in modules


def test_docstrings_of_names_that_the_package_only_passes_on_are_shown_once(
    hooks: ModuleType,
) -> None:
    markdown = (DOCS / "reference" / "python.md").read_text()

    made = hooks.on_page_markdown(markdown, page("reference/python.md"))

    (members,) = re.findall(r"^      toc_label: kando\n      members: (.*)$", made, re.MULTILINE)
    assert members == "[Run, Store, open_store]"


def test_other_pages_are_left_as_they_are(hooks: ModuleType) -> None:
    assert hooks.on_page_markdown("| `kando.kit` | x |", page("index.md")) == "| `kando.kit` | x |"


def test_a_page_that_loads_an_asset_from_a_server_is_a_warning(
    hooks: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    remote = (
        '<script src="https://unpkg.com/shim"></script>',
        "<img alt='' src='//images.example/a.png'>",
        '<link rel="stylesheet" href="https://fonts.example/css">',
    )
    local = '<script src="assets/a.js"></script> <a href="https://example.org">elsewhere</a>'

    with caplog.at_level(logging.WARNING, logger="mkdocs.hooks"):
        assert hooks.on_post_page(local, page("index.md")) == local
        assert not caplog.messages
        for each in remote:
            hooks.on_post_page(each, page("index.md"))

    assert len(caplog.messages) == len(remote)
    assert caplog.messages[0] == "index.md loads https://unpkg.com/shim from a server."


@pytest.mark.parametrize("name", ["explanation/architecture.svg", "assets/ledger.svg"])
def test_a_picture_is_a_drawing_with_a_text_for_those_who_cannot_see_it(name: str) -> None:
    root = ElementTree.parse(DOCS / name).getroot()
    described = {each.tag.rpartition("}")[2]: each.text for each in root}

    assert root.tag.endswith("svg")
    assert described["title"]
    assert described["desc"]
    assert not [each for each in root.iter() if each.tag.rpartition("}")[2] in ("script", "image")]
