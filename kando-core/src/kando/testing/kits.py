"""Conformance of kits: what every kit promises, as tests to inherit.

A kit's whole test is a subclass that says which kit, and what it is tried with::

    class TestWeather(KitContract):
        goal = "Lisbon"

        def make_kit(self):
            return kit

        def answer(self, request):
            return "It is sunny."
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kando.branch.diff import diff
from kando.errors import ImpureResponder, ReplayDivergence
from kando.kit import Kit
from kando.ledger.interface import LedgerStore
from kando.ledger.memory import MemoryLedgerStore
from kando.plugins import Plugins
from kando.responders.base import Responder
from kando.responders.budget import Budget
from kando.responders.llm_executor import provider_executor
from kando.responders.llm_responder import CONVERSATION
from kando.schema.events import (
    BUDGET_EXHAUSTED,
    OBJECT_CREATED,
    RELATION_CREATED,
    KandoEvent,
    RecordedEvent,
)
from kando.testing.golden import assert_same_events, decided, difference
from kando.testing.runs import Answer, KandoRun, answered
from kando.world.projection import reproject

__all__ = ["KitContract"]

#: Object types that no kit declares: what a host brings in with ``--input``, and conversations.
_OF_THE_HOST = {"Document", "SkippedDocument", CONVERSATION}


class KitContract:
    """What every kit promises."""

    #: What the run that is tried is for.
    goal = "Try it"
    #: How many events the run has at most.
    max_events = 2000
    #: At how many places the run is interrupted at most; every one, if it has no more events.
    max_interruptions = 200
    #: Whether the kit is installed, so that it is found by its name.
    is_installed = True

    def make_kit(self) -> Kit:
        """Return the kit."""
        raise NotImplementedError  # pragma: no cover

    def answer(self, request: dict[str, Any]) -> Answer:
        """Return what answers an ``llm.request``: a text, or the data of an ``llm.response``.

        Equal requests get equal answers.
        """
        return "Yes."

    def seeds(self, kit: Kit, run_id: str) -> Sequence[KandoEvent]:
        """Return what starts the run: the kit's seeds, and documents if it reads any."""
        assert kit.seed is not None, f"Kit {kit.name!r} has no seed: declare one with @kit.seeds."
        return kit.seed(self.goal, run_id)

    def run_over(
        self,
        ledger: LedgerStore,
        executor: Responder | None = None,
        *,
        checks_purity: bool = False,
    ) -> KandoRun:
        """Return a run of the kit over a ledger, not started; `answer` answers unless `executor` does."""

        def complete(request: dict[str, Any]) -> dict[str, Any]:
            return answered(self.answer(request), "test")

        budget = Budget(max_events=self.max_events)
        answering = (executor or provider_executor(complete),)
        return KandoRun(self.make_kit(), ledger, answering, budget, checks_purity)

    def finished(self, *, checks_purity: bool = False) -> KandoRun:
        """Return a run of the kit that has ended."""
        run = self.run_over(MemoryLedgerStore("r1"), checks_purity=checks_purity)
        run.work(self.seeds(run.kit, "r1"))
        return run

    def test_its_responders_have_names_of_their_own(self) -> None:
        names = [responder.name for responder in self.make_kit().create()]

        assert names, "it has no responder at all"
        assert sorted(names) == sorted(set(names))

    def test_it_is_found_by_its_name(self) -> None:
        kit = self.make_kit()
        if not self.is_installed:
            return
        plugins = Plugins()

        assert plugins.resolve(plugins.kit(kit.name)) is kit

    def test_a_run_does_something_and_ends_by_itself(self) -> None:
        run = self.finished()
        events = run.events

        assert len(events) > len(self.seeds(run.kit, "r1")), "nothing reacts to its seeds"
        exhausted = [event for event in events if event.type == BUDGET_EXHAUSTED]
        assert not exhausted, f"after {self.max_events} events it still goes on"

    def test_the_same_goal_gives_the_same_ledger(self) -> None:
        assert_same_events(self.finished().events, self.finished().events, "The second run")

    def test_a_strict_replay_gives_the_same_ledger(self) -> None:
        run = self.finished()

        try:
            world = run.runtime().replay(strict=True)
        except ReplayDivergence as error:
            raise AssertionError(str(error)) from error
        assert not diff(world, run.world)

    def test_a_run_interrupted_at_any_event_ends_with_the_same_ledger(self) -> None:
        whole = self.finished().events
        first = len(self.seeds(self.make_kit(), "r1"))
        expected = [decided(event) for event in whole]

        step = max(1, (len(whole) - first) // self.max_interruptions)
        for length in range(first, len(whole), step):
            ledger = MemoryLedgerStore("r1")
            ledger.append(list(whole[:length]))
            self.run_over(ledger).work()
            found = difference([decided(event) for event in ledger.read_all()], expected)
            assert found is None, f"Resumed at {length} events, the ledger differs at {found}"

    def test_an_answer_that_is_an_error_does_not_stop_it(self) -> None:
        self._ends_with({"error": {"type": "RequestRejected", "message": "too long"}})

    def test_a_model_that_refuses_does_not_stop_it(self) -> None:
        self._ends_with({"text": "I will not.", "stop": "refusal"})

    def _ends_with(self, answer: dict[str, Any]) -> None:
        """Run the kit with a model that gives one answer to everything."""

        def complete(request: dict[str, Any]) -> dict[str, Any]:
            return answered(answer, "test")

        run = self.run_over(MemoryLedgerStore("r1"), provider_executor(complete))
        try:
            run.work(self.seeds(run.kit, "r1"))
        except Exception as error:
            about = f"{type(error).__name__}: {error}"
            msg = f"a model's answer without what was asked for ends the run with {about}"
            raise AssertionError(msg) from error
        exhausted = [event for event in run.events if event.type == BUDGET_EXHAUSTED]
        assert not exhausted, f"after {self.max_events} events it still asks"

    def test_what_it_creates_is_declared(self) -> None:
        run = self.finished()
        objects = {*run.kit.object_types, *_OF_THE_HOST}

        undeclared = [
            f"{_what(event)} by {event.actor}"
            for event in run.events
            if (event.type == OBJECT_CREATED and event.data["type"] not in objects)
            or (event.type == RELATION_CREATED and event.data["type"] not in run.kit.relation_types)
        ]
        assert undeclared == [], "declare it with @kit.object or kit.relation"

    def test_its_responders_ask_no_clock_no_chance_and_nothing_outside(self) -> None:
        try:
            self.finished(checks_purity=True)
        except ImpureResponder as error:
            raise AssertionError(str(error)) from error

    def test_its_responders_leave_the_world_as_the_ledger_says_it_is(self, tmp_path: Path) -> None:
        from kando.ledger.sqlite import SQLiteLedgerStore

        # A file, because a ledger in memory would share its data with the world.
        ledger = SQLiteLedgerStore("r1", tmp_path / "world.sqlite")
        try:
            run = self.run_over(ledger)
            world = run.work(self.seeds(run.kit, "r1"))
            found = diff(reproject(ledger), world)
        finally:
            ledger.close()

        assert not found, f"a responder changed the world by itself: {found.summary()}"

    def test_every_event_follows_from_a_seed(self) -> None:
        run = self.finished()
        seeds = len(self.seeds(run.kit, "r1"))

        rootless = [
            f"{event.id} by {event.actor}" for event in run.events[seeds:] if not event.cause
        ]
        assert rootless == []


def _what(event: RecordedEvent) -> str:
    return f"{event.type.partition('.')[0]} type {event.data['type']!r}"
