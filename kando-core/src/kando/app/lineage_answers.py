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
from kando.schema.events import TOOL_CALLED, TOOL_RETURNED, KandoEvent, RecordedEvent
from kando.schema.exact_json import encode
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
        # Results that are served, by the intent that they answer.
        self._served: dict[str, dict[str, Any]] = {}

    def answer_to(self, intent: KandoEvent) -> dict[str, Any] | None:
        """Return the data that answers an equal call of a parent, or None."""
        if intent.type != TOOL_CALLED:
            return None
        if intent.id not in self._served:
            results = self._results.get(_key_of(intent))
            if not results:
                return None
            self._served[intent.id] = {**results.pop(0), "cached": True}
        echoed = {k: v for k, v in intent.data.items() if k in ("cause_object_id", "conversation")}
        return {**self._served[intent.id], **echoed}

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
    keys: dict[str, bytes] = {}
    for event in events:
        if event.type == TOOL_CALLED:
            keys[event.id] = _key_of(event)
        elif (
            event.type == TOOL_RETURNED
            and is_answer(event)
            and not is_by_hand(event.data)
            and "result" in event.data
        ):
            key = next((keys[cause] for cause in event.cause if cause in keys), None)
            if key is not None:
                yield event, key


def _key_of(intent: KandoEvent) -> bytes:
    arguments = intent.data.get("arguments")
    ordered = dict(sorted(arguments.items())) if isinstance(arguments, dict) else arguments
    return encode([intent.data.get("tool"), ordered])
