"""Sources of a question chosen by an installed recall: recorded, so that replay needs no plugin."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from kando import open_store
from kando.app.providers import Provider
from kando.emit import create
from kando.kit import Kit
from kando.responders.llm_executor import provider_executor
from kando.schema.events import TOOL_CALLED, TOOL_RETURNED, KandoEvent
from kando.testing.kits import KitContract
from kits.research.kit import kit
from recalls import trigrams_installed

GOAL = "What is the revenue?"

#: Sources without a word of the goal; one has its trigrams.
LINES = [f"Paragraph {n} tells about rain, which fell on day {n} of May." for n in range(20)]
LINES[7] = "Großrevenuebericht: 12 Mio., im Vorjahr waren es noch 11 Mio."
TEXT = "\n\n".join(f"# {n}\n\n{line}" for n, line in enumerate(LINES))
SETTINGS = {"recall": "trigrams", "depth": 1, "questions": 2}


def answer(request: dict[str, Any]) -> str:
    """Answer like a model that states the first line of the first source."""
    prompt = request["messages"][-1]["content"]
    if prompt.startswith("Plan"):
        return json.dumps({"questions": ["What is the revenue?", "How large is the revenue?"]})
    lines = [line[2:] for line in prompt.splitlines() if line.startswith(("> Gro", "> Para"))]
    return json.dumps({"statements": [{"text": lines[0], "sources": [1]}], "missing": ""})


def complete(request: dict[str, Any]) -> dict[str, Any]:
    return {"text": answer(request), "model": "test", "cost_usd": 0.0}


PROVIDER = Provider("test", "", provider_executor(complete))


@pytest.fixture
def trigrams(tmp_path: Path) -> Iterator[None]:
    """Install the recall ``trigrams``."""
    with trigrams_installed(tmp_path / "site"):
        yield


@pytest.mark.usefixtures("trigrams")
class TestResearchWithARecall(KitContract):
    goal = GOAL
    settings = SETTINGS
    max_interruptions = 40

    def make_kit(self) -> Kit:
        return kit

    def seeds(self, kit: Kit, run_id: str) -> Sequence[KandoEvent]:
        document = create("Document", {"path": "a.txt", "sha256": "a", "text": TEXT})
        # A question that a person adds is settled from the start.
        added = create("Question", {"text": "What was the revenue?"})
        return [*super().seeds(kit, run_id), document, added]

    def answer(self, request: dict[str, Any]) -> str:
        return answer(request)


def test_a_recall_finds_a_source_by_more_than_words_and_replay_needs_no_plugin(tmp_path):
    (tmp_path / "a.txt").write_text(TEXT)
    url, given = f"sqlite:{tmp_path / 'k.db'}", {"inputs": [tmp_path / "a.txt"], "llm": PROVIDER}
    with trigrams_installed(tmp_path / "site"), open_store(url, kits=[kit]) as store:
        id = store.start("research", GOAL, settings=SETTINGS, **given).id

    with open_store(url, kits=[kit]) as store:
        run, by_words = store.run(id), {"depth": 1, "questions": 2}
        run.replay(strict=True)
        texts = [
            run.artifact().text,
            store.start("research", GOAL, settings=by_words, **given).artifact().text,
        ]
        events = [*run.events()]

    assert ["Großrevenuebericht" in text for text in texts] == [True, False]
    called = [e.data for e in events if e.type == TOOL_CALLED]
    assert [each["tool"] for each in called] == ["rank_passages"] * 2
    # One text for all questions, which the store keeps once.
    assert called[0]["arguments"]["text"] == called[1]["arguments"]["text"]
    assert sum(e.type == TOOL_RETURNED for e in events) == 2


def test_a_question_without_an_order_fails_and_says_why(tmp_path):
    (tmp_path / "a.txt").write_text(TEXT)
    given = {"inputs": [tmp_path / "a.txt"], "llm": PROVIDER, "settings": SETTINGS}
    broken = "def open_trigrams(environ):\n    raise OSError('the model is damaged')\n"
    with trigrams_installed(tmp_path / "site", broken), open_store("memory:", kits=[kit]) as store:
        run = store.start("research", GOAL, **given)

        assert "the model is damaged" in run.status().problem
