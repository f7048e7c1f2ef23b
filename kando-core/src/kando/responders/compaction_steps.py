"""The steps of a compaction: ask for a summary, and replace the messages with it.

`compaction` says when a conversation is too long and what stays of it; here it happens.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from kando.emit import ask, emit, patch
from kando.responders.answers import failure_of, text_of
from kando.responders.asker import OPEN, Asker, Failure, Sending, Step
from kando.responders.compaction import (
    WINDOW,
    Compaction,
    checked_messages,
    estimated_tokens,
    is_overflow,
    replaced_by,
    shortened,
    summarized,
)
from kando.responders.conversation import calls_in
from kando.schema.events import CONVERSATION_COMPACTED, KandoEvent
from kando.world.graph import World, WorldObject

__all__ = [
    "LIMIT",
    "OVERFLOW",
    "cut_after",
    "cut_before",
    "replace_messages",
    "take_summary",
]

#: Why a conversation is compacted: its messages exceed the limit, or the server refused them.
LIMIT, OVERFLOW = "limit", "overflow"


def cut_before(asker: Asker, state: Mapping[str, Any]) -> int | None:
    """Return how many messages to replace before a request, or None if it can be sent."""
    compaction = _compaction(asker, state)
    if compaction is None or state["tokens"] <= compaction.limit:
        return None
    return compaction.cut(state["messages"], state["tokens"])


def cut_after(asker: Asker, data: Mapping[str, Any], answer: Mapping[str, Any]) -> int | None:
    """Return how many messages to replace after an answer, or None if it fails the turn."""
    compaction = _compaction(asker, data)
    if compaction is None or data.get("retried") or not is_overflow(answer):
        return None
    return compaction.cut(data["messages"], data["tokens"])


def _compaction(asker: Asker, data: Mapping[str, Any]) -> Compaction | None:
    return asker.compaction and asker.compaction.of_model(data.get(WINDOW))


def replace_messages(
    asker: Asker, conversation: WorldObject, cut: int, why: str, step: Sending, world: World
) -> Generator[KandoEvent, Any, Sending | None]:
    """Compact a conversation by the kit's own function, or ask the model for a summary.

    Return the request that follows, or None if the summary comes first.

    Args:
        asker: whose conversation it is.
        conversation: that is compacted.
        cut: how many messages are replaced.
        why: it is compacted: `LIMIT` or `OVERFLOW`.
        step: the request that is sent after it.
        world: that is handled in.
    """
    assert asker.compaction is not None
    changes, cause = step.changes, step.cause
    state = {**conversation.data, **changes}
    if asker.compact is not None:
        made = asker.compact([dict(each) for each in state["messages"]], world)
        messages = checked_messages(made, f"The compaction of {asker.name}")
        return (yield from _replaced(conversation, messages, why, step, [*cause]))
    turn = state["turn"] + 1
    compacting = {"cut": cut, "why": why, "cause": cause}
    yield patch(conversation, {**changes, "status": OPEN, "turn": turn, "compacting": compacting})
    asked = state["messages"][:cut]
    if why == OVERFLOW:
        asked = shortened(asked, state["tokens"] // 2)
    asked = [*asked, {"role": "user", "content": asker.compaction.prompt}]
    options = {**asker.options_in(world)}
    options.pop("output_schema", None)
    if "tools" in options:
        options["tool_choice"] = "none"
    place = {"id": conversation.id, "turn": turn, "compacts": True}
    request = ask(asked, about=state["about"], conversation=place, **options)
    yield emit(request.type, request.data, cause=[*cause])
    return None


def take_summary(asker: Asker, conversation: WorldObject, event: KandoEvent) -> Step:
    """Handle the answer to a request for a summary, and return the request that follows."""
    compaction, data = _compaction(asker, conversation.data), conversation.data
    assert compaction is not None
    compacting = data["compacting"]
    text = text_of(event.data)
    summary = text.strip() if text is not None and not calls_in(event.data) else ""
    why, cause = compacting["why"], compacting["cause"]
    if summary or (why == OVERFLOW and is_overflow(event.data)):
        cut, keep = compacting["cut"], compaction.kept
        by = summarized(data["messages"], cut, summary or None, keep)
        messages = [*by, *data["messages"][cut:]]
        return (yield from _replaced(conversation, messages, why, Sending({}, cause), [event]))
    if why == LIMIT:
        # The limit is an estimate: without a summary, the server decides.
        return Sending({"compacting": None}, [event.id, *cause], may_compact=False)
    none = {"type": "NoSummary", "message": "The model gave no summary of the conversation."}
    return Failure(failure_of(event.data) or none)


def _replaced(
    conversation: WorldObject,
    messages: list[dict[str, Any]],
    why: str,
    step: Sending,
    cause: list[KandoEvent | str],
) -> Generator[KandoEvent, Any, Sending]:
    """Record that the messages of a conversation are replaced, and return its next request."""
    state = {**conversation.data, **step.changes}
    replaced, by = replaced_by(state["messages"], messages)
    about = {"cause_object_id": state["about"]} if state["about"] is not None else {}
    tokens = sum(map(estimated_tokens, messages))
    measured = {"tokens_before": state["tokens"], "tokens_after": tokens}
    made = {"conversation_id": conversation.id, **about, "why": why, **measured}
    # The compactions of a conversation are a chain that begins with the first turn.
    before = state.get("compacted") or conversation.event_id
    data = {**made, "replaced": replaced, "by": by}
    compacted = yield emit(CONVERSATION_COMPACTED, data, cause=[*cause, before])
    retried = {"retried": True} if why == OVERFLOW else {}
    new = {"messages": messages, "tokens": tokens, "compacting": None, **retried}
    changes = {**step.changes, **new, "compacted": compacted.id}
    return Sending(changes, step.cause, may_compact=False)
