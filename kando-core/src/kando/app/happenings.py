"""The happenings of a run that a person is shown: text as it streams in, and what is recorded, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any

import attrs

from kando.app.run import Run
from kando.app.status import RunStatus
from kando.responders.answers import failure_of
from kando.responders.idempotency import idempotency_key
from kando.schema.events import (
    CONVERSATION_COMPACTED,
    LLM_REQUEST,
    LLM_RESPONSE,
    RUN_PAUSED,
    TOOL_CALLED,
    TOOL_RETURNED,
    RecordedEvent,
)
from kando.views.approvals import Approval
from kando.views.pending import answered_by
from kando.views.questions import Question

__all__ = [
    "AnswerStream",
    "ApprovalAsked",
    "Compacted",
    "Happening",
    "HappeningReader",
    "Problem",
    "QuestionAsked",
    "TextEnded",
    "TextPiece",
    "ToolCalled",
    "ToolReturned",
    "TurnEnded",
]


@attrs.frozen
class TextPiece:
    """A piece of an answer of a model.

    Attributes:
        text: the piece, as the model wrote it.
    """

    text: str


@attrs.frozen
class TextEnded:
    """The answer whose pieces came last is complete."""


@attrs.frozen
class ToolCalled:
    """A call of a tool is recorded.

    Attributes:
        event_id: of the ``tool.called``.
        name: of the tool.
        arguments: by name.
    """

    event_id: str
    name: str
    arguments: Any


@attrs.frozen
class ToolReturned:
    """The result of a call is recorded.

    Attributes:
        call_id: id of its ``tool.called``; empty if it is unknown.
        name: of the tool; empty if it is unknown.
        result: what the tool returned; None if it failed.
        error: why it failed; None if it did not.
    """

    call_id: str
    name: str
    result: Any
    error: str | None


@attrs.frozen
class ApprovalAsked:
    """The run waits for the decision of a person: see `Chat.approve` and `Chat.deny`.

    Attributes:
        approval: what is asked.
        name: of the tool, or the type of the object that waits.
        arguments: of the call, or the data of the object.
    """

    approval: Approval
    name: str
    arguments: Any


@attrs.frozen
class QuestionAsked:
    """The run waits for the words of a person: see `Chat.reply`."""

    question: Question


@attrs.frozen
class Problem:
    """A model gave no answer.

    Attributes:
        message: why.
    """

    message: str


@attrs.frozen
class TurnEnded:
    """The run does not continue without the person.

    Attributes:
        status: of the run.
        cost_usd: known cost of the turn, in US dollars.
        seconds: that it took.
        is_interrupted: whether `Chat.interrupt` ended it.
        has_provider: whether a provider is configured.
    """

    status: RunStatus
    cost_usd: float
    seconds: float
    is_interrupted: bool
    has_provider: bool


@attrs.frozen
class Compacted:
    """The older messages of the conversation were replaced by a summary.

    Attributes:
        tokens_before, tokens_after: of the messages.
    """

    tokens_before: int
    tokens_after: int


Happening = (
    TextPiece
    | TextEnded
    | ToolCalled
    | ToolReturned
    | ApprovalAsked
    | QuestionAsked
    | Problem
    | Compacted
    | TurnEnded
)


@attrs.define(eq=False)
class _Answer:
    """An answer that streams in, as its provider writes it.

    Attributes:
        source: of the request: the run that sent it.
        request_id: of the ``llm.request``.
        is_shown: whether its text is for a person.
        kept: the part of it that waits until another answer is complete.
        is_complete: whether all of it has been taken from the stream.
    """

    source: str
    request_id: str
    is_shown: bool
    kept: str = ""
    is_complete: bool = False


class AnswerStream:
    """Receives the text of answers as it streams in: open the store with ``listen=stream.listen``."""

    def __init__(self) -> None:
        self._parts: SimpleQueue[tuple[_Answer, str | None]] = SimpleQueue()
        self._answers: list[_Answer] = []

    @contextmanager
    def listen(self, request: dict[str, Any]) -> Iterator[Callable[[str], None]]:
        """Yield the function that receives the pieces of one answer."""
        # The key of a call begins with the run and the request.
        source, _, rest = idempotency_key().partition("/")
        answer = _Answer(source, rest.partition("/")[0], _is_for_a_person(request))
        self._answers.append(answer)
        self._parts.put((answer, ""))
        try:
            yield lambda piece: self._parts.put((answer, piece)) if piece else None
        finally:
            self._parts.put((answer, None))

    def hide(self) -> None:
        """Show nothing more of the answers that have begun."""
        for answer in list(self._answers):
            answer.is_shown = False

    def take(self) -> tuple[_Answer, str | None] | None:
        """Return the next piece and its answer, or None; a piece that is None ends its answer."""
        try:
            return self._parts.get_nowait()
        except Empty:
            return None

    def find(self, requests: Sequence[str]) -> _Answer | None:
        """Return the answer to a request that streamed in last, once; None if none did."""
        found = [each for each in list(self._answers) if each.request_id in requests]
        for answer in found:
            self._answers.remove(answer)
        return found[-1] if found else None


def _is_for_a_person(data: dict[str, Any]) -> bool:
    """Whether an answer is text for a person: not JSON, and not the summary of a conversation."""
    place = data.get("conversation")
    return "output_schema" not in data and not (isinstance(place, dict) and place.get("compacts"))


class HappeningReader:
    """Turns the events of a run, and the text that streams in, into what happens, in order.

    Attributes:
        is_paused: whether a pause of the run has been read.
    """

    def __init__(self, stream: AnswerStream) -> None:
        self._stream = stream
        self._events: deque[RecordedEvent] = deque()
        self._hidden: set[str] = set()
        self._calls: dict[str, str] = {}
        self.is_paused = False
        # One answer at a time is shown as it streams in; the others wait until it is complete.
        self._live: _Answer | None = None
        self._kept: list[_Answer] = []

    def follow(self, run: Run, position: int, sources: Collection[str]) -> None:
        """Follow a run from a position on.

        Args:
            run: the run or branch.
            position: of the first event.
            sources: of the run, and of those that it was forked from.
        """
        self._run, self._position, self._sources = run, position, sources
        self._events.clear()
        # The text that still streams in belongs to the run before.
        self._live, self._kept = None, []
        self._stream.hide()

    def news(self) -> Iterator[Happening]:
        """Yield what has happened since the last call."""
        yield from self._streamed()
        yield from self._recorded()

    def _recorded(self) -> Iterator[Happening]:
        for event in self._run.follow(self._position):
            self._events.append(event)
            self._position = event.position + 1
        while self._events:
            yield from self._shown(self._events.popleft())

    def _shown(self, event: RecordedEvent) -> Iterator[Happening]:
        data = event.data
        if event.type == LLM_REQUEST and not _is_for_a_person(data):
            self._hidden.add(event.id)
        elif event.type == LLM_RESPONSE:
            yield from self._answered(event)
        elif event.type == CONVERSATION_COMPACTED:
            yield Compacted(int(data["tokens_before"]), int(data["tokens_after"]))
        elif event.type == RUN_PAUSED:
            self.is_paused = True
        elif event.type == TOOL_CALLED:
            name = str(data.get("tool", ""))
            self._calls[event.id] = name
            yield ToolCalled(event.id, name, data.get("arguments"))
        elif event.type == TOOL_RETURNED:
            call = next((id for id in answered_by(event) if id in self._calls), "")
            failure = failure_of(data)
            error = str(failure.get("message")) if failure is not None else None
            yield ToolReturned(call, self._calls.pop(call, ""), data.get("result"), error)

    def _answered(self, event: RecordedEvent) -> Iterator[Happening]:
        requests = answered_by(event)
        text, failure = str(event.data.get("text") or ""), failure_of(event.data)
        streamed = self._stream.find(requests)
        if streamed is not None:
            # Its last pieces are on their way; they come before what follows from it.
            yield from self._streamed(streamed)
        elif text and failure is None and not self._hidden.intersection(requests):
            yield TextPiece(text)
            yield TextEnded()
        self._hidden.difference_update(requests)
        if failure is not None:
            yield Problem(str(failure.get("message")))

    def _streamed(self, until: _Answer | None = None) -> Iterator[Happening]:
        """Yield the text that has streamed in; up to the end of one answer if it is given."""
        while until is None or not until.is_complete:
            part = self._stream.take()
            if part is None:
                return
            answer, piece = part
            if piece is None:
                answer.is_complete = True
                if answer is self._live:
                    yield from self._complete()
            elif not piece:
                # A child run has its own answers.
                answer.is_shown = answer.is_shown and answer.source in self._sources
                # Events that were recorded before come first.
                yield from self._recorded()
            elif answer.is_shown:
                yield from self._piece(answer, piece)

    def _piece(self, answer: _Answer, piece: str) -> Iterator[Happening]:
        if self._live is None:
            self._live = answer
        if answer is self._live:
            yield TextPiece(piece)
            return
        if answer not in self._kept:
            self._kept.append(answer)
        answer.kept += piece

    def _complete(self) -> Iterator[Happening]:
        """End the answer that is shown, and show those that have waited for that."""
        self._live = None
        yield TextEnded()
        while self._kept:
            answer = self._kept.pop(0)
            yield TextPiece(answer.kept)
            if not answer.is_complete:
                self._live = answer
                return
            yield TextEnded()
