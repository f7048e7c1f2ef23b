"""A small kit that keeps every promise; tests break one promise at a time."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import attrs

from kando.emit import ask, create, patch, relate
from kando.kit import Kit
from kando.responders.answers import text_of
from kando.schema.events import (
    LLM_RESPONSE,
    OBJECT_CREATED,
    OBJECT_PATCHED,
    KandoEvent,
    RecordedEvent,
    make_event,
)
from kando.world.graph import World

__all__ = ["Guest", "sample_kit"]


@attrs.frozen
class Guest:
    """The person to greet."""

    name: str
    status: str = "new"


@attrs.frozen
class Greeting:
    """The text of a greeting."""

    status: str
    text: str = ""


def sample_kit() -> Kit:
    """Return a new instance of the kit, which a test may change."""
    kit = Kit("sample", prompts={"greet": "Greet $name."})
    kit.object(Guest)
    kit.object(Greeting)
    kit.relation("greets", Greeting, Guest)

    @kit.seeds
    def seed(goal: str, run_id: str) -> list[KandoEvent]:
        data = {"type": "Guest", "data": {"name": goal}}
        return [make_event(OBJECT_CREATED, f"run:{run_id}", "cli", [], data)]

    @kit.responder(OBJECT_CREATED, type=Guest)
    def on_guest(event: RecordedEvent, world: World) -> Generator[KandoEvent, RecordedEvent, None]:
        greeting = yield create("Greeting", {"status": "pending"})
        yield relate("greets", greeting, event)

    @kit.edge_logic("greets")
    def on_greets(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        guest: dict[str, Any] = world.objects[event.data["target_id"]].data
        question = kit.prompt("greet", name=guest["name"])
        yield ask([{"role": "user", "content": question}], about=event.data["source_id"])

    @kit.responder(LLM_RESPONSE, type=Greeting)
    def on_answer(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        text = text_of(event.data)
        answer = {"status": "completed" if text else "failed", "text": text or ""}
        yield patch(event.data["cause_object_id"], answer)

    @kit.responder(OBJECT_PATCHED, type=Greeting)
    def on_greeted(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        for relation in world.get_relations(event.data["id"], "greets"):
            yield patch(relation.target_id, {"status": "greeted"})

    return kit
