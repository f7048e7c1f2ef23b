"""Executors: the only responders that reach outside, and the one for tools."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from kando.responders.base import Effect, Responder, Terms
from kando.responders.idempotency import key_of
from kando.responders.tools import as_tool, error_data
from kando.schema.events import ECHOED, TOOL_CALLED, TOOL_RETURNED, KandoEvent, make_event
from kando.world.graph import World

__all__ = ["Policy", "ToolExecutorResponder", "inline"]

#: ``policy(intent)`` returns the reason to deny a tool call, or None to allow it.
Policy = Callable[[KandoEvent], str | None]


def inline(effect: Effect, event: KandoEvent, world: World) -> Iterator[KandoEvent]:
    """Answer one intent here and now: from what is remembered, else by calling."""
    answer = effect.recall(event, world)
    if answer is None:
        answer = effect.call(event)
    yield make_event(effect.answer_type, event.source, "", [event.id], answer)


def ToolExecutorResponder(
    tools: Mapping[str, Callable[..., Any]],
    *,
    name: str = "tools",
    policies: Iterable[Policy] = (),
) -> Responder:
    """Return an executor that answers ``tool.called`` by calling a tool of `tools`.

    A call that goes wrong (the tool is unknown, its arguments do not fit, it raises, takes too long
    or returns too much) is answered with ``error``: that is an outcome the kit reacts to, no
    failure of the run.

    A tool with a parameter named ``world`` looks something up in what the run has recorded. It
    gets the world and reaches nothing outside, so it is answered in its turn, without a call.

    Args:
        tools: functions, or what `kando.responders.tools.as_tool` makes of them, by name.
        name: the actor of the answers.
        policies: a call that one of them denies is answered with an error instead.

    Raises:
        ConfigurationError: a function cannot be a tool.
    """
    policies = tuple(policies)
    known = {each: as_tool(each, fn) for each, fn in tools.items()}

    def call(intent: KandoEvent, world: World | None = None) -> dict[str, Any]:
        denied = next((reason for policy in policies if (reason := policy(intent))), None)
        if denied is not None:
            return _about(intent, error_data("Denied", denied))
        tool = known.get(_asked(intent))
        if tool is None:
            message = f"There is no tool {_asked(intent)!r:.80}; known: {', '.join(sorted(known)) or 'none'}."
            return _about(intent, error_data("UnknownTool", message))
        arguments = intent.data.get("arguments", {})
        return _about(intent, tool.answer(arguments, key_of(intent), world))

    def recall(intent: KandoEvent, world: World) -> dict[str, Any] | None:
        tool = known.get(_asked(intent))
        return call(intent, world) if tool is not None and tool.takes_world else None

    def terms(intent: KandoEvent) -> Terms:
        tool = known.get(_asked(intent))
        if tool is None:
            return Terms()
        return Terms(tool.name, tool.max_parallel, tool.timeout_seconds)

    def timed_out(intent: KandoEvent) -> dict[str, Any]:
        return _about(intent, known[_asked(intent)].timed_out())

    effect = Effect(TOOL_RETURNED, call, recall, terms=terms, timed_out=timed_out)

    def fn(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        return inline(effect, event, world)

    return Responder(name, frozenset({TOOL_CALLED}), fn, effect=effect)


def _asked(intent: KandoEvent) -> str:
    tool = intent.data.get("tool")
    return tool if isinstance(tool, str) else ""


def _about(intent: KandoEvent, answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer with what it echoes of its intent."""
    return {**{field: intent.data[field] for field in ECHOED if field in intent.data}, **answer}
