"""A child run of a plan works from the documents of the run that started it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kando import open_store
from kando.app.providers import Provider
from kando.responders.llm_executor import provider_executor
from kits.planning.kit import kit

STEP = {"name": "owner", "title": "Who owns the footbridge?", "kind": "question"}
FACT = "The footbridge belongs to the parish of Millbrook."


def complete(request: dict[str, Any]) -> dict[str, Any]:
    asked = request["messages"][-1]["content"]
    if asked.startswith("Decompose"):
        answer: dict[str, Any] = {"items": [STEP]}
    elif asked.startswith("Plan the research"):
        answer = {"questions": [STEP["title"]] * 3}
    else:
        said = {"text": FACT, "sources": [1]} if FACT in asked else None
        answer = {"statements": [said] if said else [], "missing": "" if said else "all"}
    return {"text": json.dumps(answer), "model": "test", "cost_usd": 0.0}


def test_research_for_a_task_cites_the_documents_of_the_plan(tmp_path):
    research = pytest.importorskip("kits.research.kit").kit
    (tmp_path / "deed.txt").write_text(FACT)
    provider = Provider("test", "", provider_executor(complete))
    settings = {"kits": {"question": "research"}}

    with open_store("memory:", kits=[kit, research]) as store:
        run = store.start(
            "planning", "Repair it", inputs=[tmp_path], settings=settings, llm=provider
        )
        plan = run.world().objects["plan.md-of-goal"].data["text"]
        branch = run.fork(at=run.status().events // 2)
        branch.resume(llm=provider)
        again = branch.world().objects["plan.md-of-goal"].data["text"]

    assert "belongs to the parish of Millbrook" in plan
    assert "deed.txt" in plan
    assert again == plan
