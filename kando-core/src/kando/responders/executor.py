"""Executors: the only responders that reach outside the process; the executor of tools."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from kando.errors import ConfigurationError, InvalidData
from kando.responders.base import CallLimits, Effect, Responder
from kando.responders.tool_context import context_of, workspace_of_call
from kando.responders.tools import WRITE, Tool, as_tool, error_data
from kando.schema.events import ECHOED, TOOL_CALLED, TOOL_RETURNED, KandoEvent, make_event
from kando.schema.trees import WORKSPACE
from kando.world.graph import World

__all__ = ["ToolExecutorResponder"]


def answer_inline(effect: Effect, event: KandoEvent, world: World) -> Iterator[KandoEvent]:
    """Answer one intent in the calling thread: by `Effect.recall`, else by `Effect.call`."""
    compute = effect.inline(event)
    answer = compute(world) if compute is not None else effect.recall(event, world)
    if answer is None:
        answer = effect.call(event)
    yield make_event(effect.answer_type, event.source, "", [event.id], answer)


def ToolExecutorResponder(
    tools: Mapping[str, Callable[..., Any]], *, name: str = "tools"
) -> Responder:
    """Return an executor that answers ``tool.called`` by calling a tool of `tools`.

    A call that goes wrong (the tool is unknown, its arguments are invalid, it raises, times out or
    returns too much) is answered with ``error``. The kit can react to this outcome; the run does not
    fail.

    A tool with a parameter named ``world`` reads what the run has recorded. It gets the world and
    does not reach outside the process, so it runs when its intent is dispatched, not in the pool of
    calls.

    Args:
        tools: functions, or the results of `kando.responders.tools.as_tool`, by name.
        name: the actor of the answers.

    Raises:
        ConfigurationError: a function cannot be a tool.
    """
    known = {each: as_tool(each, fn) for each, fn in tools.items()}

    def call(intent: KandoEvent, world: World | None = None) -> dict[str, Any]:
        tool = known.get(_tool_name(intent))
        if tool is None:
            names = ", ".join(sorted(known)) or "none"
            message = f"Unknown tool {_tool_name(intent)!r:.80}; available: {names}."
            return _with_echo(intent, error_data("UnknownTool", message))
        return _with_echo(intent, _answer(tool, intent, world))

    def inline(intent: KandoEvent) -> Callable[[World], dict[str, Any]] | None:
        tool = known.get(_tool_name(intent))
        if tool is None or not tool.takes_world:
            return None
        return lambda world: call(intent, world)

    def limits(intent: KandoEvent) -> CallLimits:
        tool = known.get(_tool_name(intent))
        if tool is None:
            return CallLimits()
        return CallLimits(tool.lane or tool.name, tool.max_parallel, tool.timeout_seconds)

    def timed_out(intent: KandoEvent) -> dict[str, Any]:
        return _with_echo(intent, known[_tool_name(intent)].timed_out())

    def check(intent: KandoEvent) -> None:
        tool = known.get(_tool_name(intent))
        if tool is None:
            msg = f"Unknown tool {_tool_name(intent)!r:.80}."
            raise InvalidData(msg)
        tool.checked(intent.data.get("arguments", {}))

    effect = Effect(
        TOOL_RETURNED,
        call,
        limits=limits,
        timed_out=timed_out,
        knows=lambda intent: (name := _tool_name(intent)) in known or not name,
        check=check,
        inline=inline,
        is_ordered=lambda intent: (
            (tool := known.get(_tool_name(intent))) is not None and tool.uses_workspace
        ),
        writes=lambda intent: (
            (tool := known.get(_tool_name(intent))) is not None and tool.effect == WRITE
        ),
    )

    def fn(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        return answer_inline(effect, event, world)

    return Responder(name, frozenset({TOOL_CALLED}), fn, effect=effect)


def _answer(tool: Tool, intent: KandoEvent, world: World | None) -> dict[str, Any]:
    arguments, context = intent.data.get("arguments", {}), context_of(intent)
    if not tool.uses_workspace:
        return tool.answer(arguments, context, world)
    workspace = workspace_of_call()
    if workspace is None:
        msg = f"Tool {tool.name!r} uses the workspace, and {intent.source} has none."
        raise ConfigurationError(msg, hint="Pass a workspace to the Runtime.")
    with workspace.opened() as (folder, store):
        answer = tool.answer(arguments, attrs.evolve(context, workspace=folder), world)
        try:
            return {**answer, WORKSPACE: store()}
        except InvalidData as error:
            # The next call finds the files as they were before this one.
            return error_data("InvalidWorkspace", str(error))


def _tool_name(intent: KandoEvent) -> str:
    tool = intent.data.get("tool")
    return tool if isinstance(tool, str) else ""


def _with_echo(intent: KandoEvent, answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer with the fields that it echoes from its intent."""
    return {**{field: intent.data[field] for field in ECHOED if field in intent.data}, **answer}
