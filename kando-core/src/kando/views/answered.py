"""The view answered-requests: which requests to models were answered, from which a cache is restored."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from typing import Generic, Self, TypeVar

import attrs
import msgspec

from kando.schema.events import LLM_REQUEST, LLM_RESPONSE, RecordedEvent
from kando.schema.firing import Firing
from kando.views.choices import CHOOSING, Choices
from kando.views.pending import answered_by, is_answer

__all__ = ["OBSERVED_TYPES", "AnsweredRequests", "OpenRequests"]

Value = TypeVar("Value")

#: Types of events that `OpenRequests` has a use for.
OBSERVED_TYPES = CHOOSING | {LLM_REQUEST, LLM_RESPONSE}

_BYTES = 4
_COLUMNS = 3


@attrs.define
class OpenRequests(Generic[Value]):
    """The requests to models that no answer has closed.

    Attributes:
        values: by id.
        choices: for the run.
    """

    values: dict[str, Value] = attrs.field(factory=dict)
    choices: Choices = attrs.field(factory=Choices)

    def observe(self, event: RecordedEvent, value: Value) -> list[Value]:
        """Process the next event of a ledger; return the values of the requests that it answers.

        Args:
            event: of the ledger.
            value: kept for the event if it is a request.
        """
        kind = event.type
        if kind == LLM_REQUEST:
            self.values[event.id] = value
        elif kind == LLM_RESPONSE and is_answer(event):
            ids = answered_by(event)
            return [self.values.pop(id) for id in ids if id in self.values]
        elif kind in CHOOSING:
            self.choices = self.choices.apply(event)
        return []


class _State(msgspec.Struct):
    length: int
    requests: OpenRequests[int]
    models: list[str | None]


_decode_state = msgspec.json.Decoder(_State).decode


class AnsweredRequests:
    """The positions of the answers of models and of their requests.

    Attributes:
        length: number of events observed so far.
        open: positions of the requests that no answer has closed.
    """

    def __init__(self) -> None:
        self.length = 0
        self.open: OpenRequests[int] = OpenRequests()
        # In threes: of a request, of its answer, and the number of the chosen model.
        self._answered = array("I")
        self._models: dict[str | None, int] = {}

    def observe(self, event: RecordedEvent) -> None:
        """Process the next event of the ledger."""
        self.length += 1
        for request in self.open.observe(event, event.position):
            models, model = self._models, self.open.choices.model
            number = models.setdefault(model, len(models))
            self._answered.extend((request, event.position, number))

    def observe_firing(self, firing: Firing) -> None:
        """Process the next firing of the ledger, as `observe` processes each of its events."""
        for event in firing.outputs:
            self.observe(event)
        self.length += len(firing) - len(firing.outputs)

    def last(self, count: int | None = None) -> Iterator[tuple[int, int, str | None]]:
        """Yield the positions of requests and of their answers, and the model that was chosen then.

        Args:
            count: how many of the last ones; all if None.
        """
        models, numbers = [*self._models], self._answered
        first = 0 if count is None else max(len(numbers) - _COLUMNS * count, 0)
        for n in range(first, len(numbers), _COLUMNS):
            yield numbers[n], numbers[n + 1], models[numbers[n + 2]]

    def state(self) -> bytes:
        """Return the encoded view."""
        rest = msgspec.json.encode(_State(self.length, self.open, [*self._models]))
        numbers = array("I", self._answered)
        if sys.byteorder == "big":
            numbers.byteswap()
        return len(rest).to_bytes(_BYTES, "big") + rest + numbers.tobytes()

    @classmethod
    def from_state(cls, state: bytes) -> Self:
        """Decode a view that `state` encoded.

        Raises:
            ValueError: it is damaged.
        """
        end = _BYTES + int.from_bytes(state[:_BYTES], "big")
        rest, found = _decode_state(state[_BYTES:end]), cls()
        found.length, found.open = rest.length, rest.requests
        found._models = {model: number for number, model in enumerate(rest.models)}
        found._answered.frombytes(state[end:])
        if sys.byteorder == "big":
            found._answered.byteswap()
        numbers = found._answered
        is_whole = len(numbers) % _COLUMNS == 0 and len(found._models) == len(rest.models)
        if not is_whole or max(numbers[2::_COLUMNS], default=-1) >= len(rest.models):
            msg = "its parts do not match"
            raise ValueError(msg)
        return found
