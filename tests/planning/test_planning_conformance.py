"""The planning kit passes the conformance suite for kits, in a run with all that can happen to a task."""

from __future__ import annotations

import json
import re
from typing import Any

from kando.kit import Kit
from kando.testing.kits import KitContract
from kando.views.approvals import Approval
from kando.views.children import RequestedRun
from kits.planning.kit import kit


def step(name: str, *needed: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "title": f"Do {name}", "depends_on": [*needed], **fields}


REFUSED = [step("a", "b"), step("b", "a"), step("c", "nowhere")]
PLAN = [
    step("a"),
    step("b", "a"),
    step("c", "a"),
    step("ask", "b", kind="question"),
    step("pay", "c", is_dangerous=True),
    step("end", "ask", "pay"),
]


class TestPlanning(KitContract):
    goal = "Open the bridge"
    settings = {"kits": {"question": "research"}}  # noqa: RUF012

    def make_kit(self) -> Kit:
        return kit

    def decide(self, question: Any) -> Any:
        if isinstance(question, Approval):
            return True
        return "It is open." if isinstance(question, RequestedRun) else None

    def answer(self, request: dict[str, Any]) -> str:
        text = request["messages"][-1]["content"]
        if text.startswith("Decompose"):
            return json.dumps({"items": PLAN if "was refused" in text else REFUSED})
        if text.startswith("A task of a plan has failed"):
            return json.dumps({"items": [step("b1"), step("b2", "b1")]})
        found = re.search(r"^Your task is (.*?):", text, re.MULTILINE)
        assert found is not None
        result = {"succeeded": found[1] != "b", "summary": f"{found[1]}: so it is"}
        if found[1] == "b2":
            result["obstacles"] = [{"title": "Clear the way", "blocks": ["c", "end"]}]
        return json.dumps(result)

    def test_the_run_has_all_that_can_happen_to_a_task(self) -> None:
        world = self.finished_run().world

        statuses = {each.data["name"]: each.data["status"] for each in world.objects_of("Task")}
        assert statuses.pop("b") == "replaced"
        assert set(statuses) == {"a", "c", "ask", "pay", "end", "b1", "b2", "obstacle 1"}
        assert set(statuses.values()) == {"done"}
        attempts = [each.data["status"] for each in world.objects_of("Outcome")]
        assert attempts.count("failed") == 2
        assert "withdrawn" in attempts
