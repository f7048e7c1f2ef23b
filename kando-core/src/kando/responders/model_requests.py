"""The requests of a conversation: each is sent with the turns that wait for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kando.emit import ask, emit, patch
from kando.responders.asker import OPEN, Asker, Emitted, Sending, with_messages
from kando.responders.compaction_steps import LIMIT, cut_before, replace_messages
from kando.responders.conversation import entered
from kando.responders.structured import schema_of
from kando.schema.events import KandoEvent
from kando.world.graph import World, WorldObject

__all__ = ["request_of", "request_options", "send"]


def send(asker: Asker, conversation: WorldObject, step: Sending, world: World) -> Emitted:
    """Send the next request of a conversation, with the turns that wait.

    A conversation that would be too long for its model is compacted first.

    Args:
        asker: whose conversation it is.
        conversation: that is continued.
        step: the request.
        world: that is handled in.
    """
    if not asker.continues:
        turn = conversation.data["turn"] + 1
        patched = yield patch(conversation, {"turn": turn, **step.changes})
        # As they are recorded: these are not encoded again.
        messages, about = patched.data["patch"]["messages"], conversation.data["about"]
        yield request_of(asker, conversation.id, turn, messages, about, step.cause, world)
        return
    step = _with_waiting(conversation, step)
    cut = cut_before(asker, {**conversation.data, **step.changes}) if step.may_compact else None
    if cut is not None:
        after = yield from replace_messages(asker, conversation, cut, LIMIT, step, world)
        if after is None:
            return
        step = after
    state = {**conversation.data, **step.changes}
    turn = state["turn"] + 1
    counted = {"status": OPEN, "turn": turn, "asked": state["asked"] + 1}
    patched = yield patch(conversation, {**step.changes, **counted})
    # The turns that were summarized are among the causes.
    compacted = [state["compacted"]] if state.get("compacted") else []
    # As they are recorded: these are not encoded again.
    messages = patched.data["patch"].get("messages", state["messages"])
    cause = [*step.cause, *compacted]
    yield request_of(asker, conversation.id, turn, messages, state["about"], cause, world)


def _with_waiting(conversation: WorldObject, step: Sending) -> Sending:
    """Return a request with the turns that came while the conversation waited."""
    state = {**conversation.data, **step.changes}
    turns, came_with = entered(state["waiting"])
    if not turns:
        return step
    changes = {**step.changes, **with_messages(state, turns), "waiting": [], "asked": 0}
    return Sending(changes, [*step.cause, *came_with], step.may_compact)


def request_of(
    asker: Asker,
    conversation: str,
    turn: int,
    messages: list[dict[str, Any]],
    about: str | None,
    cause: Iterable[KandoEvent | str],
    world: World,
) -> KandoEvent:
    """Return the event that asks the model.

    Args:
        asker: whose conversation it is.
        conversation: its id.
        turn: number of the request in the conversation.
        messages: all of them.
        about: id of the object that the conversation is about, or None.
        cause: events that the request follows from.
        world: that is handled in.
    """
    place = {"id": conversation, "turn": turn}
    request = ask(messages, about=about, conversation=place, **asker.options_in(world))
    return emit(request.type, request.data, cause=[*cause])


def request_options(
    output: Any, tools: list[dict[str, Any]], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the fields of a request other than its messages."""
    schema = {"output_schema": schema_of(output)} if output is not None else {}
    return {**options, **schema, **({"tools": tools} if tools else {})}
