"""Fixtures: diligence runs in memory, from a goal, files and a model that obeys all it reads."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from kando.cache.llm import LLMCache
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.llm_executor import provider_executor
from kando.runtime import Runtime
from kando.schema.events import OBJECT_CREATED, KandoEvent, make_event
from kando.text.documents import Document, read_documents
from kando.world.graph import World, WorldObject
from kando.world.projection import project
from kits.diligence.kit import REPORT, create_kit, seed_from_goal

RUN_ID = "r1"

Complete = Callable[[dict[str, Any]], dict[str, Any]]

PLAN = {
    "summary": "Much can be found out.",
    "questions": ["When was it founded?", "What does it sell?"],
}


def as_answer(data: Any) -> dict[str, Any]:
    """Return an answer of a model that has this JSON, or this text."""
    body = {"text": data} if isinstance(data, str) else {"text": json.dumps(data), "data": data}
    return {**body, "model": "obedient", "cost_usd": 0.25}


def obedient(request: dict[str, Any]) -> dict[str, Any]:
    """Answer like a model that obeys every instruction it reads, also those in a document.

    A line ``FACT 1: ...`` of a passage becomes a statement; ``SAY ...`` is repeated word for word: JSON
    as a statement, other text in the note. Two statements that differ only in their figures contradict
    each other.
    """
    prompt = request["messages"][-1]["content"]
    if prompt.startswith("Plan"):
        return as_answer(PLAN)
    if prompt.startswith("Source:"):
        return as_answer(_stated(prompt))
    if prompt.startswith("Two statements"):
        first, second = re.findall(r"^> (.*)$", prompt, re.MULTILINE)
        is_alike = re.sub(r"\d+", "", first) == re.sub(r"\d+", "", second)
        if first.rstrip("!") == second.rstrip("!"):
            return as_answer({"verdict": "agree", "reason": "same"})
        verdict = "contradict" if is_alike else "unrelated"
        return as_answer({"verdict": verdict, "reason": "figures differ"})
    if prompt.startswith("Two claims"):
        return as_answer({"holds": "second", "reason": "It is in the register."})
    return as_answer("Who knows.")


def _stated(prompt: str) -> dict[str, Any]:
    said, statements, number = [], [], 0
    for line in prompt.splitlines():
        marked = re.fullmatch(r"\[(\d+)\]", line)
        number = int(marked[1]) if marked else number
        fact = re.match(r"> .*?FACT (\d): (.*)", line)
        order = re.match(r"> .*?SAY (.*)", line)
        if fact:
            statement = {"statement": fact[2][:400], "passages": [number], "question": int(fact[1])}
            statements.append(statement)
        elif order and order[1].startswith("{"):
            statements.append(json.loads(order[1]))
        elif order:
            said.append(order[1])
    return {"note": " ".join(["It says something.", *said]), "statements": statements}


@attrs.define
class Diligence:
    """A run of the kit.

    Attributes:
        folder: folder of the input files.
        store: ledger of the run.
        checks_purity: whether impure responders raise.
    """

    folder: Path
    store: MemoryLedgerStore = attrs.field(factory=lambda: MemoryLedgerStore(RUN_ID))
    checks_purity: bool = False

    def runtime(self, complete: Complete | None = obedient) -> Runtime:
        """Return a runtime over the ledger; without `complete`, requests stay unanswered."""
        responders = create_kit()
        if complete is not None:
            responders.append(provider_executor(complete))
        return Runtime(
            self.store,
            responders,
            cache=LLMCache(),
            edge_logic=(),
            checks_purity=self.checks_purity,
        )

    def run(
        self,
        files: dict[str, str | bytes] | None = None,
        complete: Complete | None = obedient,
        goal: str = "Evaluate Acme Corp",
    ) -> World:
        """Start the run on files and work until there is no pending work."""
        return self.runtime(complete).run([*seed_from_goal(goal, RUN_ID), *self.read(files or {})])

    def resume(self, complete: Complete | None = obedient) -> World:
        """Resume the run in a new runtime."""
        return self.runtime(complete).run([])

    def read(self, files: dict[str, str | bytes]) -> list[KandoEvent]:
        """Write files, and return the events that record them, as the application does."""
        self.folder.mkdir(exist_ok=True)
        events = []
        for name, content in files.items():
            data = content if isinstance(content, bytes) else content.encode()
            (self.folder / name).write_bytes(data)
            for found in read_documents([self.folder / name]):
                type = "Document" if isinstance(found, Document) else "SkippedDocument"
                body = {"type": type, "data": attrs.asdict(found) | {"path": name}}
                cause = ["object.created-0"]
                events.append(make_event(OBJECT_CREATED, f"run:{RUN_ID}", "cli", cause, body))
        return events

    def events(self, type: str | None = None) -> list[KandoEvent]:
        """Return the ledger's events, or only those of a type."""
        return [event for event in self.store.read_all() if type is None or event.type == type]

    def objects(self, type: str) -> list[WorldObject]:
        """Return the objects of a type, projected from the ledger."""
        return project(self.store.read_all()).objects_of(type)

    def claims(self, kind: str = "statement") -> dict[str, dict[str, Any]]:
        """Return the data of the claims of a kind, keyed by statement."""
        found = [each.data for each in self.objects("Claim")]
        return {each["statement"]: each for each in found if each.get("kind") == kind}

    def report(self) -> str:
        """Return the text of the one report."""
        (report,) = self.objects(REPORT)
        return str(report.data["text"])

    def decided(self) -> list[tuple[Any, ...]]:
        """Return the fields in which two equal ledgers agree."""
        return [(e.type, e.id, e.data, e.cause, e.actor) for e in self.store.read_all()]


@pytest.fixture
def diligence(tmp_path: Path) -> Diligence:
    """Return a run that has not started."""
    return Diligence(tmp_path / "files")


@pytest.fixture
def new_diligence(tmp_path: Path) -> Callable[[], Diligence]:
    """Return a factory of runs that have not started."""
    return lambda: Diligence(tmp_path / "files")


@pytest.fixture(scope="session")
def new_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Diligence]:
    """Return a factory of runs that have not started, for property tests."""
    return lambda: Diligence(tmp_path_factory.mktemp("files"))


@pytest.fixture
def answer() -> Complete:
    """Return a provider that obeys every instruction it reads."""
    return obedient
