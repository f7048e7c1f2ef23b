"""Decisions of people about questions: which of them may be recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kando.errors import InvalidData
from kando.responders.approved import ARGUMENTS, with_arguments
from kando.responders.base import Responder
from kando.responders.policies import Deny, Policy, verdict_on
from kando.schema.events import TOOL_CALLED, KandoEvent, RecordedEvent
from kando.schema.exact_json import exact
from kando.views.approvals import decision_in
from kando.world.graph import World

__all__ = ["FindExecutor", "check_arguments", "not_open"]

#: Returns the executor that answers an intent, or None.
FindExecutor = Callable[[RecordedEvent], Responder | None]


def check_arguments(
    granted: KandoEvent,
    intent: RecordedEvent | None,
    executor_of: FindExecutor,
    policies: Sequence[Policy],
    world: World,
) -> None:
    """Refuse an ``approval.granted`` with arguments that the approved call cannot be made with.

    Args:
        granted: the decision.
        intent: the call that it is about; None for held events.
        executor_of: finds the executor of the call.
        policies: of the kits; a call that one of them denies cannot be approved either.
        world: of the run.

    Raises:
        InvalidData: only a tool call has arguments, the arguments do not match the schema of the
            tool, or a policy denies the call.
    """
    if ARGUMENTS not in granted.data:
        return
    about = granted.data.get("approval")
    if intent is None or intent.type != TOOL_CALLED:
        what = "held events" if intent is None else f"a call of type {intent.type}"
        msg = f"{about} asks about {what}, which cannot be approved with other arguments."
        raise InvalidData(msg, hint="Approve it as it is, or deny it with a reason.")
    arguments: Any = exact(granted.data[ARGUMENTS], ARGUMENTS)
    if not isinstance(arguments, dict):
        msg = f"The arguments must be a JSON object, not {type(arguments).__name__}."
        raise InvalidData(msg, hint=_HINT)
    sent = with_arguments(intent, arguments)
    executor = executor_of(sent)
    if executor is None or executor.effect is None:
        msg = f"The arguments of {intent.id} cannot be checked: no installed kit has its tool."
        raise InvalidData(msg, hint="Approve it where the kit of the run is installed.")
    try:
        executor.effect.check(sent)
    except InvalidData as error:
        msg = f"{intent.id} cannot be called with these arguments: {error.message}"
        raise InvalidData(msg, hint=_HINT) from error
    if (refusal := _refusal(policies, sent, world)) is not None:
        msg = f"A policy denies {intent.id} with these arguments: {refusal}."
        raise InvalidData(msg, hint="Approve arguments that the policies of the kit allow.")


_HINT = "Pass all arguments of the call, not only those that change."


def _refusal(policies: Sequence[Policy], sent: RecordedEvent, world: World) -> str | None:
    try:
        verdict = verdict_on(policies, sent, world)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return verdict.reason if isinstance(verdict, Deny) else None


def not_open(approval: object, decision: KandoEvent | None) -> InvalidData:
    """Return the error for a decision about an approval that is not open.

    Args:
        approval: its id.
        decision: the first decision about it, if the ledger holds one.
    """
    known = f": {decision_in(decision).text()}" if decision is not None else ""
    msg = f"There is no open approval {approval!r:.80}{known}."
    return InvalidData(msg, hint="`kando approvals RUN` lists the open approvals.")
