"""The diligence kit passes the conformance suite for kits."""

import json
from collections.abc import Sequence
from typing import Any

from kando.emit import create
from kando.kit import Kit
from kando.schema.events import KandoEvent
from kando.testing.kits import KitContract
from kits.diligence.kit import kit

TEXTS = {"a.txt": "Acme Corp was founded in 1949.", "b.txt": "Acme Corp was founded in 1952."}


#: Private addresses, to which no connection is made; the last one is beyond the limit of pages.
PAGES = [f"http://127.0.0.1/{n}" for n in range(4)]


class TestDiligence(KitContract):
    goal = "Evaluate Acme Corp"

    def make_kit(self) -> Kit:
        return kit

    def seeds(self, kit: Kit, run_id: str) -> Sequence[KandoEvent]:
        documents = [
            create("Document", {"path": path, "sha256": path, "text": text})
            for path, text in TEXTS.items()
        ]
        return [*super().seeds(kit, run_id), *documents]

    def answer(self, request: dict[str, Any]) -> str:
        prompt = request["messages"][-1]["content"]
        if prompt.startswith("Plan"):
            data: Any = {"summary": "Two texts.", "pages": PAGES}
        elif prompt.startswith("Source:"):
            said = next(text for text in TEXTS.values() if text in prompt)
            statement = {"statement": said, "passages": [1], "attribute": "founding year"}
            is_first = "unusable" not in prompt and "1949" in said
            data = {"note": "", "statements": [] if is_first else [statement]}
        elif prompt.startswith("Two statements"):
            data = {"verdict": "contradict", "reason": "one company is founded once"}
        else:
            data = {"holds": "first", "reason": "It is in the register."}
        return json.dumps(data)

    def decide(self, question: object) -> Any:
        return "three pages are enough"
