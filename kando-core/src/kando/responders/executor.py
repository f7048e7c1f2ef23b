"""Executors: the only responders that reach outside, and the one for tools."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from kando.responders.base import Effect, Responder
from kando.schema.events import TOOL_CALLED, TOOL_RETURNED, KandoEvent, make_event
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

    A tool that raises, or is unknown, is answered with ``error``: a failed tool is an outcome the
    kit reacts to, no failure of the run.

    A tool with a parameter named ``world`` looks something up in what the run has recorded. It
    gets the world and reaches nothing outside, so it is no call: it is answered in its turn.

    Args:
        tools: functions by name; each gets the intent's arguments as keywords and returns JSON.
        name: the actor of the answers.
        policies: a call that one of them denies is answered with an error instead.
    """
    policies = tuple(policies)
    lookups = {
        each for each, tool in tools.items() if "world" in inspect.signature(tool).parameters
    }

    def call(intent: KandoEvent, **own: World) -> dict[str, Any]:
        asked = intent.data
        answer: dict[str, Any] = {}
        if "cause_object_id" in asked:
            answer["cause_object_id"] = asked["cause_object_id"]
        tool = tools.get(asked["tool"])
        if tool is None:
            known = ", ".join(sorted(tools)) or "none"
            message = f"There is no tool {asked['tool']!r}; known: {known}."
            return {**answer, "error": {"type": "UnknownTool", "message": message}}
        denied = next((reason for policy in policies if (reason := policy(intent))), None)
        if denied is not None:
            return {**answer, "error": {"type": "Denied", "message": denied}}
        try:
            return {**answer, "result": tool(**{**asked.get("arguments", {}), **own})}
        except Exception as error:
            return {**answer, "error": {"type": type(error).__name__, "message": str(error)}}

    def recall(intent: KandoEvent, world: World) -> dict[str, Any] | None:
        return call(intent, world=world) if intent.data["tool"] in lookups else None

    effect = Effect(TOOL_RETURNED, call, recall)

    def fn(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        return inline(effect, event, world)

    return Responder(name, frozenset({TOOL_CALLED}), fn, effect=effect)
