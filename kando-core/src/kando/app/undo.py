"""Undo calls of tools: ask the run to call the tool that takes a call back."""

from __future__ import annotations

from typing import Any

import attrs

from kando.app.inbox import OWN_PREFIX, Delivery, deliver
from kando.app.opened import OpenedRun
from kando.errors import EventNotFound, InvalidData
from kando.responders.approved import APPROVED_ARGUMENTS, ARGUMENTS
from kando.responders.tools import Tool
from kando.schema.events import TOOL_CALLED, make_event
from kando.views.pending import is_by_hand
from kando.views.undone import UNDOES, ToolCall, tool_calls

__all__ = ["undo_call"]

#: A parameter of this name of an undo tool gets the result of the call that it takes back.
_RESULT = "result"


def undo_call(run: OpenedRun, event_id: str, *, by: str = "cli") -> Delivery:
    """Have a run take back a call of a tool, by a call of the tool that its ``undo`` names.

    It gets the arguments of the call, as far as it has parameters of their names, and the result if
    it has a parameter ``result``. The policies of the kit judge it as any other call.

    Args:
        run: opened for writing.
        event_id: id of the ``tool.called``, or of its ``tool.returned``.
        by: the actor of the recorded call.

    Raises:
        EventNotFound: the run has no such event.
        InvalidData: the event is not a call, the call has no result, its tool has no undo, it was
            undone already, the run did not make it, or the undo tool does not take its arguments.
        ConfigurationError: the run has no kit.
    """
    stream = run.ledger.stream_name()
    call = tool_calls(run.ledger.read_all()).get(event_id)
    if call is None:
        event = run.ledger.find(event_id)
        if event is None:
            msg = f"{stream} has no event {event_id!r:.80}."
            raise EventNotFound(msg, hint=f"`kando events {run.id}` lists them.")
        msg = f"{event_id} is of type {event.type}; only a call of a tool can be undone."
        raise InvalidData(msg, hint="Give the id of a tool.called or tool.returned.")
    _require_undoable(run, call)
    undo = _undo_tool(run, call)
    arguments = _arguments(call, undo)
    data = {"tool": undo.name, ARGUMENTS: arguments, UNDOES: call.called.id}
    attempt = len(call.undos) + 1
    key = f"{OWN_PREFIX}undo:{call.called.id}" + (f":{attempt}" if attempt > 1 else "")
    return deliver(run, make_event(TOOL_CALLED, "", by, [event_id], data), key)


def _require_undoable(run: OpenedRun, call: ToolCall) -> None:
    id, answer, problem, cure = call.called.id, call.answer, None, None
    undone = call.undone_by
    if answer is None:
        problem, cure = "has no answer yet", "Resume the run, or cancel it."
    elif call.has_failed:
        problem, cure = "has failed", "Its answer says why."
    elif is_by_hand(answer.data):
        problem, cure = "was answered by hand: no tool was called", "Undo it by hand."
    elif answer.data.get("cached") is True or _is_of_parent(run, answer.position):
        problem, cure = "was made by the parent of this branch", "Undo it in the parent."
    elif undone is not None:
        how = "is undone by" if undone.answer is None else "was undone by"
        problem, cure = f"{how} {undone.called.id}", "Make the call again to redo it."
    if problem is not None:
        raise InvalidData(f"{id} of {run.ledger.stream_name()} {problem}.", hint=cure)


def _is_of_parent(run: OpenedRun, position: int) -> bool:
    if run.is_demo_run:
        return False
    return position < (run.context.substrate().info(run.id).fork_position or 0)


def _undo_tool(run: OpenedRun, call: ToolCall) -> Tool:
    kit, name = run.require_kit(), call.called.data.get("tool")
    tool = kit.tools.get(str(name))
    undo = kit.tools.get(tool.undo) if tool is not None and tool.undo is not None else None
    if undo is None:
        msg = f"{call.called.id} called {name!r:.80}, which kit {kit.name!r} cannot undo."
        raise InvalidData(msg, hint="Declare its undo: @kit.tool(undo=NAME).")
    return undo


def _arguments(call: ToolCall, undo: Tool) -> dict[str, Any]:
    """Return the arguments for an undo tool, checked."""
    assert call.answer is not None
    given = call.answer.data.get(APPROVED_ARGUMENTS, call.called.data.get(ARGUMENTS))
    offered = {**(given if isinstance(given, dict) else {}), _RESULT: call.answer.data["result"]}
    names = {field.name for field in attrs.fields(undo.arguments)}
    arguments = {name: value for name, value in offered.items() if name in names}
    undo.checked(arguments)
    return arguments
