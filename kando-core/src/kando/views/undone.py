"""The view undone: which calls of tools were taken back, or are to be."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from kando.schema.events import TOOL_CALLED, TOOL_RETURNED, RecordedEvent
from kando.views.pending import answered_by

__all__ = ["UNDOES", "ToolCall", "tool_calls"]

#: Field of a ``tool.called`` that takes back an earlier one: the id of that.
UNDOES = "undoes"


@attrs.define
class ToolCall:
    """A call of a tool.

    Attributes:
        called: its ``tool.called``.
        answer: its ``tool.returned``; None if it has none.
        undos: the calls that take it back, in order.
    """

    called: RecordedEvent
    answer: RecordedEvent | None = None
    undos: list[ToolCall] = attrs.field(factory=list)

    @property
    def has_failed(self) -> bool:
        """Whether its answer is an error."""
        return self.answer is not None and "result" not in self.answer.data

    @property
    def undone_by(self) -> ToolCall | None:
        """The call that has taken it back, or is to; None if each that tried has failed."""
        return next((each for each in self.undos if not each.has_failed), None)


def tool_calls(events: Iterable[RecordedEvent]) -> dict[str, ToolCall]:
    """Return the calls of tools, by the ids of their ``tool.called`` and ``tool.returned``."""
    found: dict[str, ToolCall] = {}
    for event in events:
        if event.type == TOOL_CALLED:
            call = found[event.id] = ToolCall(event)
            undone = found.get(str(event.data.get(UNDOES)))
            if undone is not None:
                undone.undos.append(call)
        elif event.type == TOOL_RETURNED:
            for id in answered_by(event):
                if id in found and found[id].answer is None:
                    found[id].answer = event
                    found[event.id] = found[id]
    return found
