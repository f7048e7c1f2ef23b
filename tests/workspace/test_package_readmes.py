"""The README of a package, which is its page on PyPI: short, complete, and true."""

from pathlib import Path

import pytest

from doc_examples import Page, blocks_in, links_in

ROOT = Path(__file__).parents[2]
READMES = sorted([*ROOT.glob("kando-*/README.md"), *ROOT.glob("kits/*/README.md")])

every_readme = pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)


def test_every_package_has_one() -> None:
    assert {path.parent for path in READMES} == {
        path.parent for path in ROOT.glob("k*/**/pyproject.toml")
    }


@every_readme
def test_every_example_runs_and_prints_what_is_shown(readme: Path, tmp_path: Path) -> None:
    with Page(readme, tmp_path) as running:
        running.run()


@every_readme
def test_it_says_how_to_install_the_package_and_shows_an_example(readme: Path) -> None:
    name = readme.read_text().splitlines()[0].removeprefix("# ")
    installing, *examples = (block.text for block in blocks_in(readme.read_text()))

    assert installing.startswith("$ pip install ")
    assert name in installing.split()
    assert examples


@every_readme
def test_it_is_short_and_links_nowhere_that_does_not_exist_on_pypi(readme: Path) -> None:
    text = readme.read_text()

    # That of a kit also shows how good it is.
    longest = 80 if readme.parent.parent.name == "kits" else 50
    assert 20 <= len(text.splitlines()) <= longest
    assert all(link.startswith("https://") for link in links_in(text))
