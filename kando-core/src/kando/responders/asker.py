"""Askers: what each step of a conversation with a model knows about its responder.

The state of a conversation is an object of the world; a step is given that object and returns, as a
generator, what follows from it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any, TypeGuard

import attrs

from kando.emit import patch
from kando.responders.compaction import Compaction, estimated_tokens
from kando.responders.tool_servers import offered_tools
from kando.schema.events import KandoEvent
from kando.world.graph import World, WorldObject

__all__ = [
    "CONVERSATION",
    "DONE",
    "FAILED",
    "OPEN",
    "Asker",
    "Compact",
    "Emitted",
    "Failure",
    "Sending",
    "Step",
    "changed",
    "cleared",
    "with_messages",
]

#: Object type of conversations.
CONVERSATION = "Conversation"

#: States of a conversation: it waits for an answer, has one, or has failed.
OPEN, DONE, FAILED = "open", "done", "failed"

#: ``fn(messages, world)`` returns the messages that replace those of a conversation.
Compact = Callable[[list[dict[str, Any]], World], list[dict[str, Any]]]

Emitted = Generator[KandoEvent, Any, None]


@attrs.frozen
class Sending:
    """The next request of a conversation, which a step leaves to be sent.

    Attributes:
        changes: of the conversation that are not recorded yet.
        cause: events that the request follows from.
        may_compact: whether the conversation is compacted first if it is too long.
    """

    changes: dict[str, Any]
    cause: list[str]
    may_compact: bool = True


@attrs.frozen
class Failure:
    """Why a step ends the turn without an answer.

    Attributes:
        error: ``{"type", "message"}``.
    """

    error: dict[str, Any]


#: A step yields events, and returns what follows: a request, a failure, or nothing yet.
Step = Generator[KandoEvent, Any, Sending | Failure | None]


@attrs.frozen
class Asker:
    """The part of a responder that the steps of its conversations depend on.

    Attributes:
        name: of the responder.
        was: names that it had in earlier versions of the kit.
        options: further fields of a request.
        servers: names of the tool servers that the model may use; None if it may call no tool.
        max_turns: how many requests one turn of a person, or one conversation, may contain.
        continues: whether a conversation continues after its answer.
        compaction: how a conversation that continues is compacted; None for not at all.
        compact: the kit's own compaction, or None.
    """

    name: str
    was: Sequence[str]
    options: dict[str, Any]
    servers: Sequence[str] | None
    max_turns: int
    continues: bool
    compaction: Compaction | None
    compact: Compact | None

    def owns(self, found: WorldObject | None) -> TypeGuard[WorldObject]:
        """Whether an object is a conversation of this responder."""
        names = (self.name, *self.was)
        return (
            found is not None and found.type == CONVERSATION and found.data.get("asked_by") in names
        )

    def awaiting(self, event: KandoEvent, world: World) -> WorldObject | None:
        """Return the conversation of this responder that waits for an answer or a result."""
        place = event.data.get("conversation")
        if not isinstance(place, dict):
            return None
        found = world.get_object(str(place.get("id")))
        if not self.owns(found):
            return None
        is_awaited = found.data["status"] == OPEN and found.data["turn"] == place.get("turn")
        return found if is_awaited else None

    def options_in(self, world: World) -> dict[str, Any]:
        """Return the further fields of a request, with the tools of servers as the ledger has them."""
        served = offered_tools(world, self.servers) if self.servers is not None else []
        options = self.options
        if any(map(callable, options.values())):
            options = {
                name: each(world) if callable(each) else each for name, each in options.items()
            }
        if not served:
            return options
        return {**options, "tools": [*options.get("tools", ()), *served]}


def with_messages(data: Mapping[str, Any], messages: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the changes of a conversation that gets further messages."""
    added = [*messages]
    tokens = data["tokens"] + sum(map(estimated_tokens, added))
    return {"messages": [*data["messages"], *added], "tokens": tokens}


def cleared(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changes that clear what holds for one request only."""
    return {name: None for name in ("error", "retried", "compacting") if data.get(name)}


def changed(conversation: WorldObject, changes: dict[str, Any]) -> tuple[KandoEvent, WorldObject]:
    """Return the event of a change, and the conversation after it."""
    data = {**conversation.data, **changes}
    return patch(conversation, changes), attrs.evolve(conversation, data=data)
