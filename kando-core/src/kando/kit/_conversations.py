"""Conversations of a kit: the responders that ask a model, and the first message of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kando.kit._servers import tools_and_servers
from kando.responders.base import Responder
from kando.responders.chats import (
    compaction_of,
    first_words,
    messages_after,
    said_in,
    type_of_conversation,
)
from kando.responders.compaction import Compaction
from kando.responders.llm_responder import Home, LLMResponder
from kando.responders.model_requests import request_options
from kando.schema.events import LLM_RESPONSE, TOOL_RETURNED, KandoEvent

if TYPE_CHECKING:
    from kando.kit._kit import Kit

__all__ = ["conversation_responder", "parts_of", "seeds_of", "type_of_conversation"]


def conversation_responder(
    kit: Kit,
    name: str,
    type: str,
    *,
    system: str | None,
    tools: Iterable[str] | None,
    max_turns: int,
    compaction: Compaction | bool,
    window: int | None,
    was: Sequence[str],
    options: Mapping[str, Any],
) -> LLMResponder:
    """Return the responder that continues a conversation; the arguments are those of the kit's author.

    Args:
        kit: has declared the tools.
        name: of the conversation.
        type: of the objects that it is about.
        system: text of the system message; None for none.
        tools: names of tools and of MCP servers; None for all, and those that a person adds.
        max_turns: how many requests may follow from one message.
        compaction: how it is compacted.
        window: how many tokens the model reads.
        was: names that the responder had, as responders have them.
        options: further fields of the request.

    Raises:
        NotFoundError: the kit has no such tool.
        ConfigurationError: the compaction and the window contradict each other.
    """
    named = [*kit.tools, *kit.tool_servers] if tools is None else list(tools)
    schemas, servers = tools_and_servers(kit, named)
    return LLMResponder(
        f"{kit.name}.{name}",
        said_in,
        messages_after(system),
        None,
        many=False,
        relation=None,
        options=request_options(None, schemas, options),
        max_turns=max(max_turns, 1),
        was=was,
        continues=True,
        compaction=compaction_of(compaction, window),
        home=Home(name, type, not kit.conversations),
        servers=[] if tools is None and servers is None else servers,
    )


def parts_of(
    asking: LLMResponder, pattern: Iterable[str], about: str | None, kit: Kit
) -> list[Responder]:
    """Return the responders that ask a model, handle its answers, and return results of tools.

    Args:
        asking: what the responders do.
        pattern: types of the events on which the model is asked.
        about: type of the objects that the events are about; None for any.
        kit: to which they belong.
    """

    def part(suffix: str, pattern: str, fn: Callable[..., Any]) -> Responder:
        names = [f"{each}{suffix}" for each in asking.was]
        return Responder(f"{asking.name}{suffix}", frozenset({pattern}), fn, was=names, kit=kit)

    first = Responder(
        asking.name,
        frozenset(pattern),
        asking.on_event,
        object_type=about,
        was=asking.was,
        kit=kit,
    )
    parts = [first, part(".answer", LLM_RESPONSE, asking.on_answer)]
    if asking.servers is None:
        return parts
    return [*parts, part(".tool", TOOL_RETURNED, asking.on_tool)]


def seeds_of(kit: Kit) -> Callable[[str, str], list[KandoEvent]]:
    """Return the function that starts a run of a kit: its goal is the first message."""

    def seeds(goal: str, run_id: str) -> list[KandoEvent]:
        homes = [each.home for each in kit.conversations.values() if each.home is not None]
        return first_words(goal, run_id, homes)

    return seeds
