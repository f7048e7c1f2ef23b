"""Fixtures: research runs in memory, from a goal, documents and a provider."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

import attrs
import pytest

from kando.cache.llm import LLMCache
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.llm_executor import provider_executor
from kando.runtime import Runtime
from kando.schema.events import LLM_REQUEST, OBJECT_CREATED, KandoEvent, make_event
from kando.world.graph import World, WorldObject
from kando.world.projection import project
from kits.research.kit import FINDING, SYNTHESIS, create_kit, kit, seed_from_goal

GOAL_TEXT = "Understand AI safety"
RUN_ID = "r1"

Complete = Callable[[dict[str, Any]], dict[str, Any]]


def answering(request: dict[str, Any]) -> dict[str, Any]:
    """Answer like a model, in the words of the question and of the first source."""
    asked = request["messages"][-1]["content"]
    question = asked.splitlines()[-1]
    answer = {"text": f"Answer to: {question} [1]", "model": "test", "cost_usd": 0.25}
    if "output_schema" not in request:
        return answer
    # The words of the first source are supported by it.
    quoted = next((line[2:] for line in asked.splitlines() if line.startswith("> ")), "")
    said = f"Answer to: {question} {quoted[:60]}"
    return {**answer, "data": {"statements": [{"text": said, "sources": [1]}]}}


def document(path: str, text: str) -> KandoEvent:
    """Return an input document as the application records it: caused by the goal."""
    data = {
        "path": path,
        "sha256": sha256(text.encode()).hexdigest(),
        "media_type": "text/plain",
        "text": text,
        "part": 1,
        "parts": 1,
    }
    body = {"type": "Document", "data": data}
    return make_event(OBJECT_CREATED, f"run:{RUN_ID}", "cli", ["object.created-0"], body)


@attrs.define
class Research:
    """A run of the kit.

    Attributes:
        store: ledger of the run.
        settings: of the kit, if any.
    """

    store: MemoryLedgerStore = attrs.field(factory=lambda: MemoryLedgerStore(RUN_ID))
    settings: dict[str, Any] = attrs.field(factory=dict)

    def runtime(self, complete: Complete | None = answering) -> Runtime:
        """Return a runtime over the ledger; without `complete`, requests stay unanswered."""
        responders = create_kit()
        if complete is not None:
            responders.append(provider_executor(complete))
        return Runtime(self.store, responders, cache=LLMCache())

    def run(
        self,
        documents: Sequence[KandoEvent] = (),
        complete: Complete | None = answering,
        goal: str = GOAL_TEXT,
    ) -> World:
        """Start the run and work until there is no pending work."""
        seeds = seed_from_goal(goal, RUN_ID)
        runtime = self.runtime(complete)
        if not self.settings:
            return runtime.run([*seeds, *documents])
        loaded = {"name": kit.name, "version": kit.version, "settings": self.settings}
        first = make_event("kit.loaded", f"run:{RUN_ID}", "cli", [], loaded)
        moved = [attrs.evolve(each, cause=["object.created-1"]) for each in documents]
        runtime.record([first, *seeds, *moved], is_own=True)
        return runtime.run([])

    def resume(self, complete: Complete | None = answering) -> World:
        """Resume the run in a new runtime."""
        return self.runtime(complete).run([])

    def events(self, type: str | None = None) -> list[KandoEvent]:
        """Return the ledger's events, or only those of a type."""
        return [event for event in self.store.read_all() if type is None or event.type == type]

    def asked(self) -> list[KandoEvent]:
        """Return the requests about findings, which excludes the request for a plan."""
        about = {each.id for each in self.objects(FINDING)}
        return [e for e in self.events(LLM_REQUEST) if e.data["cause_object_id"] in about]

    def objects(self, type: str) -> list[WorldObject]:
        """Return the objects of a type, projected from the ledger."""
        return project(self.store.read_all()).objects_of(type)

    def synthesis(self) -> WorldObject:
        """Return the one synthesis."""
        (synthesis,) = self.objects(SYNTHESIS)
        return synthesis

    def decided(self) -> list[tuple[Any, ...]]:
        """Return the fields in which two equal ledgers agree."""
        return [(e.type, e.id, e.data, e.cause, e.actor) for e in self.store.read_all()]


@pytest.fixture
def research() -> Research:
    """Return a run that has not started."""
    return Research()


@pytest.fixture
def new_research() -> Callable[[], Research]:
    """Return a factory of runs that have not started."""
    return Research


@pytest.fixture
def make_document() -> Callable[[str, str], KandoEvent]:
    """Return a function that makes an input document from a path and a text."""
    return document


@pytest.fixture
def answer() -> Complete:
    """Return a provider that answers each question."""
    return answering
