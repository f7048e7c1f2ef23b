"""The happenings of a run that a person is shown: text as it streams in, and what is recorded, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any

import attrs

from kando.app.run import Run
from kando.app.status import RunStatus
from kando.responders.answers import failure_of
from kando.schema.events import (
    ECHOED,
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


Happening = (
    TextPiece
    | TextEnded
    | ToolCalled
    | ToolReturned
    | ApprovalAsked
    | QuestionAsked
    | Problem
    | TurnEnded
)


@attrs.define(eq=False)
class _Answer:
    """An answer that streams in, as its provider writes it.

    Attributes:
        is_shown: whether its text is for a person; JSON is not.
        place: what its request says of where it belongs, which its ``llm.response`` repeats.
        text: all of it so far.
        kept: the part of it that waits until another answer is complete.
        is_complete: whether all of it has been taken from the stream.
    """

    is_shown: bool
    place: dict[str, Any]
    text: str = ""
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
        answer = _Answer("output_schema" not in request, _place_of(request))
        self._answers.append(answer)

        def on_text(piece: str) -> None:
            answer.text += piece
            self._parts.put((answer, piece))

        self._parts.put((answer, ""))
        try:
            yield on_text
        finally:
            self._parts.put((answer, None))

    def hide(self) -> None:
        """Show nothing more of the answers that have begun."""
        while (answer := next(iter(self._answers), None)) is not None:
            answer.is_shown = False
            self._answers.remove(answer)

    def take(self) -> tuple[_Answer, str | None] | None:
        """Return the next piece and its answer, or None; a piece that is None ends its answer."""
        try:
            return self._parts.get_nowait()
        except Empty:
            return None

    def find(self, response: dict[str, Any]) -> _Answer | None:
        """Return the answer that an ``llm.response`` records, once; None if it did not stream in."""
        text, place = str(response.get("text") or ""), _place_of(response)
        here = [each for each in self._answers if each.place == place]
        found = next((each for each in here if each.text == text), None)
        if found is None and not response.get("cached"):
            # A provider may record other text than it has shown, and none of an attempt that failed.
            found = here[0] if here else None
        if found is not None:
            self._answers.remove(found)
        return found


def _place_of(data: dict[str, Any]) -> dict[str, Any]:
    return {field: data[field] for field in ECHOED if field in data}


class HappeningReader:
    """Turns the events of a run, and the text that streams in, into what happens, in order.

    Attributes:
        is_paused: whether a pause of the run has been read.
    """

    def __init__(self, stream: AnswerStream) -> None:
        self._stream = stream
        self._events: deque[RecordedEvent] = deque()
        self._structured: set[str] = set()
        self._calls: dict[str, str] = {}
        self.is_paused = False
        # One answer at a time is shown as it streams in; the others wait until it is complete.
        self._live: _Answer | None = None
        self._kept: list[_Answer] = []

    def follow(self, run: Run, position: int) -> None:
        """Follow a run from a position on."""
        self._run, self._position = run, position
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
        if event.type == LLM_REQUEST and "output_schema" in data:
            self._structured.add(event.id)
        elif event.type == LLM_RESPONSE:
            yield from self._answered(event)
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
        text, failure = str(event.data.get("text") or ""), failure_of(event.data)
        streamed = self._stream.find(event.data)
        if streamed is not None:
            # Its last pieces are on their way; they come before what follows from it.
            yield from self._streamed(streamed)
        elif text and failure is None and not self._structured.intersection(answered_by(event)):
            yield TextPiece(text)
            yield TextEnded()
        self._structured.difference_update(answered_by(event))
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
                # An answer begins: what was recorded before comes first.
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
