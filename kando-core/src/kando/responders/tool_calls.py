"""The calls of tools that a model requests: made side by side, and answered in one request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kando.emit import call_tool, emit, patch
from kando.responders.asker import Asker, Failure, Sending, Step, cleared, with_messages
from kando.responders.compaction import estimated_tokens, tokens_in, window_after
from kando.responders.conversation import (
    assistant_message,
    malformed_in,
    rejection,
    tool_message,
    tool_result,
)
from kando.schema.events import TOOL_CALLED, KandoEvent
from kando.world.graph import World, WorldObject

__all__ = ["call_tools", "take_result"]


def call_tools(asker: Asker, conversation: WorldObject, event: KandoEvent, world: World) -> Step:
    """Call the tools that an answer of the model requests.

    Return the request that follows if none of them can be called, or a failure if the model has had
    as many turns as it may have.

    Args:
        asker: whose conversation it is.
        conversation: that waits for the answer.
        event: the answer.
        world: that is handled in.
    """
    reply, turn = assistant_message(event.data), conversation.data["turn"]
    calls = reply["tool_calls"]
    asked = conversation.data["asked"] if asker.continues else turn
    if asked >= asker.max_turns:
        message = f"After {asked} turns the answer still contains tool calls."
        return Failure({"type": "TooManyTurns", "message": message})
    offered = [tool["name"] for tool in asker.options_in(world).get("tools", ())]
    malformed = malformed_in(event.data)
    refused = {
        _slot(n): {"content": why, "is_error": True, "event": event.id}
        for n, call in enumerate(calls)
        if (why := rejection(n, call, offered, malformed)) is not None
    }
    if len(refused) == len(calls):
        return _answered(asker, conversation, reply, refused)
    used = window_after(conversation.data, event.data) if asker.continues else {}
    if asker.continues and (known := tokens_in(event.data)) is not None:
        # The answer counts when it becomes a message.
        used["tokens"] = known - estimated_tokens(reply)
    yield patch(conversation, {"said": reply, **refused, **used})
    about = conversation.data["about"]
    for n, call in enumerate(calls):
        if _slot(n) not in refused:
            place = {"id": conversation.id, "turn": turn, "call": n}
            called = call_tool(call["name"], call["arguments"], about=about)
            yield emit(TOOL_CALLED, {**called.data, "conversation": place})
    return None


def take_result(asker: Asker, conversation: WorldObject, event: KandoEvent) -> Step:
    """Keep the result of a tool; return the request that follows when all have arrived."""
    slot = _slot(event.data["conversation"]["call"])
    reply = conversation.data["said"]
    results = {**conversation.data, slot: tool_result(event)}
    if all(results.get(_slot(n)) for n in range(len(reply["tool_calls"]))):
        return _answered(asker, conversation, reply, results)
    yield patch(conversation, {slot: results[slot]})
    return None


def _answered(
    asker: Asker, conversation: WorldObject, reply: dict[str, Any], results: Mapping[str, Any]
) -> Sending:
    """Return the request with the results of all calls of an answer."""
    data = conversation.data
    found = [results[_slot(n)] for n in range(len(reply["tool_calls"]))]
    said = [reply, *map(tool_message, reply["tool_calls"], found)]
    cause = list(dict.fromkeys(each["event"] for each in found))
    emptied = {"said": None, **{_slot(n): None for n in range(len(found))}}
    if asker.continues:
        return Sending({**with_messages(data, said), **emptied, **cleared(data)}, cause)
    return Sending({"messages": [*data["messages"], *said], **emptied}, cause)


def _slot(number: int) -> str:
    return f"result {number}"
