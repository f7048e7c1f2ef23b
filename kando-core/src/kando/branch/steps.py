"""Align the steps of two ledgers by lineage key, so that the same step is compared with itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import attrs

from kando.schema.differences import decided_data, differences, is_same_data, is_same_json
from kando.schema.events import (
    BRANCH_CREATED,
    LLM_RESPONSE,
    RESPONDER_COMPLETED,
    RESPONDER_FAILED,
    RESPONDER_FIRED,
    RecordedEvent,
)
from kando.schema.firing import Firing, flattened, outputs_of

__all__ = ["StepChange", "StepDiff", "align_steps"]

# The runtime's bookkeeping and the heads of branches are not outputs of responders.
_NO_STEPS = frozenset({RESPONDER_FIRED, RESPONDER_COMPLETED, RESPONDER_FAILED, BRANCH_CREATED})

_OF_FIRINGS = (f"{RESPONDER_FIRED}-", f"{RESPONDER_COMPLETED}-")

# The cost of an answer is accounted for each ledger and is not part of the answer.
_ACCOUNTED = frozenset({"cached", "cost_usd"})


@attrs.frozen
class StepChange:
    """A step that both ledgers have, with different outputs.

    Attributes:
        before: the event in the first ledger.
        after: the event in the second, with the same lineage key.
        fields: value before and after, by the path of the field; None where it is missing.
    """

    before: RecordedEvent
    after: RecordedEvent
    fields: dict[str, tuple[Any, Any]]


@attrs.frozen
class StepDiff:
    """How the outputs of responders differ between two ledgers. False if they do not.

    Attributes:
        changed: steps of both ledgers whose outputs differ.
        only_a: steps of the first ledger only.
        only_b: steps of the second ledger only.
    """

    changed: list[StepChange] = attrs.field(factory=list)
    only_a: list[RecordedEvent] = attrs.field(factory=list)
    only_b: list[RecordedEvent] = attrs.field(factory=list)

    def __bool__(self) -> bool:
        return bool(self.changed or self.only_a or self.only_b)

    def summary(self) -> str:
        """Return a summary in one line: ``2 changed, 1 only in the second``."""
        counts = [
            (len(self.changed), "{} changed"),
            (len(self.only_a), "{} only in the first"),
            (len(self.only_b), "{} only in the second"),
        ]
        return ", ".join(text.format(n) for n, text in counts if n) or "no changes"


def align_steps(
    a: Sequence[RecordedEvent | Firing], b: Sequence[RecordedEvent | Firing]
) -> StepDiff:
    """Align the events of two ledgers by lineage key and return the differences.

    Timestamps and ``data["observed"]`` are not compared. Ids that differ are equal if they name
    the same step.

    Args:
        a: events and firings of the first ledger, in order.
        b: the same of the second.
    """
    steps_a, steps_b = _steps(a), _steps(b)
    compared = _Comparison(_Keys(a), _Keys(b))
    changed = [
        StepChange(before, after, fields)
        for key, before in steps_a.items()
        if (after := steps_b.get(key)) is not None and (fields := compared.fields(before, after))
    ]
    return StepDiff(
        changed,
        [event for key, event in steps_a.items() if key not in steps_b],
        [event for key, event in steps_b.items() if key not in steps_a],
    )


def _steps(items: Iterable[RecordedEvent | Firing]) -> dict[str, RecordedEvent]:
    events = outputs_of(items)
    return {event.lineage_key: event for event in events if event.type not in _NO_STEPS}


@attrs.frozen(slots=False)
class _Keys:
    """The lineage keys of a ledger's events, which are needed only if two steps differ.

    Attributes:
        items: events and firings of the ledger.
    """

    items: Sequence[RecordedEvent | Firing]

    @cached_property
    def of_outputs(self) -> dict[str, str]:
        return {event.id: event.lineage_key for event in outputs_of(self.items)}

    @cached_property
    def of_all(self) -> dict[str, str]:
        return {event.id: event.lineage_key for event in flattened(self.items)}

    def get(self, id: str) -> str | None:
        """Return the lineage key of the event with an id, or None."""
        # The lifecycle events of a firing have default ids; all other events are outputs.
        return (self.of_all if id.startswith(_OF_FIRINGS) else self.of_outputs).get(id)


@attrs.frozen
class _Comparison:
    """Compares events whose ids may differ although they name the same step.

    Attributes:
        keys_a: lineage keys of the first ledger's events.
        keys_b: the same of the second.
    """

    keys_a: _Keys
    keys_b: _Keys

    def fields(self, before: RecordedEvent, after: RecordedEvent) -> dict[str, tuple[Any, Any]]:
        found = [
            each
            for name in ("type", "actor", "cause")
            if (old := getattr(before, name)) != (new := getattr(after, name))
            for each in differences(old, new, name, self._is_same)
        ]
        if not is_same_data(before, after):
            found += differences(_compared(before), _compared(after), "data", self._is_same)
        return {path: (old, new) for path, old, new in found}

    def _is_same(self, old: Any, new: Any) -> bool:
        if is_same_json(old, new):
            return True
        key = self.keys_a.get(old) if isinstance(old, str) else None
        return key is not None and isinstance(new, str) and key == self.keys_b.get(new)


def _compared(event: RecordedEvent) -> dict[str, Any]:
    data = decided_data(event)
    if event.type != LLM_RESPONSE:
        return data
    return {name: value for name, value in data.items() if name not in _ACCOUNTED}
