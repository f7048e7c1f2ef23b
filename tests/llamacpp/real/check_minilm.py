"""The recall in examples/minilm, judged by its real model: all-MiniLM-L6-v2, on this machine."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kando_minilm.recall import open_minilm

from kando import open_store
from kando.app.providers import Provider
from kando.recall import open_recall
from kando.responders.llm_executor import provider_executor
from kando.schema.events import TOOL_CALLED, TOOL_RETURNED
from kando.testing.recalls import RecallSuite
from kando.text.relevance import Recall
from kits.research.kit import kit

pytestmark = pytest.mark.xdist_group("minilm")

GOAL = "Who pays for the repair of the roof?"
LINES = {
    "rain.txt": "It rained on nine of the thirty days of April, most of all in the last week.",
    "vicar.txt": "The new vicar plays the organ, and teaches the choir on Thursdays.",
    "fund.txt": "The diocese covers the cost of new slates for the church.",
}


class TestMiniLM(RecallSuite):
    def open_recall(self) -> Recall:
        return open_minilm({})


def test_its_vectors_are_those_of_the_model_that_it_computes() -> None:
    # As the model card on Hugging Face shows them for these sentences.
    texts = ("That is a happy dog", "That is a very happy person", "Today is a sunny day")
    encoder = open_minilm({}).encoder

    similarity = encoder.vectors(texts) @ encoder.vectors(["That is a happy person"])[0]

    assert [round(float(each), 3) for each in similarity] == [0.695, 0.943, 0.257]


def complete(request: dict[str, Any]) -> dict[str, Any]:
    data: Any = {"questions": [GOAL]}
    prompt = request["messages"][-1]["content"]
    if not prompt.startswith("Plan"):
        line = next(each for each in LINES.values() if each in prompt)
        data = {"statements": [{"text": line, "sources": [1]}], "missing": ""}
    return {"text": json.dumps(data), "model": "test", "cost_usd": 0.0}


def test_it_finds_a_source_that_shares_no_word_with_the_question(tmp_path: Any) -> None:
    for name, line in LINES.items():
        (tmp_path / name).write_text(line)
    settings = {"recall": "minilm", "depth": 2, "questions": 1}
    provider = Provider("test", "", provider_executor(complete))

    assert isinstance(open_recall("minilm"), Recall)
    with open_store("memory:", kits=[kit]) as store:
        run = store.start("research", GOAL, inputs=[tmp_path], settings=settings, llm=provider)
        run.replay(strict=True)
        events = [*run.events()]
        (called,) = [e.data["arguments"] for e in events if e.type == TOOL_CALLED]
        (returned,) = [e.data["result"] for e in events if e.type == TOOL_RETURNED]
        start, end = called["spans"][called["names"].index(returned[0])]

    assert called["text"][start:end] == LINES["fund.txt"]
