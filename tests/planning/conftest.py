"""Fixtures: planning runs in memory, with a model that knows the tasks and how they end."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import pytest

from kando.cache.llm import LLMCache
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.llm_executor import provider_executor
from kando.runtime import Runtime
from kando.runtime.emission import as_own
from kando.schema.events import KIT_LOADED, RUN_ENDED, KandoEvent, RecordedEvent, make_event
from kando.world.graph import World
from kits.planning.kit import TASK, create_kit, seed_from_goal

#: A step of a plan by its name, with the names that it depends on.
Steps = Mapping[str, Sequence[str]]


@attrs.define
class Planner:
    """A run of the kit, and the model that answers its requests.

    Attributes:
        plans: the answers to requests for a plan, in order; the last one is repeated. Each is a
            mapping of steps, a list of steps as JSON, or the data of an answer.
        replans: the same for requests to replace a task.
        results: the answers to attempts by the name of the task, in order; the last one is repeated.
            Other tasks succeed.
        settings: of the run.
    """

    plans: list[Any] = attrs.field(factory=lambda: [{"a": []}])
    replans: list[Any] = attrs.field(factory=lambda: [{"other": []}])
    results: dict[str, list[Any]] = attrs.field(factory=dict)
    settings: dict[str, Any] = attrs.field(factory=dict)
    store: MemoryLedgerStore = attrs.field(factory=lambda: MemoryLedgerStore("r1"))
    asked: Counter[str] = attrs.field(factory=Counter)
    requests: list[str] = attrs.field(factory=list)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer like a model. Equal requests are not repeated, since there is a cache."""
        text = request["messages"][-1]["content"]
        self.requests.append(text)
        if text.startswith("Decompose"):
            return self._next("plan", self.plans)
        if text.startswith("A task of a plan has failed"):
            return self._next("replan", self.replans)
        found = re.search(r"^Your task is (.*?):", text, re.MULTILINE)
        assert found is not None, text
        name = found[1]
        return self._next(name, self.results.get(name, [done(f"{name} is done")]))

    def _next(self, kind: str, answers: Sequence[Any]) -> dict[str, Any]:
        answer = answers[min(self.asked[kind], len(answers) - 1)]
        self.asked[kind] += 1
        if isinstance(answer, Mapping) and ("error" in answer or "text" in answer):
            return {"model": "test", "cost_usd": 0.0, **answer}
        if kind in ("plan", "replan"):
            answer = {"items": steps(answer) if isinstance(answer, Mapping) else answer}
        return {"text": json.dumps(answer), "model": "test", "cost_usd": 0.0}

    def runtime(self) -> Runtime:
        """Return a runtime over the ledger."""
        return Runtime(
            self.store, [*create_kit(), provider_executor(self.answer)], cache=LLMCache()
        )

    def run(self, goal: str = "Open the bridge", documents: Sequence[KandoEvent] = ()) -> World:
        """Start the run and work until there is no pending work."""
        seeds = [loaded(self.settings), *seed_from_goal(goal, "r1"), *documents]
        return self.runtime().run(seeds)

    def send(self, *events: KandoEvent) -> World:
        """Send events to the run and work on."""
        runtime = self.runtime()
        runtime.record(list(events), is_external=True)
        return runtime.run([])

    def end_child(self, about: RecordedEvent, **data: Any) -> World:
        """End a child run that the run has asked for."""
        echoed = {"cause_object_id": about.data["cause_object_id"], "run_id": "child"}
        return self.send(make_event(RUN_ENDED, "", "child_runs", [about.id], {**echoed, **data}))

    def events(self, type: str | None = None) -> list[RecordedEvent]:
        """Return the ledger's events, or only those of a type."""
        return [e for e in self.store.read_all() if type is None or e.type == type]

    @property
    def world(self) -> World:
        """The world of the run."""
        return self.runtime().load()

    def id(self, name: str) -> str:
        """Return the id of a task."""
        (found,) = [o.id for o in self.world.objects_of(TASK) if o.data["name"] == name]
        return found

    def statuses(self) -> dict[str, str]:
        """Return the status of each task by its name."""
        return {o.data["name"]: o.data["status"] for o in self.world.objects_of(TASK)}

    def artifact(self, name: str = "plan.md") -> str:
        """Return the text of an artifact."""
        return str(self.world.objects[f"{name}-of-goal"].data["text"])


def loaded(settings: Mapping[str, Any]) -> KandoEvent:
    """Return the event that records the settings of a run."""
    data = {"name": "planning", "version": "0.1.0", "settings": dict(settings)}
    return as_own(make_event(KIT_LOADED, "", "runtime", [], data))


def steps(plan: Steps) -> list[dict[str, Any]]:
    """Return steps as a model answers with them."""
    return [
        {"name": name, "title": f"Do {name}", "depends_on": list(needed)}
        for name, needed in plan.items()
    ]


def done(summary: str, **obstacles: Sequence[str]) -> dict[str, Any]:
    """Return the answer to an attempt that succeeds."""
    found = [{"title": title, "blocks": list(names)} for title, names in obstacles.items()]
    return {"succeeded": True, "summary": summary, "obstacles": found}


def failed(summary: str, **obstacles: Sequence[str]) -> dict[str, Any]:
    """Return the answer to an attempt that fails."""
    return {**done(summary, **obstacles), "succeeded": False}


@pytest.fixture
def planner() -> type[Planner]:
    """Return the class of runs."""
    return Planner


@pytest.fixture(name="done")
def done_answer() -> Any:
    """Return the function that makes the answer of an attempt that succeeds."""
    return done


@pytest.fixture(name="failed")
def failed_answer() -> Any:
    """Return the function that makes the answer of an attempt that fails."""
    return failed
