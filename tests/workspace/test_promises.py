"""Every promise of the documentation is numbered and names tests that exist."""

import ast
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "promises.md"

PROMISE = re.compile(r"^(\d+)\. \*\*")
TEST = re.compile(r"`([\w./-]+\.py)::(\w+)`")


def promises() -> list[tuple[int, str]]:
    """Return the number and text of each promise, in the order of the page."""
    found: list[tuple[int, list[str]]] = []
    is_inside = False
    for line in PAGE.read_text().splitlines():
        start = PROMISE.match(line)
        if start is not None:
            found.append((int(start[1]), [line]))
        elif is_inside and (not line or line.startswith("   ")):
            found[-1][1].append(line)
        is_inside = start is not None or (is_inside and (not line or line.startswith("   ")))
    return [(number, "\n".join(lines)) for number, lines in found]


def names_of_tests(path: Path) -> set[str]:
    """Return the names of the test functions in a file."""
    tree = ast.parse(path.read_text())
    functions = ast.FunctionDef, ast.AsyncFunctionDef
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, functions) and node.name.startswith("test_")
    }


def test_promises_are_numbered_consecutively() -> None:
    numbers = [number for number, _ in promises()]

    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 15


@pytest.mark.parametrize(("number", "text"), promises(), ids=lambda each: str(each)[:2])
def test_every_promise_names_tests_that_exist(number: int, text: str) -> None:
    named = TEST.findall(text)

    assert named, f"promise {number} names no test"
    for path, name in named:
        assert (ROOT / path).is_file(), f"promise {number} names {path}, which does not exist"
        assert name in names_of_tests(ROOT / path), f"promise {number} names {path}::{name}"


def test_every_numbered_item_of_the_page_is_a_promise() -> None:
    items = re.findall(r"^\d+\. .*", PAGE.read_text(), re.MULTILINE)

    assert len(items) == len(promises())
