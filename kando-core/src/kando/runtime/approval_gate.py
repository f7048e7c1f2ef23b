"""The gate: what policies do not allow waits for a person, or is answered with an error.

A policy judges an intent in the world as it is when the intent is recorded, so that its verdict is the
same whenever a run is resumed, forked or replayed there. Its consequences are firings of a responder
of the runtime's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from kando.errors import InvalidData
from kando.responders.base import Responder
from kando.responders.policies import Ask, Deny, Policy, verdict_on
from kando.runtime.cursor import ANSWERS
from kando.runtime.emission import step
from kando.runtime.held_events import Drafts, Emitted, held_back, release
from kando.runtime.recorder import Recorder
from kando.schema.events import (
    APPROVAL_DENIED,
    APPROVAL_GRANTED,
    APPROVAL_REQUESTED,
    BRANCH_CREATED,
    ECHOED,
    LLM_REQUEST,
    OBJECT_CREATED,
    TOOL_CALLED,
    KandoEvent,
    RecordedEvent,
    make_event,
)
from kando.world.graph import World

__all__ = ["GATE", "Gate"]

#: Name of the responder that asks.
GATE = "kando.approvals"

_ANSWER_OF = {intent: answer for answer, intent in ANSWERS.items()}
_RESERVED = (APPROVAL_REQUESTED, APPROVAL_GRANTED, APPROVAL_DENIED)


class Gate:
    """What waits for a person in one run.

    Args:
        policies: of the run's kits.
        source: of the ledger; an approval that was given in another one, before a fork, lets no call
            out of this one.
        recorder: of the ledger, if what is held back is to be checked.
    """

    def __init__(
        self, policies: Iterable[Policy], source: str, recorder: Recorder | None = None
    ) -> None:
        self._policies = list(policies)
        self._source = source
        self._recorder = recorder
        self._holds_objects = any(OBJECT_CREATED in each.on for each in self._policies)
        # By id of the intent, until it is answered.
        self._verdicts: dict[str, Ask | Deny | Exception] = {}
        self._intents: dict[str, RecordedEvent] = {}
        self._denied: set[str] = set()
        # By id of what asked: what asked, until it is answered.
        self._open: dict[str, RecordedEvent] = {}
        # By id of the answer: what it answers.
        self._answered: dict[str, RecordedEvent] = {}
        # By id of the intent: where this ledger says that it may be called.
        self._granted: dict[str, int] = {}
        self._elsewhere: set[str] = set()

    def responder(self) -> Responder:
        """Return the responder that records what the gate does."""
        pattern = {LLM_REQUEST, TOOL_CALLED, APPROVAL_GRANTED, APPROVAL_DENIED, BRANCH_CREATED}
        return Responder(GATE, frozenset(pattern), self._respond)

    def see(self, event: RecordedEvent, world: World) -> None:
        """Take note of an event of the ledger, in the world as it is behind it."""
        kind = event.type
        if kind in _ANSWER_OF:
            try:
                verdict: Any = verdict_on(self._policies, event, world)
            except Exception as error:
                verdict = error
            if isinstance(verdict, Ask | Deny | Exception):
                self._verdicts[event.id] = verdict
                self._intents[event.id] = event
        elif kind == APPROVAL_REQUESTED:
            self._open[event.id] = event
        elif kind in (APPROVAL_GRANTED, APPROVAL_DENIED):
            self._see_answer(event)
        elif kind in ANSWERS:
            for cause in event.cause:
                self._forget(cause)

    def _see_answer(self, event: RecordedEvent) -> None:
        asked = self._open.pop(str(event.data.get("approval")), None)
        if asked is None:
            return
        self._answered[event.id] = asked
        intent = asked.data.get("intent")
        if event.type == APPROVAL_GRANTED and intent in self._intents:
            if event.source == self._source:
                self._granted[intent] = event.position
            else:
                self._elsewhere.add(intent)

    def _forget(self, intent_id: str) -> None:
        if isinstance(self._verdicts.pop(intent_id, None), Deny):
            self._denied.add(intent_id)
        self._intents.pop(intent_id, None)
        self._granted.pop(intent_id, None)
        self._elsewhere.discard(intent_id)
        for id in [id for id, each in self._open.items() if each.data.get("intent") == intent_id]:
            del self._open[id]

    def is_open(self, approval_id: object) -> bool:
        """Whether a person is asked under this id, and has not answered."""
        return isinstance(approval_id, str) and approval_id in self._open

    def waits(self, intent_id: str) -> bool:
        """Whether an intent is not answered in its own turn: it waits for a person, or is denied."""
        return intent_id in self._verdicts or intent_id in self._denied

    def intent_of(self, event: RecordedEvent) -> RecordedEvent:
        """Return the intent that an event lets out, or the event itself if it is one."""
        asked = self._answered.get(event.id)
        return self._intents.get(asked.data.get("intent", ""), event) if asked else event

    def may_call(self, intent_id: str, before: int | None = None) -> bool:
        """Whether an intent may be answered by a call.

        Args:
            intent_id: of the intent.
            before: only by what the ledger says before this position; None for all it says.
        """
        if intent_id in self._denied:
            return False
        granted = self._granted.get(intent_id)
        if granted is None:
            return intent_id not in self._verdicts
        return before is None or granted < before

    def let_out_at(self, intent: RecordedEvent) -> int:
        """Return the position from which an intent may be answered: its own, or its approval's."""
        return self._granted.get(intent.id, intent.position)

    def released(self, event: RecordedEvent) -> RecordedEvent | None:
        """Return the intent that a recorded answer of a person lets out, if it does."""
        asked = self._answered.get(event.id)
        intent = asked.data.get("intent") if asked is not None else None
        if event.type == APPROVAL_GRANTED and self._granted.get(intent or "") == event.position:
            return self._intents.get(intent or "")
        return None

    def refused(self, intent: KandoEvent, reason: str) -> dict[str, Any]:
        """Return the data that answers an intent which is not let out."""
        echoed = {field: intent.data[field] for field in ECHOED if field in intent.data}
        return {**echoed, "error": {"type": "Denied", "message": reason}}

    def _respond(self, event: RecordedEvent, world: World) -> Any:
        if event.type == BRANCH_CREATED:
            return self._ask_again(event)
        if event.type in _ANSWER_OF:
            return self._judge(event)
        asked = self._answered.get(event.id)
        if asked is None:
            return None
        if event.type == APPROVAL_GRANTED:
            return release(asked, event)
        intent = self._intents.get(asked.data.get("intent", ""))
        if intent is None:
            return None
        return [self._answer(intent, str(event.data.get("reason") or "denied"), event)]

    def _ask_again(self, branched: RecordedEvent) -> list[KandoEvent]:
        """Ask for calls that were approved in another ledger and not made there before the fork."""
        asked = {
            each.data.get("intent")
            for each in self._open.values()
            if each.position < branched.position
        }
        again = sorted(self._elsewhere - asked - self._granted.keys())
        return [self._ask(self._intents[id]) for id in again]

    def _judge(self, intent: RecordedEvent) -> list[KandoEvent]:
        verdict = self._verdicts.get(intent.id)
        if isinstance(verdict, Exception):
            raise verdict
        if isinstance(verdict, Deny):
            return [self._answer(intent, verdict.reason)]
        if isinstance(verdict, Ask) and intent.id not in self._granted:
            return [self._ask(intent)]
        return []

    def _ask(self, intent: RecordedEvent) -> KandoEvent:
        verdict = self._verdicts[intent.id]
        data = {"intent": intent.id, "type": intent.type, "reason": getattr(verdict, "reason", "")}
        if "cause_object_id" in intent.data:
            data["cause_object_id"] = intent.data["cause_object_id"]
        return make_event(APPROVAL_REQUESTED, "", GATE, [intent.id], data)

    def _answer(
        self, intent: RecordedEvent, reason: str, because: RecordedEvent | None = None
    ) -> KandoEvent:
        cause = [intent.id, *([because.id] if because is not None else [])]
        data = self.refused(intent, reason)
        return make_event(_ANSWER_OF[intent.type], "", GATE, cause, data)

    def outputs(self, responder: Responder, event: RecordedEvent, world: World) -> Any:
        """Return what a responder emits about an event, without what is held back."""
        emitted = responder.fn(event, world)
        is_stream = isinstance(emitted, Iterable) and not isinstance(emitted, str | bytes | dict)
        if responder.name == GATE or not is_stream:
            return emitted
        return self._screened(emitted, responder, event, world)

    def _screened(
        self, emitted: Any, responder: Responder, trigger: RecordedEvent, world: World
    ) -> Emitted:
        """Pass on what a responder emits, up to the first object that needs an approval."""
        iterator, ordinal = iter(emitted), 0
        drafts = Drafts(world, self._recorder)
        held: list[KandoEvent] = []
        verdict: Any = None
        recorded: RecordedEvent | None = None
        while True:
            try:
                event = step(iterator, recorded)
            except StopIteration:
                break
            if isinstance(event, KandoEvent) and event.type in _RESERVED:
                msg = f"{responder.name} emitted {event.type}: only a person answers for a person."
                raise InvalidData(msg, hint="Declare a policy that asks.")
            if not held and self._holds_objects and isinstance(event, KandoEvent):
                verdict = self._verdict_on_object(event, world)
            if isinstance(verdict, Ask | Deny):
                recorded = drafts.of_firing(event, ordinal, trigger, responder.name)
                held.append(recorded)
            else:
                recorded = yield event
                if self._holds_objects:
                    drafts.passed(recorded)
            ordinal += 1
        if held:
            yield held_back(verdict, held)

    def _verdict_on_object(self, event: KandoEvent, world: World) -> Ask | Deny | None:
        if event.type != OBJECT_CREATED:
            return None
        verdict = verdict_on(self._policies, event, world)
        return verdict if isinstance(verdict, Ask | Deny) else None

    def let_in(self, event: KandoEvent, world: World) -> KandoEvent:
        """Return what is recorded of an event that somebody sent to the run.

        Raises:
            InvalidData: it must not be recorded.
        """
        if event.type in (APPROVAL_GRANTED, APPROVAL_DENIED):
            if not self.is_open(event.data.get("approval")):
                msg = f"Nobody is asked under {event.data.get('approval')!r:.80}, or not any more."
                raise InvalidData(msg, hint="`kando approvals RUN` lists what is open.")
            return event
        if event.type == APPROVAL_REQUESTED:
            msg = "Only policies ask for approvals."
            raise InvalidData(msg, hint="Declare a policy that asks.")
        verdict = self._verdict_on_object(event, world)
        if isinstance(verdict, Deny):
            msg = f"A policy denies it: {verdict.reason}."
            raise InvalidData(msg, hint="Change the policy of the kit.")
        if verdict is None:
            return event
        draft = Drafts(world, self._recorder).of_sender(event)
        asked = held_back(verdict, [draft])
        return attrs.evolve(asked, id=event.id, actor=event.actor, cause=event.cause)
