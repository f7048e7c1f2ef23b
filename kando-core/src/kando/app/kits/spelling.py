"""Check the spelling of the names in a kit's functions, before a run of it is recorded."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from kando.app.kits.emissions import emissions_of, prompts_in
from kando.errors import ConfigurationError
from kando.kit import Kit
from kando.kit._checks import require_name
from kando.responders.llm_responder import LLMResponder
from kando.responders.tool_servers import SEPARATOR
from kando.schema.events import KNOWN_TYPES, OBJECT_CREATED, RELATION_CREATED, TOOL_CALLED
from kando.schema.names import suggestion

__all__ = ["check_spelling"]


def check_spelling(kit: Kit) -> None:
    """Check the constant names in what the functions of a kit emit, as far as their source shows.

    Raises:
        ConfigurationError: the type of an event, an object or a relation, the name of a tool or a
            prompt is misspelled.
    """
    handled = {type for each in kit.responders for type in each.pattern}
    known = {
        OBJECT_CREATED: ("objects of", "type", set(kit.object_types)),
        RELATION_CREATED: ("relations of", "type", set(kit.relation_types)),
        TOOL_CALLED: ("calls of", "tool", set(kit.tools)),
    }
    for name, fn in _functions(kit):
        of = f"{_place(fn)} of {name!r} emits"
        for emission in emissions_of(fn) or ():
            if emission.type is not None:
                require_name(
                    f"{of} events of",
                    "type",
                    emission.type,
                    KNOWN_TYPES | kit.event_types | handled,
                )
            if emission.subject is not None and emission.type in known:
                what, kind, names = known[emission.type]
                server, is_of_server, _ = emission.subject.partition(SEPARATOR)
                if is_of_server and server in kit.tool_servers:
                    # Its tools are known when a run starts.
                    continue
                require_name(f"{of} {what}", kind, emission.subject, names)
        for owner, prompt in prompts_in(fn):
            if owner is kit and prompt not in kit.prompts:
                msg = f"{_place(fn)} of {name!r} uses prompt {prompt!r}, which the kit lacks."
                raise ConfigurationError(msg, hint=suggestion(prompt, kit.prompts))


def _functions(kit: Kit) -> Iterator[tuple[str, Callable[..., Any]]]:
    for responder in (*kit.edge_responders, *kit.responders, *kit.cleaning):
        asking = getattr(responder.fn, "__self__", None)
        if not isinstance(asking, LLMResponder):
            yield responder.name, responder.fn
        elif responder.fn == asking.on_event:
            parts: list[Callable[..., Any]] = [asking.fill, *asking.handlers()]
            yield from ((responder.name, fn) for fn in parts)
            if asking.relation is not None:
                what = f"Responder {responder.name!r} creates relations of"
                require_name(what, "type", asking.relation, kit.relation_types)
    if kit.seed is not None:
        yield f"{kit.name}.seeds", kit.seed


def _place(fn: Callable[..., Any]) -> str:
    code = getattr(inspect.unwrap(fn), "__code__", None)
    name = getattr(fn, "__name__", "A function")
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code is not None else name
