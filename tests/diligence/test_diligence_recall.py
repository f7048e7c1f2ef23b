"""Passages chosen by an installed recall: recorded, so that replay needs no plugin."""

import json
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from kando import Run, open_store
from kando.app.providers import Provider
from kando.emit import create
from kando.errors import ConfigurationError
from kando.kit import Kit
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.llm_executor import provider_executor
from kando.schema.events import TOOL_CALLED, TOOL_RETURNED, KandoEvent
from kando.testing.kits import KitContract
from kando.testing.runs import KandoRun
from kits.diligence.kit import kit, seed_from_goal
from recalls import trigrams_installed

GOAL = "Evaluate Acme Corp"

#: A long text. The words of the questions are in no passage; their trigrams are in the seventh.
LINES = [f"Paragraph {n} tells about rain, which fell on day {n} of May." for n in range(20)]
LINES[7] = "Großrevenuebericht: 12 Mio., im Vorjahr waren es noch 11 Mio."
TEXT = "\n\n".join(f"# {n}\n\n{line}" for n, line in enumerate(LINES))
SETTINGS = {"recall": "trigrams", "document_chars": 120}


def answer(request: dict[str, Any]) -> str:
    """Answer like a model that states the first line of what it is shown."""
    prompt = request["messages"][-1]["content"]
    if prompt.startswith("Plan"):
        return json.dumps({"summary": "One text.", "questions": ["What is the revenue?"]})
    lines = [line[2:] for line in prompt.splitlines() if line.startswith(("> Gro", "> Para"))]
    statements = [{"statement": line, "passages": [n]} for n, line in enumerate(lines, 1)]
    return json.dumps({"note": "All.", "statements": statements})


@pytest.fixture
def trigrams(tmp_path: Path) -> Iterator[None]:
    """Install the recall ``trigrams``."""
    with trigrams_installed(tmp_path / "site"):
        yield


@pytest.mark.usefixtures("trigrams")
class TestDiligenceWithARecall(KitContract):
    goal = GOAL
    settings = SETTINGS
    max_interruptions = 40

    def make_kit(self) -> Kit:
        return kit

    def seeds(self, kit: Kit, run_id: str) -> Sequence[KandoEvent]:
        document = {"path": "a.txt", "sha256": "a", "text": TEXT}
        return [*super().seeds(kit, run_id), create("Document", document)]

    def answer(self, request: dict[str, Any]) -> str:
        return answer(request)


def complete(request: dict[str, Any]) -> dict[str, Any]:
    return {"text": answer(request), "model": "test", "cost_usd": 0.0}


PROVIDER = Provider("test", "", provider_executor(complete))


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Write a long document, and return the URL of a store."""
    (tmp_path / "a.txt").write_text(TEXT)
    return f"sqlite:{tmp_path / 'k.db'}"


def start(url: str, path: Path, **settings: Any) -> Run:
    """Start a run on the document, and return it closed."""
    with open_store(url, kits=[kit]) as store:
        given = {"document_chars": 120, **settings}
        return store.start("diligence", GOAL, inputs=[path], settings=given, llm=PROVIDER)


def test_a_recall_finds_a_passage_by_more_than_words(url, tmp_path):
    by_words = start(url, tmp_path / "a.txt")
    with trigrams_installed(tmp_path / "site"):
        by_trigrams = start(url, tmp_path / "a.txt", recall="trigrams")

    with open_store(url) as store:
        found = [
            "revenue"
            in str([each.data for each in store.run(run.id).world().objects_of("Evidence")])
            for run in (by_words, by_trigrams)
        ]
        tools = [e.data["tool"] for e in store.run(by_words.id).events() if e.type == TOOL_CALLED]
    assert (found, tools) == ([False, True], ["read_document"])


def test_the_ledger_holds_the_order_and_the_digest_of_the_text(url, tmp_path):
    with trigrams_installed(tmp_path / "site"):
        id = start(url, tmp_path / "a.txt", recall="trigrams").id

    with open_store(url) as store:
        events = [*store.run(id).events()]
    (called,) = [e for e in events if e.type == TOOL_CALLED]
    (returned,) = [e for e in events if e.type == TOOL_RETURNED]
    (document,) = [e for e in events if e.data.get("type") == "Document"]
    digest = sha256(TEXT.encode()).hexdigest().encode()
    assert digest in called.encoded
    assert digest in document.encoded
    assert returned.data["result"][0] == "7"


def test_replay_and_branches_need_no_plugin_and_new_work_does(url, tmp_path):
    with trigrams_installed(tmp_path / "site"):
        id = start(url, tmp_path / "a.txt", recall="trigrams").id

    with open_store(url, kits=[kit]) as store:
        run = store.run(id)
        run.replay(strict=True)
        branch = run.fork(at=run.status().events - 1)
        branch.replay(strict=True)
        by_words = run.fork(at=run.status().events - 1, settings={"recall": "bm25"})
        by_words.resume(llm=PROVIDER)
        by_words.replay(strict=True)
        with pytest.raises(ConfigurationError) as refused:
            branch.resume(llm=PROVIDER)
    assert "'trigrams'" in str(refused.value)


def test_a_branch_is_served_the_order_that_its_parent_got(url, tmp_path):
    with trigrams_installed(tmp_path / "site"):
        id = start(url, tmp_path / "a.txt", recall="trigrams").id
        with open_store(url, kits=[kit]) as store:
            run = store.run(id)
            (at,) = [e.position for e in run.events() if e.type == TOOL_CALLED]
            branch = run.fork(at=at)
            branch.resume(llm=PROVIDER)
            (returned,) = [e for e in branch.events() if e.type == TOOL_RETURNED]

    assert (returned.data["cached"], returned.data["result"][0]) == (True, "7")


def test_of_a_text_that_fits_into_no_event_the_most_relevant_passages_are_ranked(tmp_path):
    text = "rain " * 180_000 + "The revenue was 12 Mio."
    document = create("Document", {"path": "a.txt", "sha256": "a", "text": text})
    run = KandoRun(kit, MemoryLedgerStore("r1"), (provider_executor(complete),), settings=SETTINGS)

    with trigrams_installed(tmp_path):
        run.work([*seed_from_goal(GOAL, "r1"), document])

    (called,) = [e.data["arguments"] for e in run.events if e.type == TOOL_CALLED]
    assert len(called["text"]) < 201_000
    assert "revenue" in called["text"]


def test_an_unknown_recall_is_refused_before_anything_is_recorded(url, tmp_path):
    with trigrams_installed(tmp_path / "site"), pytest.raises(ConfigurationError) as refused:
        start(url, tmp_path / "a.txt", recall="trigram")

    assert "Did you mean 'trigrams'?" in str(refused.value.hint)
    with open_store(url) as store:
        assert [*store.runs()] == []
