"""The approval gate: calls and new objects wait for a person, or are denied, as policies demand.

- Calls. A policy judges an intent when the intent is recorded (`observe`), in the world at that
  position, so the verdict is the same when the run is resumed, forked or replayed. The gate's own
  responder records the consequence as a plain firing: for `Deny` an answer with an error, for `Ask`
  an ``approval.requested``. The loop makes no call while `is_held` or not `may_call`. An
  intent that the ledger says was asked needs its grant in the ledger, whatever the policies say
  today: there is a gate in every run, also in one without policies.
- Decisions. A person sends ``approval.granted`` or ``approval.denied``. When the loop dispatches a
  grant, `released_by` returns the intent, and its executor answers it. After a denial the gate's
  responder answers it with an error.
- New objects. A policy judges them before they are recorded: `outputs` passes on what a responder
  emits; from the first object that needs approval, the rest of the firing is held in one
  ``approval.requested`` (see `kando.runtime.held_events`), and from the first that is denied, the
  rest is dropped into an ``approval.denied``. The grant releases the held events.
- External events. `admit` refuses a decision about an approval that is not open, and holds new
  objects in the same way.

An approval counts only in the ledger in which it was given: a branch asks again for calls that
were approved in its parent and not made before the fork.
"""

# long: what is held, asked, decided and restored are one state; every step is short.

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import Any

import attrs
import msgspec

from kando.errors import InvalidData
from kando.responders.approved import ARGUMENTS, with_arguments
from kando.responders.base import Responder
from kando.responders.policies import Ask, Deny, Policy, all_asked, deadline_of, verdict_on
from kando.runtime.decisions import FindExecutor, check_arguments, not_open
from kando.runtime.emission import step
from kando.runtime.held_events import Drafts, Emitted, hold_event, release
from kando.runtime.recorder import Recorder
from kando.schema.events import (
    APPROVAL_DENIED,
    APPROVAL_GRANTED,
    APPROVAL_REQUESTED,
    BRANCH_CREATED,
    ECHOED,
    EXPIRES,
    LLM_REQUEST,
    OBJECT_CREATED,
    RUN_REQUESTED,
    TOOL_CALLED,
    KandoEvent,
    RecordedEvent,
    make_event,
)
from kando.schema.exact_json import encode
from kando.views.approvals import GATE, intent_asked
from kando.views.pending import ANSWERS, INTENTS, answered_by
from kando.world.graph import World

__all__ = [
    "GATE",
    "OBSERVED_TYPES",
    "ON_BRANCH",
    "ApprovalGate",
    "GateState",
    "NotRestorable",
    "judge_of",
]

#: Why a person is asked about a call that writes, on a branch.
ON_BRANCH = "the tool writes, and this is a branch: its parent has not made this call"

_RESERVED = (APPROVAL_REQUESTED, APPROVAL_GRANTED, APPROVAL_DENIED)

_DECISIONS = (APPROVAL_GRANTED, APPROVAL_DENIED)

#: Types of events that the gate must observe.
OBSERVED_TYPES = frozenset({*ANSWERS, *INTENTS, *_RESERVED})


class NotRestorable(Exception):
    """The state of a run depends on worlds that only its whole ledger gives."""


class GateState(msgspec.Struct, frozen=True):
    """The state of an approval gate, from which `ApprovalGate.restore` restores it.

    Attributes:
        events: positions of the events that it must observe, ascending.
        judge: as of the gate.
        verdicts: what the policies said about open intents, by id: the reason, and for a question
            its deadline. Intents that they allowed are left out.
    """

    events: list[int]
    judge: str
    verdicts: dict[str, tuple[str, str, float | None]]


def judge_of(kit: Mapping[str, Any] | None, policies: Iterable[Policy]) -> str:
    """Return what identifies policies and the code around them; empty if nothing does.

    Args:
        kit: name, version and distribution of the kit, or None.
        policies: of the run's kits.
    """
    from pathlib import Path

    if kit is None:
        return ""
    known = sha256(encode([kit.get(field) for field in ("name", "version", "distribution")]))
    for policy in policies:
        code = getattr(policy.fn, "__code__", None)
        if code is None:
            return ""
        try:
            # A kit may be edited without a new version.
            source = Path(code.co_filename).read_bytes()
        except OSError:
            return ""
        known.update(encode([policy.name, len(source)]) + source)
    return known.hexdigest()


