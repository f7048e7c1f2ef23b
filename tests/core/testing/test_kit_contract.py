"""A kit that keeps every promise passes its conformance suite."""

from collections.abc import Iterator
from typing import Any

import attrs

from kando.emit import ask_person, call_tool, create, start_run
from kando.kit import Kit
from kando.responders.policies import Ask
from kando.schema.events import OBJECT_CREATED, KandoEvent, make_event
from kando.testing.kits import KitContract
from kando.views.approvals import Approval
from kando.views.children import RequestedRun
from kando.views.questions import Question
from kando.world.graph import World
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


class TestGatedKit(KitContract):
    """A kit whose tool writes outside, and whose calls and objects wait for a person."""

    goal = "Lisbon"
    is_installed = False

    def make_kit(self) -> Kit:
        kit = Kit("gated")
        kit.object(Town)

        @kit.seeds
        def seed(goal: str, run_id: str) -> list[KandoEvent]:
            return [make_event("opened", f"run:{run_id}", "cli", [], {"names": [goal, "Porto"]})]

        @kit.tool
        def book(name: str, idempotency_key: str) -> int:
            """Book a place."""
            self.booked.setdefault(idempotency_key, name)
            return [*self.booked].index(idempotency_key) + 1

        @kit.policy("tool.called")
        def ask_first(intent: KandoEvent) -> Ask:
            return Ask("it costs money")

        @kit.policy(type=Town)
        def ask_about_towns(intent: KandoEvent) -> Ask | None:
            return Ask("a large town") if intent.object["mood"] == "3" else None

        @kit.responder("opened")
        def on_opened(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
            for name in [*event.data["names"], "Faro", "Braga"]:
                yield call_tool("book", {"name": name})

        @kit.responder("tool.returned")
        def on_booked(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
            result = event.data.get("result", event.data.get("error", {}).get("message"))
            yield create(Town(name="booked", mood=str(result)))

        return kit

    def reset(self) -> None:
        self.booked: dict[str, str] = {}

    def decide(self, question: Approval | Question) -> Any:
        if isinstance(question, Question) or question.intent is None:
            return True
        answers: dict[str, bool | str | dict[str, Any]] = {
            "tool.called-2": True,
            "tool.called-3": {"name": "Sintra"},
            "tool.called-4": "too far",
            "tool.called-5": True,
        }
        return answers[question.intent]

    def test_the_decisions_take_effect(self) -> None:
        run = self.finished_run()

        assert sorted(town.mood for town in run.world.all(Town)) == ["1", "2", "3", "too far"]
        assert [*self.booked.values()] == ["Lisbon", "Sintra", "Braga"]


class TestDeniedKit(TestGatedKit):
    def decide(self, question: Approval | Question) -> Any:
        is_left = isinstance(question, Approval) and question.intent == "tool.called-3"
        return None if is_left else KitContract.decide(self, question)

    def test_the_decisions_take_effect(self) -> None:
        run = self.finished_run()

        assert self.booked == {}
        assert [town.mood for town in run.world.all(Town)] == ["denied"] * 3


class TestAskingPeopleKit(KitContract):
    """A kit that asks a person two questions."""

    goal = "Lisbon"
    is_installed = False

    def make_kit(self) -> Kit:
        kit = Kit("people")
        kit.object(Town)

        @kit.seeds
        def seed(goal: str, run_id: str) -> list[KandoEvent]:
            return [make_event("opened", f"run:{run_id}", "cli", [], {"name": goal})]

        @kit.responder("opened")
        def on_opened(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
            for question in ("How is it?", "How was it?"):
                yield ask_person(question)

        @kit.responder("person.replied")
        def on_reply(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
            yield create(Town("Lisbon", event.data["answer"]))

        return kit

    def decide(self, question: Approval | Question) -> Any:
        assert isinstance(question, Question)
        return f"{question.question} Well."

    def test_the_answers_are_recorded(self) -> None:
        towns = self.finished_run().world.all(Town)

        assert [town.mood for town in towns] == ["How is it? Well.", "How was it? Well."]


class TestStartingKit(KitContract):
    """A kit that starts two child runs."""

    goal = "Lisbon"
    is_installed = False

    def make_kit(self) -> Kit:
        kit = Kit("starting")
        kit.object(Town)

        @kit.seeds
        def seed(goal: str, run_id: str) -> list[KandoEvent]:
            return [make_event("opened", f"run:{run_id}", "cli", [], {"name": goal})]

        @kit.responder("opened")
        def on_opened(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
            for name in ("north", "south"):
                yield start_run(name, event.data["name"])

        @kit.responder("run.ended")
        def on_end(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
            yield create(Town("Lisbon", event.data["result"]))

        return kit

    def decide(self, question: Approval | Question | RequestedRun) -> Any:
        assert isinstance(question, RequestedRun)
        return f"{question.kit} is well"

    def test_the_results_are_recorded(self) -> None:
        towns = self.finished_run().world.all(Town)

        assert [town.mood for town in towns] == ["north is well", "south is well"]
