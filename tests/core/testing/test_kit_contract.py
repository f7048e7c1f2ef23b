"""A kit that keeps every promise passes its conformance suite."""

from typing import Any

import attrs

from kando.kit import Kit
from kando.schema.events import OBJECT_CREATED, KandoEvent, make_event
from kando.testing.kits import KitContract
from sample_kit import sample_kit


class TestSampleKit(KitContract):
    goal = "Ada"
    is_installed = False

    def make_kit(self) -> Kit:
        return sample_kit()


@attrs.frozen
class Town:
    """The subject of the questions."""

    name: str
    mood: str = ""


@attrs.frozen
class Mood:
    """The answer of the model."""

    mood: str


def asking_kit() -> Kit:
    """Return a kit with an LLM responder and a tool."""
    kit = Kit("asking", prompts={"mood": "How is $name?"})
    kit.object(Town)
    kit.object(Mood)

    @kit.seeds
    def seed(goal: str, run_id: str) -> list[KandoEvent]:
        data = {"type": "Town", "data": {"name": goal}}
        return [make_event(OBJECT_CREATED, f"run:{run_id}", "cli", [], data)]

    @kit.tool("look")
    def look(at: str) -> str:
        """Look at a thing."""
        return f"seen: {at}"

    @kit.llm_responder(OBJECT_CREATED, prompt="mood", output=Mood, type=Town, tools=["look"])
    def ask_mood(event: KandoEvent, world: object) -> dict[str, Any]:
        return {"name": event.data["data"]["name"]}

    return kit


class TestAskingKit(KitContract):
    goal = "Lisbon"
    is_installed = False

    def make_kit(self) -> Kit:
        return asking_kit()

    def answer(self, request: dict[str, Any]) -> str:
        return '{"mood": "sunny"}'