class ApprovalGate:
    """The verdicts, open approvals and decisions of one run.

    Args:
        policies: of the run's kits.
        source: of the ledger; an approval given in another ledger, before a fork, releases no call.
        recorder: of the ledger; None if held events are not checked.
    """

    def __init__(
        self, policies: Iterable[Policy], source: str, recorder: Recorder | None = None
    ) -> None:
        self._policies = list(policies)
        self._source = source
        self._recorder = recorder
        # Whether a call is one that only a branch asks about; set by the loop.
        self.asks_on_branch: Callable[[RecordedEvent], bool] = lambda intent: False
        self._asked_on_branch: dict[str, bool] = {}
        # See `judge_of`; set by the runtime.
        self.judge = ""
        # Verdicts of the policies on open intents, by id; those that they allowed are left out.
        self._judged: dict[str, Ask | Deny | Exception] = {}
        # Finds the executor of an open call; set by the runtime.
        self.executor_of: FindExecutor = lambda intent: None
        self._holds_objects = any(OBJECT_CREATED in each.on for each in self._policies)
        # By id of the intent, until it is answered.
        self._verdicts: dict[str, Ask | Deny | Exception] = {}
        # Open intents as they are sent, by id: a person may have approved other arguments.
        self._intents: dict[str, RecordedEvent] = {}
        # Ids of open intents for which the ledger holds an ``approval.requested``.
        self._requested: set[str] = set()
        # Each ``approval.requested`` without a decision, by its id.
        self._open: dict[str, RecordedEvent] = {}
        # Each decision with its ``approval.requested``, by id of the decision.
        self._decided: dict[str, tuple[int, RecordedEvent]] = {}
        # Position of the grant in this ledger, by id of the intent.
        self._granted: dict[str, int] = {}
        # Ids of intents that were granted before a fork.
        self._granted_elsewhere: set[str] = set()

    def responder(self) -> Responder:
        """Return the responder that records the consequences of verdicts and decisions."""
        pattern = {LLM_REQUEST, TOOL_CALLED, RUN_REQUESTED}
        pattern |= {APPROVAL_GRANTED, APPROVAL_DENIED, BRANCH_CREATED}
        return Responder(GATE, frozenset(pattern), self._respond)

    def observe(self, event: RecordedEvent, world: World) -> None:
        """Process an event of the ledger; `world` is the world after it."""
        kind = event.type
        if kind in INTENTS:
            try:
                verdict: Any = verdict_on(self._policies, event, world)
            except Exception as error:
                verdict = error
            self._observe_intent(event, verdict)
        elif kind == APPROVAL_REQUESTED:
            self._observe_request(event)
        elif kind in _DECISIONS:
            self._observe_decision(event)
        else:
            for id in answered_by(event):
                self._forget(id)

    def _observe_intent(self, intent: RecordedEvent, verdict: object) -> None:
        self._intents[intent.id] = intent
        if isinstance(verdict, Ask | Deny | Exception):
            self._verdicts[intent.id] = self._judged[intent.id] = verdict

    def state(self, dispatched: int) -> GateState:
        """Return the state after the events so far.

        Args:
            dispatched: position before which every event is dispatched.
        """
        kept = {each.position for each in (*self._intents.values(), *self._open.values())}
        for position, request in self._decided.values():
            if position >= dispatched or intent_asked(request) in self._intents:
                kept |= {position, request.position}
        verdicts, judge = {}, self.judge
        for id, verdict in self._judged.items():
            if isinstance(verdict, Exception):
                judge = ""
            elif isinstance(verdict, Ask):
                verdicts[id] = ("ask", verdict.reason, verdict.expires)
            else:
                verdicts[id] = ("deny", verdict.reason, None)
        return GateState(sorted(kept), judge, verdicts)

    def restore(self, state: GateState, at: Callable[[int], RecordedEvent]) -> None:
        """Restore what `state` returned.

        Policies judge open intents again, like on a recovery from the whole ledger. One that takes
        the world cannot; its verdict is taken from the state if its code is the same.

        Args:
            state: of another gate of the run.
            at: returns the event at a position.

        Raises:
            NotRestorable: a policy must judge an intent in the world of its time.
        """
        is_same = self.judge != "" and self.judge == state.judge
        for event in map(at, state.events):
            takes_world = any(
                each.takes_world and each.applies_to(event) for each in self._policies
            )
            if event.type not in INTENTS or not takes_world:
                self.observe(event, World())
            elif is_same:
                self._observe_intent(event, _verdict_in(state.verdicts.get(event.id)))
            else:
                raise NotRestorable

    def _observe_request(self, event: RecordedEvent) -> None:
        self._open[event.id] = event
        intent = intent_asked(event)
        if intent is not None and intent in self._intents:
            self._requested.add(intent)
            # The ledger says that a person is asked: no policy of today takes that back.
            if not isinstance(self._verdicts.get(intent), Deny):
                expires = event.data.get(EXPIRES)
                self._verdicts[intent] = Ask(str(event.data.get("reason") or ""), expires)

    def _observe_decision(self, event: RecordedEvent) -> None:
        request = self._open.pop(str(event.data.get("approval")), None)
        if request is None:
            return
        self._decided[event.id] = event.position, request
        intent = intent_asked(request)
        if event.type == APPROVAL_GRANTED and intent is not None and intent in self._intents:
            if event.source == self._source:
                self._granted[intent] = event.position
                if ARGUMENTS in event.data:
                    changed = with_arguments(self._intents[intent], event.data[ARGUMENTS])
                    self._intents[intent] = changed
            else:
                self._granted_elsewhere.add(intent)

    def _forget(self, intent_id: str) -> None:
        self._verdicts.pop(intent_id, None)
        self._judged.pop(intent_id, None)
        self._intents.pop(intent_id, None)
        self._requested.discard(intent_id)
        self._granted.pop(intent_id, None)
        self._granted_elsewhere.discard(intent_id)
        for id in [id for id, each in self._open.items() if intent_asked(each) == intent_id]:
            del self._open[id]

    def deadlines(self) -> list[RecordedEvent]:
        """Return each ``approval.requested`` that has a deadline and no decision."""
        return [each for each in self._open.values() if EXPIRES in each.data]

    def is_held(self, intent_id: str) -> bool:
        """Whether no executor answers an intent when it is dispatched: it needs approval or is denied."""
        self._judge_branch(intent_id)
        return intent_id in self._verdicts

    def _judge_branch(self, intent_id: str) -> None:
        """Give an open intent its verdict if it would write, and this is a branch."""
        intent = self._intents.get(intent_id)
        if intent is None or intent_id in self._asked_on_branch:
            return
        asks = self._asked_on_branch[intent_id] = self.asks_on_branch(intent)
        if asks and intent_id not in self._verdicts:
            self._verdicts[intent_id] = Ask(ON_BRANCH)

    def needs_verdict(self, intent_id: str) -> bool:
        """Whether the ledger lacks the consequence of a verdict on an open intent."""
        self._judge_branch(intent_id)
        verdict = self._verdicts.get(intent_id)
        return verdict is not None and (
            not isinstance(verdict, Ask) or intent_id not in self._requested
        )

    def intent_of(self, event: RecordedEvent) -> RecordedEvent:
        """Return the intent, as it is sent, that a decision is about; else `as_sent` of the event."""
        request = self._request_of(event)
        if request is None:
            return self.as_sent(event)
        return self._intents.get(intent_asked(request) or "", event)

    def _request_of(self, decision: RecordedEvent) -> RecordedEvent | None:
        """Return the ``approval.requested`` that a decision is about, or None."""
        _, request = self._decided.get(decision.id, (0, None))
        return request

    def as_sent(self, intent: RecordedEvent) -> RecordedEvent:
        """Return an open intent with the arguments that a person approved it with, if others."""
        return self._intents.get(intent.id, intent)

    def waits_for_person(self, intent_id: str) -> bool:
        """Whether the ledger asks a person about an open intent, and holds no decision yet."""
        return intent_id in self._requested and intent_id not in self._granted

    def may_call(self, intent_id: str, before: int | None = None) -> bool:
        """Whether an intent may be answered by a call.

        Args:
            intent_id: of the intent.
            before: consider only grants before this position; None for all.
        """
        self._judge_branch(intent_id)
        granted = self._granted.get(intent_id)
        if granted is None:
            return intent_id not in self._verdicts
        return before is None or granted < before

    def released_at(self, intent: RecordedEvent) -> int:
        """Return the position from which an intent may be answered: its own, or that of its grant."""
        return self._granted.get(intent.id, intent.position)

    def released_by(self, event: RecordedEvent) -> RecordedEvent | None:
        """Return the intent that a decision releases, or None."""
        request = self._request_of(event)
        intent = intent_asked(request) if request is not None else None
        if event.type == APPROVAL_GRANTED and self._granted.get(intent or "") == event.position:
            return self._intents.get(intent or "")
        return None

    def denial(self, intent: KandoEvent, reason: str) -> dict[str, Any]:
        """Return the data that answers a denied intent."""
        echoed = {field: intent.data[field] for field in ECHOED if field in intent.data}
        return {**echoed, "error": {"type": "Denied", "message": reason}}

    def _respond(self, event: RecordedEvent, world: World) -> Any:
        if event.type == BRANCH_CREATED:
            return self._ask_again(event)
        if event.type in INTENTS:
            return self._judge(event)
        request = self._request_of(event)
        if request is None:
            return None
        if event.type == APPROVAL_GRANTED:
            return release(request, event)
        intent = self._intents.get(intent_asked(request) or "")
        if intent is None:
            return None
        return [self._answer(intent, str(event.data.get("reason") or "denied"), event)]

    def _ask_again(self, branched: RecordedEvent) -> list[KandoEvent]:
        """Request approval again for calls that were approved and not made before the fork."""
        requested = {
            intent_asked(each) for each in self._open.values() if each.position < branched.position
        }
        again = sorted(self._granted_elsewhere - requested - self._granted.keys())
        return [self._ask(self._intents[id]) for id in again]

    def _judge(self, intent: RecordedEvent) -> list[KandoEvent]:
        self._judge_branch(intent.id)
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
        data |= deadline_of(verdict)
        if "cause_object_id" in intent.data:
            data["cause_object_id"] = intent.data["cause_object_id"]
        return make_event(APPROVAL_REQUESTED, "", GATE, [intent.id], data)

    def _answer(
        self, intent: RecordedEvent, reason: str, because: RecordedEvent | None = None
    ) -> KandoEvent:
        cause = [intent.id, *([because.id] if because is not None else [])]
        data = self.denial(intent, reason)
        return make_event(INTENTS[intent.type], "", GATE, cause, data)

    def outputs(self, responder: Responder, event: RecordedEvent, world: World) -> Any:
        """Return the outputs of a responder for an event; held events become one approval event."""
        emitted = responder.fn(event, world)
        if not self._policies:
            return emitted
        is_stream = isinstance(emitted, Iterable) and not isinstance(emitted, str | bytes | dict)
        if responder.name == GATE or not is_stream:
            return emitted
        return self._screened(emitted, responder, event, world)

    def _screened(
        self, emitted: Any, responder: Responder, trigger: RecordedEvent, world: World
    ) -> Emitted:
        """Pass on the outputs of a responder, up to the first object that is not allowed."""
        iterator, ordinal = iter(emitted), 0
        drafts = Drafts(world, self._recorder)
        held: list[KandoEvent] = []
        denied: list[KandoEvent] = []
        questions: list[Ask] = []
        refusal: Deny | None = None
        recorded: RecordedEvent | None = None
        while True:
            try:
                event = step(iterator, recorded)
            except StopIteration:
                break
            if isinstance(event, KandoEvent) and event.type in _RESERVED:
                msg = f"{responder.name} emitted {event.type}: responders must not emit approvals."
                raise InvalidData(msg, hint="Declare a policy that returns Ask.")
            verdict = None
            if refusal is None and self._holds_objects and isinstance(event, KandoEvent):
                verdict = self._verdict_on_object(event, world)
            if isinstance(verdict, Deny):
                refusal = verdict
            elif isinstance(verdict, Ask):
                questions.append(verdict)
            if held or questions or refusal is not None:
                recorded = drafts.hold_output(event, ordinal, trigger, responder.name)
                (held if refusal is None else denied).append(recorded)
            else:
                recorded = yield event
                if self._holds_objects:
                    drafts.observe(recorded)
            ordinal += 1
        if held:
            reasons = "; ".join(dict.fromkeys(each.reason for each in questions))
            yield hold_event(attrs.evolve(all_asked(questions), reason=reasons), held)
        if refusal is not None:
            yield hold_event(refusal, denied)

    def _verdict_on_object(self, event: KandoEvent, world: World) -> Ask | Deny | None:
        if event.type != OBJECT_CREATED:
            return None
        if self._recorder is not None and isinstance(event.data, dict):
            # A policy judges the object as it would be recorded.
            completed = self._recorder.types.completed(event.type, event.data)
            if completed is not event.data:
                event = attrs.evolve(event, data=completed)
        verdict = verdict_on(self._policies, event, world)
        return verdict if isinstance(verdict, Ask | Deny) else None

    def admit(self, event: KandoEvent, world: World) -> KandoEvent:
        """Return the event to record for an external event: itself, or the approval it needs.

        Raises:
            InvalidData: it must not be recorded.
        """
        if event.type in _DECISIONS:
            return self._admit_decision(event, world)
        if event.type in ANSWERS:
            self._require_open(event)
        if event.type == APPROVAL_REQUESTED:
            msg = "Only policies request approvals."
            raise InvalidData(msg, hint="Declare a policy that returns Ask.")
        verdict = self._verdict_on_object(event, world)
        if isinstance(verdict, Deny):
            msg = f"A policy denies {event.type}: {verdict.reason}."
            raise InvalidData(msg, hint="Change the policy of the kit.")
        if verdict is None:
            return event
        draft = Drafts(world, self._recorder).hold_external(event)
        asked = hold_event(verdict, [draft])
        return attrs.evolve(asked, id=event.id, actor=event.actor, cause=event.cause)

    def _admit_decision(self, decision: KandoEvent, world: World) -> KandoEvent:
        approval = decision.data.get("approval")
        if not isinstance(approval, str) or approval not in self._open:
            raise not_open(approval, self._decision_about(approval))
        if decision.type == APPROVAL_GRANTED:
            intent = self._intents.get(intent_asked(self._open[approval]) or "")
            check_arguments(decision, intent, self.executor_of, self._policies, world)
        return decision

    def _decision_about(self, approval: object) -> RecordedEvent | None:
        """Return the first decision about an approval, or None."""
        recorder = self._recorder
        if recorder is None or not isinstance(approval, str):
            return None
        decided = (id for id, (_, each) in self._decided.items() if each.id == approval)
        if (first := next(decided, None)) is not None:
            return recorder.find(first)
        # The decisions of a run that was restored are in its ledger.
        asked = recorder.find(approval)
        later = recorder.ledger.read(asked.position) if asked is not None else ()
        about = (each for each in later if each.data.get("approval") == approval)
        return next((each for each in about if each.type in _DECISIONS), None)

    def _require_open(self, answer: KandoEvent) -> None:
        """Refuse an answer to a request that is answered already."""
        if self._recorder is None or any(cause in self._intents for cause in answer.cause):
            return
        for cause in answer.cause:
            asked = self._recorder.find(cause)
            if asked is not None and asked.type in INTENTS:
                msg = f"{cause} is answered already; {answer.type} would be a second answer."
                raise InvalidData(msg, hint="Fork the run before the answer to give another one.")


def _verdict_in(stored: tuple[str, str, float | None] | None) -> Ask | Deny | None:
    if stored is None:
        return None
    kind, reason, expires = stored
    return Ask(reason, expires) if kind == "ask" else Deny(reason)
