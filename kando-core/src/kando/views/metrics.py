"""The view run-metrics: the activity and resource usage of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from operator import attrgetter
from typing import Any

import attrs
import msgspec

from kando.schema.events import (
    LLM_REQUEST,
    LLM_RESPONSE,
    RESPONDER_COMPLETED,
    RESPONDER_FAILED,
    RESPONDER_FIRED,
    TOOL_CALLED,
    TOOL_RETURNED,
    KandoEvent,
)
from kando.schema.firing import Firing
from kando.views.pending import failed_intent, is_answer
from kando.views.spending import Accounts, spent_by

__all__ = ["MetricsFold", "ResponderMetrics", "RunMetrics", "Usage", "measure", "usage_changes"]


@attrs.frozen
class Usage:
    """Requests to language models, their answers and what these cost.

    Attributes:
        requests: number of requests.
        answers: number of answers to these.
        cached: number of answers from the cache; they cost nothing and use no tokens.
        errors: number of answers that are errors.
        cost_usd: in US dollars.
        input_tokens: as the provider counts them.
        output_tokens: as the provider counts them.
        cache_read_tokens: input tokens that the server read from its cache.
        cache_write_tokens: input tokens that the server wrote to its cache.
    """

    requests: int = 0
    answers: int = 0
    cached: int = 0
    errors: int = 0
    cost_usd: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0


@attrs.frozen
class ResponderMetrics:
    """The activity of one responder.

    Attributes:
        firings: number of completed firings.
        events: number of events that it emitted.
        failures: number of failed firings.
        llm: usage of its requests.
    """

    firings: int = 0
    events: int = 0
    failures: int = 0
    llm: Usage = Usage()


@attrs.frozen
class RunMetrics:
    """The activity and resource usage of a run.

    Attributes:
        events: number of events in the ledger.
        types: number of events by type.
        llm: usage of all requests.
        models: usage by the model that answered; counts only answered requests.
        responders: by name.
        tool_calls: number of requested tool calls.
        tool_errors: number of tool calls that returned an error.
        started_at: time of the first event, or None.
        ended_at: time of the last event, or None.
    """

    events: int
    types: dict[str, int]
    llm: Usage
    models: dict[str, Usage]
    responders: dict[str, ResponderMetrics]
    tool_calls: int
    tool_errors: int
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def elapsed_seconds(self) -> float:
        """Seconds from the first event to the last; a pause in between counts."""
        if self.started_at is None or self.ended_at is None:
            return 0.0
        return (self.ended_at - self.started_at).total_seconds()


def measure(events: Iterable[KandoEvent | Firing]) -> RunMetrics:
    """Fold events into metrics.

    Args:
        events: of a ledger, or of a part of it, in order; a firing counts as its events.
    """
    fold = MetricsFold()
    for event in events:
        if isinstance(event, Firing):
            fold.observe_firing(event)
        else:
            fold.observe(event)
    return fold.metrics()


def usage_changes(
    events: Iterable[KandoEvent],
) -> Iterator[tuple[int, tuple[str, ...], int | float]]:
    """Yield each figure of the usage and of the responders that an event changes.

    A figure that has not changed yet is 0.

    Args:
        events: of a ledger, from the first one on.

    Returns:
        For each change the number of the event, counted from 0, the names that lead to the figure in
        `RunMetrics`, such as ``("models", "small", "cost_usd")``, and its new value.
    """
    fold = MetricsFold()
    known: dict[tuple[str, ...], tuple[int | float, ...]] = {}
    for number, event in enumerate(events):
        fold.observe(event)
        if event.type not in _CHANGING:
            continue
        for path, names, values in fold.accounts():
            before = known.get(path, (0,) * len(values))
            if before == values:
                continue
            known[path] = values
            for name, old, new in zip(names, before, values, strict=True):
                if old != new:
                    yield number, (*path, name), new


@attrs.define
class _Account:
    """A mutable `Usage`."""

    requests: int = 0
    answers: int = 0
    cached: int = 0
    errors: int = 0
    cost_usd: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0

    def add_answer(self, event: KandoEvent, charge: Accounts) -> None:
        self.answers += 1
        self.errors += "error" in event.data
        self.cached += event.data.get("cached") is True
        self.add_spent(event, charge)

    def add_spent(self, event: KandoEvent, charge: Accounts) -> None:
        """Add the cost and tokens of a call, whether it was answered or failed."""
        self.cost_usd += charge.llm_cost_usd
        usage = event.data.get("usage")
        # An answer from the cache uses no tokens, and its usage is that of the original.
        if charge.llm_tokens and isinstance(usage, dict):
            self.input_tokens += _count(usage.get("input_tokens"))
            self.output_tokens += _count(usage.get("output_tokens"))
            self.cache_read_tokens += _count(usage.get("cache_read_tokens"))
            self.cache_write_tokens += _count(usage.get("cache_write_tokens"))

    def usage(self) -> Usage:
        return Usage(**attrs.asdict(self))


_USAGE = tuple(each.name for each in attrs.fields(Usage))
_WORK = ("firings", "events", "failures")
_usage_of, _work_of = attrgetter(*_USAGE), attrgetter(*_WORK)


@attrs.define
class _Work:
    """A mutable `ResponderMetrics`."""

    firings: int = 0
    events: int = 0
    failures: int = 0
    llm: _Account = attrs.field(factory=_Account)

    def metrics(self) -> ResponderMetrics:
        return ResponderMetrics(self.firings, self.events, self.failures, self.llm.usage())


@attrs.define
class MetricsFold:
    """Metrics that are updated event by event and can be stored.

    Attributes:
        types: number of events by type.
        llm: usage of all requests.
        models: usage by the model that answered.
        responders: by name.
        askers: name of the responder that made a request, by the id of each unanswered request.
        tool_errors: number of tool calls that returned an error.
        first: time of the first event, or None.
        last: time of the last event, or None.
    """

    types: dict[str, int] = attrs.field(factory=dict)
    llm: _Account = attrs.field(factory=_Account)
    models: dict[str, _Account] = attrs.field(factory=dict)
    responders: dict[str, _Work] = attrs.field(factory=dict)
    askers: dict[str, str] = attrs.field(factory=dict)
    tool_errors: int = 0
    first: datetime | None = None
    last: datetime | None = None

    def observe(self, event: KandoEvent) -> None:
        """Update the metrics with the next event."""
        if self.first is None:
            self.first = event.timestamp
        self.last = event.timestamp
        kind = event.type
        self.types[kind] = self.types.get(kind, 0) + 1
        if kind == RESPONDER_COMPLETED:
            work = self._work_of(_text(event.data.get("responder")))
            work.firings += 1
            work.events += _count(event.data.get("outputs"))
        elif kind == RESPONDER_FAILED:
            self._work_of(_text(event.data.get("responder"))).failures += 1
            charge = spent_by(event)
            self.llm.add_spent(event, charge)
            asker = self.askers.get(failed_intent(event.data) or "")
            if asker is not None:
                self._work_of(asker).llm.add_spent(event, charge)
        elif kind == LLM_REQUEST:
            self.askers[event.id] = event.actor
            self.llm.requests += 1
            self._work_of(event.actor).llm.requests += 1
        elif not is_answer(event):
            return
        elif kind == LLM_RESPONSE:
            self._observe_answer(event)
        elif kind == TOOL_RETURNED:
            self.tool_errors += "error" in event.data

    def observe_firing(self, firing: Firing) -> None:
        """Update the metrics with the next firing: as `observe` for each of its events."""
        if self.first is None:
            self.first = firing.timestamp
        types = self.types
        types[RESPONDER_FIRED] = types.get(RESPONDER_FIRED, 0) + 1
        for event in firing.outputs:
            self.observe(event)
        types[RESPONDER_COMPLETED] = types.get(RESPONDER_COMPLETED, 0) + 1
        work = self._work_of(firing.responder)
        work.firings += 1
        work.events += len(firing.outputs)
        self.last = firing.timestamp

    def _work_of(self, responder: str) -> _Work:
        work = self.responders.get(responder)
        if work is None:
            work = self.responders[responder] = _Work()
        return work

    def _observe_answer(self, event: KandoEvent) -> None:
        charge = spent_by(event)
        self.llm.add_answer(event, charge)
        of_model = self.models.setdefault(_text(event.data.get("model")), _Account())
        of_model.requests += 1
        of_model.add_answer(event, charge)
        # The request may precede the measured events.
        askers = [self.askers.pop(id) for id in event.cause if id in self.askers]
        for asker in askers[:1]:
            self._work_of(asker).llm.add_answer(event, charge)

    def metrics(self) -> RunMetrics:
        """Return the metrics of the events observed so far."""
        return RunMetrics(
            events=self.length,
            types=dict(sorted(self.types.items())),
            llm=self.llm.usage(),
            models={name: self.models[name].usage() for name in sorted(self.models)},
            responders={name: self.responders[name].metrics() for name in sorted(self.responders)},
            tool_calls=self.types.get(TOOL_CALLED, 0),
            tool_errors=self.tool_errors,
            started_at=self.first,
            ended_at=self.last,
        )

    def accounts(self) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], tuple[Any, ...]]]:
        """Yield the names that lead to each account, and the names and values of its figures."""
        yield ("llm",), _USAGE, _usage_of(self.llm)
        for name, account in self.models.items():
            yield ("models", name), _USAGE, _usage_of(account)
        for name, work in self.responders.items():
            yield ("responders", name), _WORK, _work_of(work)
            yield ("responders", name, "llm"), _USAGE, _usage_of(work.llm)

    @property
    def length(self) -> int:
        """The number of events observed so far."""
        return sum(self.types.values())

    def state(self) -> bytes:
        """Return the encoded fold."""
        return msgspec.json.encode(self)

    @classmethod
    def from_state(cls, state: bytes) -> MetricsFold:
        """Decode a fold that `state` encoded.

        Raises:
            msgspec.DecodeError: it is damaged.
        """
        return msgspec.json.decode(state, type=MetricsFold)


#: Types of the events that may change a figure of usage or of a responder.
_CHANGING = frozenset({RESPONDER_COMPLETED, RESPONDER_FAILED, LLM_REQUEST, LLM_RESPONSE})


# A malformed value from a provider counts as zero or unknown.


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "unknown"
