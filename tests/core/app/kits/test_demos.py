"""Demos of kits: documents read from the package, answers from the script."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest

from kando.app.kits.demos import demo_documents, demo_of, demo_provider
from kando.emit import ask
from kando.errors import ConfigurationError, NotFoundError
from kando.kit import Demo, Kit
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.budget import Budget
from kando.runtime import Runtime
from kando.schema.events import LLM_RESPONSE, make_event
from kando.text.documents import Document
from kando.world.graph import World

SCRIPT = {
    "answers": [
        {"contains": ["fork", "cost"], "text": "Nothing."},
        {"contains": "fork", "text": "A branch."},
        {"contains": "price", "data": {"cents": 0}},
    ],
    "default": "Nobody knows.",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the demo folder of the package ``shipping``."""
    (tmp_path / "shipping" / "demo" / "documents" / "old").mkdir(parents=True)
    (tmp_path / "shipping" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / "shipping" / "demo"
    (folder / "answers.json").write_text(json.dumps(SCRIPT))
    (folder / "documents" / "b.md").write_text("Branches.")
    (folder / "documents" / "old" / "a.txt").write_text("Ledgers.")
    yield folder
    sys.modules.pop("shipping", None)


KIT = Kit("shipping", demo=Demo("shipping", "What is a fork?"))


def answer_to(*texts: str) -> Any:
    messages = [{"role": "user", "content": text} for text in texts]
    executor = demo_provider(KIT).executor
    request = make_event("llm.request", "", "x", [], {"messages": messages, "model": "default"})
    (answer,) = executor.fn(request, World())
    return answer.data["text"]


@pytest.mark.usefixtures("folder")
def test_documents_have_paths_that_do_not_depend_on_where_the_kit_is() -> None:
    found = demo_documents(demo_of(KIT))

    assert [each.path for each in found] == ["demo/b.md", "demo/old/a.txt"]
    assert [each.text for each in found if isinstance(each, Document)] == ["Branches.", "Ledgers."]


def test_a_demo_without_documents_reads_none(folder: Path) -> None:
    rmtree(folder / "documents")

    assert demo_documents(demo_of(KIT)) == []


@pytest.mark.usefixtures("folder")
def test_a_request_gets_the_first_answer_whose_words_occur_in_it() -> None:
    assert answer_to("what does a", "fork cost?") == "Nothing."
    assert answer_to("what is a fork?") == "A branch."
    assert answer_to("what is a world?") == "Nobody knows."


@pytest.mark.usefixtures("folder")
def test_an_answer_costs_nothing_under_any_budget() -> None:
    executor = demo_provider(KIT).executor
    asked = ask([{"role": "user", "content": "fork"}])

    ledger = MemoryLedgerStore("r1")
    Runtime(ledger, [executor], Budget(max_llm_cost_usd=0.0), edge_logic=()).run([asked])

    assert LLM_RESPONSE in [event.type for event in ledger.read_all()]


@pytest.mark.parametrize("script", ["", "[]", '{"answers": [{"text": "x"}]}', '{"answers": 7}'])
def test_a_script_that_cannot_be_used_is_an_error_that_names_the_kit(
    folder: Path, script: str
) -> None:
    (folder / "answers.json").write_text(script)

    with pytest.raises(ConfigurationError, match="demo of kit 'shipping'"):
        demo_provider(KIT)


def test_a_kit_without_a_demo_says_how_to_start_it() -> None:
    with pytest.raises(NotFoundError, match="has no demo") as caught:
        demo_of(Kit("bare"))

    assert "--input" in str(caught.value.hint)


@pytest.mark.usefixtures("folder")
def test_an_answer_may_be_json() -> None:
    assert json.loads(answer_to("What is the price?")) == {"cents": 0}
