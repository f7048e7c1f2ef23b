"""Conformance tests that every kit must pass.

The test of a kit is a subclass that returns the kit and the answers of the model::

    class TestWeather(KitContract):
        goal = "Lisbon"

        def make_kit(self):
            return kit

        def answer(self, request):
            return "It is sunny."
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from kando.app.kits.settings import KitSettings
from kando.app.kits.spelling import check_spelling
from kando.branch.diff import diff
from kando.errors import ConfigurationError, ImpureResponder, ReplayDivergence
from kando.kit import Kit
from kando.ledger.interface import LedgerStore
from kando.ledger.memory import MemoryLedgerStore
from kando.ledger.trees import copy_trees
from kando.plugins import Plugins
from kando.responders.base import Responder
from kando.responders.budget import Budget
from kando.responders.llm_executor import provider_executor
from kando.responders.llm_responder import CONVERSATION
from kando.schema.events import (
    APPROVAL_DENIED,
    APPROVAL_GRANTED,
    BUDGET_EXHAUSTED,
    OBJECT_CREATED,
    PERSON_REPLIED,
    RELATION_CREATED,
    RUN_ENDED,
    KandoEvent,
    RecordedEvent,
    make_event,
)
from kando.testing.golden import assert_same_events, decided, difference
from kando.testing.runs import Answer, Crash, CrashingLedger, KandoRun, llm_response
from kando.views.approvals import Approval, open_approvals
from kando.views.children import RequestedRun, open_children
from kando.views.questions import Question, open_questions
from kando.world.projection import reproject

__all__ = ["KitContract"]

#: Object types that kits do not declare: documents of ``--input``, and conversations.
_OF_THE_HOST = {"Document", "SkippedDocument", CONVERSATION}


class KitContract:
    """Tests of the promises of every kit."""

    #: The goal of the test run.
    goal = "Try it"
    #: Settings of the kit in the test run: by name, or an instance of its class; None for the defaults.
    settings: KitSettings | None = None
    #: Maximum number of events of the run.
    max_events = 2000
    #: Maximum number of positions at which the run is interrupted; a shorter run is interrupted at
    #: every event.
    max_interruptions = 200
    #: Whether the kit is installed, so that a lookup by name must find it.
    is_installed = True

    def make_kit(self) -> Kit:
        """Return the kit."""
        raise NotImplementedError  # pragma: no cover

    def answer(self, request: dict[str, Any]) -> Answer:
        """Return the answer to an ``llm.request``: a text, or the data of an ``llm.response``.

        Equal requests must get equal answers.
        """
        return "Yes."

    def seeds(self, kit: Kit, run_id: str) -> Sequence[KandoEvent]:
        """Return the events that start the run: the kit's seeds, and documents if it reads any."""
        assert kit.seed is not None, f"Kit {kit.name!r} has no seed: declare one with @kit.seeds."
        return kit.seed(self.goal, run_id)

    def decide(self, question: Approval | Question | RequestedRun) -> Any:
        """Decide, as a person, about a call or an object that waits, or answer a question.

        No child run is started: the suite asks for the result of each, too.

        The suite asks one question after the other, whenever the run has no other work. By default
        each approval is denied, so that no test changes anything outside, and each question stays
        unanswered.

        Args:
            question: the approval, the question of `kando.emit.ask_person`, or the child run of
                `kando.emit.start_run`. `Approval.intent` is the id of the call, and `Approval.held`
                has the objects.

        Returns:
            For an approval, True grants it; False, or a text as the reason, denies it; a mapping
            grants a tool call with other arguments. For a question, the answer, as JSON; for a child
            run, its result. None leaves each waiting.
        """
        return False if isinstance(question, Approval) else None

    def reset(self) -> None:
        """Bring everything outside that the tools change back to its first state.

        It is called before each run. If it is overridden, a run is interrupted by a crash at each
        event, so that the outside is as the crash left it; else a finished ledger is cut there. A call
        whose answer the crash lost is repeated with the same idempotency key.
        """

    def run_on(
        self,
        ledger: LedgerStore,
        executor: Responder | None = None,
        *,
        checks_purity: bool = False,
    ) -> KandoRun:
        """Return a run of the kit on a ledger, not started; without `executor`, `answer` answers."""

        def complete(request: dict[str, Any]) -> dict[str, Any]:
            return llm_response(self.answer(request), "test")

        budget = Budget(max_events=self.max_events)
        executors = (executor or provider_executor(complete),)
        kit = self.make_kit()
        return KandoRun(kit, ledger, executors, budget, checks_purity, self.settings)

    def finished_run(self, *, checks_purity: bool = False) -> KandoRun:
        """Return a run of the kit that has finished."""
        self.reset()
        run = self.run_on(MemoryLedgerStore("r1"), checks_purity=checks_purity)
        return self._finish(run, self.seeds(run.kit, "r1"))

    def _first(self, kit: Kit) -> int:
        """Return the number of events with which a run of the kit starts."""
        return len(self.seeds(kit, "r1")) + bool(kit.tool_servers or self.settings)

    def _finish(self, run: KandoRun, seeds: Sequence[KandoEvent] = ()) -> KandoRun:
        """Work on a run until it waits for no decision that `decide` makes."""
        with run.connected():
            return self._worked(run, seeds)

    def _worked(self, run: KandoRun, seeds: Sequence[KandoEvent]) -> KandoRun:
        run.work(seeds)
        asked: set[str] = set()
        while waiting := [each for each in _waiting(run) if each.event_id not in asked]:
            question = waiting[0]
            asked.add(question.event_id)
            decision = self.decide(question)
            # One decision at a time: so a run that is interrupted between two makes the second next.
            if decision is not None:
                runtime = run.runtime()
                if not runtime.record([_decided(question, decision)], is_external=True):
                    break
                runtime.run([])
        return run

    def test_its_responders_have_unique_names(self) -> None:
        names = [responder.name for responder in self.make_kit().create()]

        assert names, "it has no responders"
        assert sorted(names) == sorted(set(names))

    def test_it_is_found_by_its_name(self) -> None:
        kit = self.make_kit()
        if not self.is_installed:
            return
        plugins = Plugins()

        assert plugins.resolve(plugins.kit(kit.name)) is kit

    def test_a_run_emits_events_and_ends(self) -> None:
        run = self.finished_run()
        events = run.events

        assert len(events) > self._first(run.kit), "nothing reacts to its seeds"
        exhausted = [event for event in events if event.type == BUDGET_EXHAUSTED]
        assert not exhausted, f"it does not end within {self.max_events} events"

    def test_the_same_goal_gives_the_same_ledger(self) -> None:
        assert_same_events(self.finished_run().events, self.finished_run().events, "The second run")

    def test_a_strict_replay_gives_the_same_ledger(self) -> None:
        run = self.finished_run()

        try:
            world = run.runtime().replay(strict=True)
        except ReplayDivergence as error:
            raise AssertionError(str(error)) from error
        assert not diff(world, run.world)

    def test_a_run_interrupted_at_any_event_ends_with_the_same_ledger(self) -> None:
        finished = self.finished_run()
        whole = finished.events
        first = self._first(finished.kit)
        is_reset = type(self).reset is not KitContract.reset
        expected = [decided(event) for event in whole]

        step = max(1, (len(whole) - first) // self.max_interruptions)
        for length in range(first, len(whole), step):
            ledger = MemoryLedgerStore("r1")
            if is_reset:
                self._crash_at(length, ledger)
            else:
                copy_trees(whole[:length], finished.ledger.blobs, ledger)
                ledger.append(list(whole[:length]))
            self._finish(self.run_on(ledger))
            found = difference([decided(event) for event in ledger.read_all()], expected)
            assert found is None, f"Resumed at {length} events, the ledger differs at {found}"

    def _crash_at(self, length: int, ledger: MemoryLedgerStore) -> None:
        """Run the kit on a ledger until it would hold more events."""
        self.reset()
        run = self.run_on(CrashingLedger(ledger, length))
        with suppress(Crash):
            self._finish(run, self.seeds(run.kit, "r1"))

    def test_an_error_as_answer_does_not_fail_the_run(self) -> None:
        self._ends_with({"error": {"type": "RequestRejected", "message": "too long"}})

    def test_a_refusal_of_the_model_does_not_fail_the_run(self) -> None:
        self._ends_with({"text": "I will not.", "stop": "refusal"})

    def _ends_with(self, answer: dict[str, Any]) -> None:
        """Run the kit with a model that gives the same answer to every request."""

        def complete(request: dict[str, Any]) -> dict[str, Any]:
            return llm_response(answer, "test")

        self.reset()
        run = self.run_on(MemoryLedgerStore("r1"), provider_executor(complete))
        try:
            self._finish(run, self.seeds(run.kit, "r1"))
        except Exception as error:
            about = f"{type(error).__name__}: {error}"
            msg = f"a failed or refused answer of the model ends the run with {about}"
            raise AssertionError(msg) from error
        exhausted = [event for event in run.events if event.type == BUDGET_EXHAUSTED]
        assert not exhausted, f"it does not end within {self.max_events} events"

    def test_its_object_and_relation_types_are_declared(self) -> None:
        run = self.finished_run()
        objects = {*run.kit.object_types, *_OF_THE_HOST}

        undeclared = [
            f"{_type_of(event)} by {event.actor}"
            for event in run.events
            if (event.type == OBJECT_CREATED and event.data["type"] not in objects)
            or (event.type == RELATION_CREATED and event.data["type"] not in run.kit.relation_types)
        ]
        assert undeclared == [], "declare it with @kit.object or kit.relation"

    def test_its_names_are_spelled_right(self) -> None:
        try:
            check_spelling(self.make_kit())
        except ConfigurationError as error:
            raise AssertionError(str(error)) from error

    def test_its_responders_are_pure(self) -> None:
        try:
            self.finished_run(checks_purity=True)
        except ImpureResponder as error:
            raise AssertionError(str(error)) from error

    def test_its_responders_do_not_change_the_world(self, tmp_path: Path) -> None:
        from kando.ledger.sqlite import SQLiteLedgerStore

        # A file, because a ledger in memory shares its data with the world.
        self.reset()
        ledger = SQLiteLedgerStore("r1", tmp_path / "world.sqlite")
        try:
            run = self.run_on(ledger)
            world = run.work(self.seeds(run.kit, "r1"))
            found = diff(reproject(ledger), world)
        finally:
            ledger.close()

        assert not found, f"a responder changed the world directly: {found.summary()}"

    def test_every_event_has_a_cause(self) -> None:
        run = self.finished_run()
        first = self._first(run.kit)

        rootless = [
            f"{event.id} by {event.actor}" for event in run.events[first:] if not event.cause
        ]
        assert rootless == []


def _waiting(run: KandoRun) -> list[Approval | Question | RequestedRun]:
    events = run.events
    approvals, children = open_approvals(events), open_children(events)
    held = {each.intent for each in approvals}
    asked = [each for each in children if each.event_id not in held]
    return [*approvals, *open_questions(events), *asked]


def _decided(question: Approval | Question | RequestedRun, decision: Any) -> KandoEvent:
    cause = [question.event_id]
    if isinstance(question, RequestedRun):
        about = question.cause_object_id
        echoed = {"cause_object_id": about} if about is not None else {}
        return make_event(RUN_ENDED, "", "person", cause, {**echoed, "result": decision})
    if isinstance(question, Question):
        about = question.cause_object_id
        echoed = {"cause_object_id": about} if about is not None else {}
        return make_event(PERSON_REPLIED, "", "person", cause, {**echoed, "answer": decision})
    data: dict[str, Any] = {"approval": question.event_id}
    if isinstance(decision, Mapping):
        data["arguments"] = dict(decision)
    elif isinstance(decision, str):
        data["reason"] = decision
    is_granted = decision is True or isinstance(decision, Mapping)
    type = APPROVAL_GRANTED if is_granted else APPROVAL_DENIED
    return make_event(type, "", "person", cause, data)


def _type_of(event: RecordedEvent) -> str:
    return f"{event.type.partition('.')[0]} type {event.data['type']!r}"
