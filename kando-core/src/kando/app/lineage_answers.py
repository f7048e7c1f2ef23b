"""Answers of tools that a branch takes over from its parents, for equal calls.

A what-if must not act on the world a second time. A branch is served the results that its parents'
line has got for equal calls, and a tool that writes is not called for a call that no parent made
unless a person approves it on the branch. A result that was given by hand comes from no call.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from typing import Any

from kando.app.opened import OpenedRun
from kando.responders.approved import APPROVED_ARGUMENTS, call_key
from kando.schema.events import TOOL_CALLED, TOOL_RETURNED, KandoEvent, RecordedEvent
from kando.views.pending import is_answer, is_by_hand

__all__ = ["LineageAnswers"]


class LineageAnswers:
    """The results of tools in the ledgers that a branch descends from, after it was forked.

    Each result is served once: a second equal call is one that no parent made, unless a parent made
    it a second time as well.

    Args:
        run: the branch.
    """

    def __init__(self, run: OpenedRun) -> None:
        self._run = run
        # Results that are served, and the call that they answer, by intent.
        self._served: dict[str, tuple[bytes, dict[str, Any]]] = {}

    def answer_to(self, intent: KandoEvent) -> dict[str, Any] | None:
        """Return the data that answers an equal call of a parent, or None."""
        if intent.type != TOOL_CALLED:
            return None
        key = call_key(intent.data)
        if intent.id in self._served and self._served[intent.id][0] != key:
            # A person has approved other arguments: its result is left to another call.
            earlier, result = self._served.pop(intent.id)
            self._results[earlier].insert(0, result)
        if intent.id not in self._served:
            results = self._results.get(key)
            if not results:
                return None
            self._served[intent.id] = key, results.pop(0)
        echoed = {k: v for k, v in intent.data.items() if k in ("cause_object_id", "conversation")}
        return {**self._served[intent.id][1], "cached": True, **echoed}

    @cached_property
    def _results(self) -> dict[bytes, list[dict[str, Any]]]:
        """Results by call, in the order of the calls; those that the branch has recorded are gone."""
        found: dict[bytes, list[dict[str, Any]]] = {}
        for event, key in _calls(self._later_events()):
            found.setdefault(key, []).append({"result": event.data["result"]})
        own = self._run.ledger.read(self._fork_position)
        for event, key in _calls(own):
            if event.data.get("cached") is True and found.get(key):
                found[key].pop(0)
        return found

    @cached_property
    def _fork_position(self) -> int:
        info = self._run.context.substrate().info(self._run.id)
        return info.fork_position or 0

    def _later_events(self) -> Iterator[RecordedEvent]:
        """Yield the events of the parents, from the position at which the branch left their line.

        An intent may be before the fork and its answer after it.
        """
        substrate = self._run.context.substrate()
        info = substrate.info(self._run.id)
        left_at = info.fork_position or 0
        while info.parent_id is not None:
            parent = substrate.open(info.parent_id)
            intents = {
                event.id: event
                for event in islice(parent.read(0), left_at)
                if event.type == TOOL_CALLED
            }
            yield from _with_intents(parent.read(left_at), intents)
            info = substrate.info(info.parent_id)
            left_at = min(left_at, info.fork_position or 0)


def _with_intents(
    events: Iterator[RecordedEvent], earlier: dict[str, RecordedEvent]
) -> Iterator[RecordedEvent]:
    for event in events:
        for cause in event.cause if event.type == TOOL_RETURNED else ():
            if cause in earlier:
                yield earlier.pop(cause)
        yield event


def _calls(events: Iterator[RecordedEvent]) -> Iterator[tuple[RecordedEvent, bytes]]:
    """Yield the results of calls, each with the key of its call."""
    calls: dict[str, RecordedEvent] = {}
    for event in events:
        if event.type == TOOL_CALLED:
            calls[event.id] = event
        elif (
            event.type == TOOL_RETURNED
            and is_answer(event)
            and not is_by_hand(event.data)
            and "result" in event.data
        ):
            call = next((calls[cause] for cause in event.cause if cause in calls), None)
            if call is not None:
                # A person may have approved it with other arguments: the answer states them.
                yield event, call_key(call.data, event.data.get(APPROVED_ARGUMENTS))
