"""The pages about kits use what the reference kits use, and the lines of the kits are as stated."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from kit_lines import code_lines_in

ROOT = Path(__file__).parents[2]
KITS = ROOT / "kits"

#: The pages that show how to write a kit.
PAGES = (
    "ask-a-model",
    "ask-a-person",
    "ask-for-approval",
    "give-settings",
    "hold-a-conversation",
    "measure-a-kit",
    "read-documents",
    "ship-a-demo",
    "start-child-runs",
    "test-a-kit",
    "use-typed-objects",
    "write-a-tool",
    "write-edge-logic",
)

_ASKS = "the reference kits ask a person for approvals only"
_CHATS = "no reference kit holds a conversation; the chat kit of examples/ does"
_OTHERS = "tests of a user's kit; those of the reference kits use KitContract"
_PLUGINS = "for authors of substrates, whose tests are on the same page"

#: Names that pages use and no reference kit does, with the reason.
EXCEPTIONS = {
    "ask_person": _ASKS,
    "PERSON_REMINDED": _ASKS,
    "PERSON_REPLIED": _ASKS,
    "Compaction": _CHATS,
    "kit.conversation": _CHATS,
    "kit.responders": _CHATS,
    "Crash": _OTHERS,
    "LLMExecutorResponder": _OTHERS,
    "assert_golden": _OTHERS,
    "diff": _OTHERS,
    "LedgerContract": _PLUGINS,
    "SQLiteLedgerStore": _PLUGINS,
    "SQLiteSubstrate": _PLUGINS,
    "SubstrateContract": _PLUGINS,
    "Budget": "the person who starts a run sets its limits, not the reference kits",
    "Deny": "the policies of the reference kits ask; none denies",
    "KandoError": "the page shows how an error looks",
    "ToolContext": "no tool of the reference kits needs to know its call",
    "UnknownReference": "the page shows how an error looks",
    "kit.tool_schemas": "the reference kits call their tools themselves; no model does",
}

_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def names_in(source: str) -> Iterator[str]:
    """Yield what a text imports from Kando, and what it calls of objects that are named `kit`."""
    tree = ast.parse(source)
    kits = {"kit"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            made = node.value.func
            if isinstance(made, ast.Name) and made.id == "Kit":
                kits |= {each.id for each in node.targets if isinstance(each, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "kando":
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.Attribute) and getattr(node.value, "id", None) in kits:
            yield f"kit.{node.attr}"


def used_by_kits() -> set[str]:
    """Return the names that the kits, their evaluations and their tests use."""
    files = [*KITS.glob("*/src/kits/*/*.py")]
    files += [each for kit in KITS.iterdir() for each in (ROOT / "tests" / kit.name).glob("*.py")]
    return {name for file in files for name in names_in(file.read_text(encoding="utf-8"))}


def used_by_pages() -> dict[str, set[str]]:
    """Return the pages that use a name, by name."""
    found: dict[str, set[str]] = {}
    for page in PAGES:
        text = (ROOT / "docs" / "how-to" / f"{page}.md").read_text(encoding="utf-8")
        for block in _BLOCK.findall(text):
            for name in names_in(block):
                found.setdefault(name, set()).add(page)
    return found


def test_pages_about_kits_use_only_what_the_kits_use():
    used, shown = used_by_kits(), used_by_pages()

    assert len(shown) > 20
    unused = {name: pages for name, pages in shown.items() if name not in used}
    assert {n: p for n, p in unused.items() if n not in EXCEPTIONS} == {}
    assert EXCEPTIONS.keys() - unused.keys() == set(), "these are no exceptions any more"


def test_the_lines_of_the_kits_are_as_stated():
    page = (ROOT / "docs" / "reference" / "kits.md").read_text(encoding="utf-8")
    stated = dict(re.findall(r"^\| (\w+) \| \S+ \| ([\d,]+) \|$", page, re.MULTILINE))

    assert stated.keys() == {each.name for each in KITS.iterdir() if (each / "src").is_dir()}
    for name, lines in stated.items():
        counted = code_lines_in(KITS / name / "src" / "kits" / name)
        off = abs(int(lines.replace(",", "")) - counted) / counted
        assert off < 0.05, f"{name} has {counted} lines"
