"""Chats: what a kit that declares a conversation needs in addition to its responder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from kando.errors import ConfigurationError
from kando.responders.compaction import Compaction
from kando.responders.llm_responder import Home
from kando.schema.content import recorded_content
from kando.schema.events import HUMAN_MESSAGE, OBJECT_CREATED, KandoEvent, make_event
from kando.world.graph import World

__all__ = [
    "compaction_of",
    "first_words",
    "messages_after",
    "said_in",
    "type_of_conversation",
]

_ACTOR = "cli"
_NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")


def type_of_conversation(name: str) -> type:
    """Return the class of the objects that a conversation is about; it holds the last answer.

    Args:
        name: of the conversation: ``front_desk`` gives ``FrontDesk``.

    Raises:
        ConfigurationError: it is not made of words in lower case.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        msg = f"The name of a conversation is {name!r:.60}."
        raise ConfigurationError(msg, hint='Use words in lower case, such as "front_desk".')
    type_name = "".join(word.capitalize() for word in re.split("[_-]", name))
    return attrs.make_class(type_name, {"text": attrs.field(type=str, default="")}, frozen=True)


def said_in(event: KandoEvent, world: World) -> dict[str, Any] | None:
    """Return the content of a message as the values of a prompt, or None if it has none."""
    content = recorded_content(event.data.get("content"))
    if content is not None:
        return {"content": content}
    text = event.data.get("text")
    return {"content": text} if isinstance(text, str) and text.strip() else None


def messages_after(
    system: str | None,
) -> Callable[[Mapping[str, Any]], list[dict[str, Any]]]:
    """Return the function that makes the messages of a conversation's first request.

    Args:
        system: text of its system message; None for none.
    """
    before = [{"role": "system", "content": system}] if system is not None else []

    def messages(values: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [*before, {"role": "user", "content": values["content"]}]

    return messages


def first_words(goal: str, run_id: str, homes: Iterable[Home]) -> list[KandoEvent]:
    """Return the events that start a run: the first message, and the objects of its conversations.

    Args:
        goal: text of the message, to the first of the conversations.
        run_id: of the run.
        homes: the objects.
    """
    source, known = f"run:{run_id}", [*homes]
    objects = [{"id": each.id, "type": each.type, "data": {}} for each in known]
    said = {"text": goal, "cause_object_id": known[0].id}
    # The first seed shows the goal of the run.
    return [
        make_event(HUMAN_MESSAGE, source, _ACTOR, [], said),
        *(make_event(OBJECT_CREATED, source, _ACTOR, [], each) for each in objects),
    ]


def compaction_of(compaction: Compaction | bool, window: int | None) -> Compaction | None:
    """Return how a conversation is compacted, from the arguments of a kit's author.

    Raises:
        ConfigurationError: they contradict each other, or the window is not positive.
    """
    if compaction is False:
        return None
    if compaction is True:
        return Compaction() if window is None else Compaction(window=window)
    if not isinstance(compaction, Compaction):
        msg = f"The compaction of a conversation is {compaction!r:.60}."
        raise ConfigurationError(msg, hint="Pass Compaction(window=...), or False for none.")
    if window is not None:
        msg = "A conversation has a window and a compaction."
        raise ConfigurationError(
            msg, hint="Set the window of the compaction: Compaction(window=...)."
        )
    return compaction
