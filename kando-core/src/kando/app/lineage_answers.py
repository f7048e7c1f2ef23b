"""Answers of tools and child runs that a branch takes over from its parents, for equal calls.

A what-if must not act on the world a second time. A branch is served the results that its parents'
line has got for equal calls, and a tool that writes is not called for a call that no parent made
unless a person approves it on the branch. A result that was given by hand comes from no call.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from typing import Any

from kando.app.child_ids import asked_of, opened_child
from kando.app.opened import OpenedRun
from kando.responders.approved import APPROVED_ARGUMENTS, call_key
from kando.schema.events import (
    ECHOED,
    RUN_ENDED,
    RUN_REQUESTED,
    TOOL_CALLED,
    TOOL_RETURNED,
    KandoEvent,
    RecordedEvent,
)
from kando.schema.exact_json import encode
from kando.schema.trees import tree_named_by
from kando.views.pending import is_answer, is_by_hand

__all__ = ["LineageAnswers", "NoAnswers"]


#: Types of the intents that are served, and of their answers.
_SERVED = {TOOL_CALLED: TOOL_RETURNED, RUN_REQUESTED: RUN_ENDED}


class NoAnswers:
    """The lineage of a child run that a branch has started: no equal call was made before it."""

    def answer_to(self, intent: KandoEvent) -> dict[str, Any] | None:
        """Return None."""
        return None


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
        if intent.type not in _SERVED or not self._may_serve(intent):
            return None
        key = _key_of(intent)
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
            found.setdefault(key, []).append(_served(event))
        own = self._run.ledger.read(self._fork_position)
        for event, key in _calls(own):
            if event.data.get("cached") is True and found.get(key):
                found[key].pop(0)
        return found

    def _may_serve(self, intent: KandoEvent) -> bool:
        """Whether a request for a child run is served: another model or a child of its own counts more."""
        if intent.type != RUN_REQUESTED or not isinstance(intent, RecordedEvent):
            return True
        run, chosen = self._run, self._run.choices
        if any(each is not None for each in (chosen.model, chosen.llm, chosen.fresh_id)):
            return False
        return opened_child(run.context, run.ledger.stream_name(), intent.lineage_key) is None

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
                if event.type in _SERVED
            }
            yield from _with_intents(parent.read(left_at), intents)
            info = substrate.info(info.parent_id)
            left_at = min(left_at, info.fork_position or 0)


def _with_intents(
    events: Iterator[RecordedEvent], earlier: dict[str, RecordedEvent]
) -> Iterator[RecordedEvent]:
    for event in events:
        for cause in event.cause if event.type in _SERVED.values() else ():
            if cause in earlier:
                yield earlier.pop(cause)
        yield event


def _calls(events: Iterator[RecordedEvent]) -> Iterator[tuple[RecordedEvent, bytes]]:
    """Yield the results of calls, each with the key of its call."""
    calls: dict[str, RecordedEvent] = {}
    for event in events:
        if event.type in _SERVED:
            calls[event.id] = event
        elif (
            event.type in _SERVED.values()
            and is_answer(event)
            and not is_by_hand(event.data)
            and "result" in event.data
            # The files of the branch may differ: in its workspace every call is made.
            and tree_named_by(event) is None
        ):
            call = next((calls[cause] for cause in event.cause if cause in calls), None)
            if call is not None:
                # A person may have approved it with other arguments: the answer states them.
                yield event, _key_of(call, event.data.get(APPROVED_ARGUMENTS))


def _key_of(intent: KandoEvent, arguments: Any = None) -> bytes:
    """Return a key that equal calls, and equal requests for a child run, share."""
    if intent.type == TOOL_CALLED:
        return call_key(intent.data, arguments)
    return encode([RUN_REQUESTED, *asked_of(intent.data)])


def _served(answer: RecordedEvent) -> dict[str, Any]:
    """Return what of a recorded answer is served to an equal call."""
    if answer.type == TOOL_RETURNED:
        return {"result": answer.data["result"]}
    return {name: each for name, each in answer.data.items() if name not in ECHOED}
