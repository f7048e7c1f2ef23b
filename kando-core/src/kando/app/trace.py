"""Traces of runs: why an event exists, or what followed from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

import attrs

from kando.app.context import id_of
from kando.app.opened import OpenedRun
from kando.errors import EventNotFound, LedgerNotFound
from kando.ledger.interface import LedgerStore
from kando.schema.events import (
    BOOKKEEPING,
    OBJECT_CREATED,
    RELATION_CREATED,
    RUN_ENDED,
    RecordedEvent,
)
from kando.text.figure import Node
from kando.trace.figure import node_of
from kando.trace.walk import Step, ancestors, descendants
from kando.views.stored import lineage_of

__all__ = ["Trace", "trace_event"]

#: Number of events that are read together, unless their average distance is larger than the second.
_AT_ONCE, _SPARSE = 250, 10

#: How many runs are nested at most, with some to spare.
_MAX_NESTED = 10


@attrs.frozen
class Trace:
    """The chain from an event to its roots, or to everything that followed from it.

    Attributes:
        ledger: of the events.
        steps: the event first; then its causes, roots last, or its effects in ledger order.
        run: that `continued` starts from; None if the trace does not leave the ledger.
        nested: number of runs between this one and the one of the first trace, which started it.
    """

    ledger: LedgerStore
    steps: list[Step]
    run: OpenedRun | None = None
    nested: int = 0
    # The ends of child runs among its events, as far as these were read.
    _ends: dict[str, RecordedEvent] = attrs.field(factory=dict, init=False, repr=False)
    # Steps whose events were read, from the first one without a gap.
    _seen: list[int] = attrs.field(factory=lambda: [0], init=False, repr=False)

    def events(self, start: int = 0) -> Iterator[RecordedEvent]:
        """Yield the event of each step; events are read in pages, as they are needed.

        Args:
            start: number of steps to leave out.
        """
        for number, event in enumerate(self._read(start), start):
            if event.type == RUN_ENDED:
                self._ends[event.id] = event
            if number == self._seen[0]:
                self._seen[0] = number + 1
            yield event

    def parts(self) -> Iterator[Trace]:
        """Yield the trace, and those with which it continues in other ledgers, each before its own."""
        yield self
        for part in self.continued():
            yield from part.parts()

    def continued(self) -> Iterator[Trace]:
        """Yield the traces with which it continues in the ledgers of other runs.

        The end of a child run leads to the last event of the child, and the goal of a child to the
        request that started it. Events that were not read yet are read first.
        """
        run = self.run
        # An imported ledger may name itself.
        if run is None or self.nested > _MAX_NESTED:
            return
        for _ in self.events(self._seen[0]):
            pass
        for event in [*self._ends.values()]:
            child_id, event_id = event.data.get("run_id"), event.data.get("last_event_id")
            # It may have been deleted, or left out of an import.
            with suppress(LedgerNotFound, EventNotFound):
                child = OpenedRun(run.context, run.context.substrate().open(str(child_id)))
                found = trace_event(child, str(event_id), child.ledger.length())
                yield attrs.evolve(found, nested=self.nested + 1)
        if self.nested or run.choices.started_by is None:
            return
        # Slow to import, and not needed by most traces.
        from kando.app.children import start_of

        if (started := start_of(run)) is not None:
            parent, intent = started
            yield trace_event(parent, intent.id, parent.ledger.length())

    def _read(self, first_step: int) -> Iterator[RecordedEvent]:
        for start in range(first_step, len(self.steps), _AT_ONCE):
            positions = [step.position for step in self.steps[start : start + _AT_ONCE]]
            first, last = min(positions), max(positions)
            if last - first > _SPARSE * len(positions):
                yield from filter(None, map(self.ledger.at, positions))
                continue
            near = list(islice(self.ledger.read(first), last + 1 - first))
            yield from (near[position - first] for position in positions)

    def nodes(self) -> Iterator[Node]:
        """Yield each step as a node of a figure."""
        known = {step.position for step in self.steps}
        for step, event in zip(self.steps, self.events(), strict=True):
            yield node_of(event, [each for each in step.causes if each in known])

    def unknown_causes(self) -> int:
        """Return how many causes lie beyond the maximum depth of the trace."""
        known = {step.position for step in self.steps}
        return len({each for step in self.steps for each in step.causes} - known)


def trace_event(
    run: OpenedRun,
    event_id: str,
    end: int,
    *,
    is_down: bool = False,
    depth: int | None = None,
    with_bookkeeping: bool = False,
) -> Trace:
    """Return why an event exists, or what followed from it.

    Args:
        run: the opened run.
        event_id: an event, or an object or relation, which stands for the event that created it.
        end: number of events of the run that count.
        is_down: follow effects instead of causes.
        depth: maximum number of links to follow; all if None.
        with_bookkeeping: with `is_down`, include the runtime's bookkeeping events.

    Raises:
        EventNotFound: the run has no such event, object or relation.
    """
    ledger = run.ledger
    start = _start_of(ledger, event_id, end)
    index = lineage_of(run.snapshot) if run.snapshot is not None else None
    if not is_down:
        steps = ancestors(ledger, start, depth=depth, excluding=BOOKKEEPING, index=index)
        return Trace(ledger, steps, run)
    excluding = () if with_bookkeeping else BOOKKEEPING
    found = descendants(ledger, start, depth=depth, excluding=excluding, stop=end, index=index)
    return Trace(ledger, list(found))


def _start_of(ledger: LedgerStore, id: str, end: int) -> str:
    event = ledger.find(id)
    if event is not None and event.position < end:
        return event.id
    created = {event.type: event.id for event in ledger.events_about({id}, {id}, end)}
    creator = created.get(OBJECT_CREATED) or created.get(RELATION_CREATED)
    if creator is None:
        msg = f"{ledger.stream_name()} has no event, object or relation {id!r}."
        raise EventNotFound(msg, hint=f"`kando events {id_of(ledger)}` lists its events.")
    return creator
