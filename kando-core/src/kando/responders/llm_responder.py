"""LLM responders: ask a model with a prompt, and turn its answer into objects and relations.

The conversation is an object of the world, so each step is a plain firing: a run can stop between
any two steps, and can be resumed, forked and replayed there.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any

import attrs
import msgspec

from kando.emit import ask, call_tool, create, emit, patch, relate
from kando.errors import InvalidData
from kando.responders.answers import failure_of, text_of
from kando.responders.conversation import (
    assistant_message,
    calls_in,
    is_too_long,
    malformed_in,
    rejection,
    tool_message,
    tool_result,
)
from kando.responders.structured import schema_of, structure
from kando.schema.attachments import with_read_content
from kando.schema.events import OBJECT_CREATED, OBJECT_PATCHED, TOOL_CALLED, KandoEvent
from kando.schema.typed import to_json
from kando.world.graph import World, WorldObject

__all__ = ["CONVERSATION", "LLMResponder"]

#: Object type of conversations.
CONVERSATION = "Conversation"

_OPEN, _DONE, _FAILED = "open", "done", "failed"

_Error = dict[str, Any]
_Emitted = Generator[KandoEvent, Any, None]

#: ``fn(output, about, world)`` yields the events that follow from an answer.
Then = Callable[[Any, WorldObject | None, World], Iterable[KandoEvent] | None]


@attrs.define(eq=False)
class LLMResponder:
    """Asks a model about an object, and turns its answer into objects and relations.

    Attributes:
        name: of the responder.
        fill: ``fill(event, world)`` returns the values of the prompt, or None to send no request.
        messages: ``messages(values)`` returns the messages of the first request.
        output: attrs class of the answer; None for text.
        many: whether the answer is a list of `output`.
        relation: type of the relation from each object that the answer creates to the object it is
            about; None for no relation.
        options: further fields of the request.
        max_turns: how many requests one conversation may contain.
        was: names that it had in earlier versions of the kit.
    """

    name: str
    fill: Callable[[Any, World], Mapping[str, Any] | None]
    messages: Callable[[Mapping[str, Any]], list[dict[str, Any]]]
    output: type | None
    many: bool
    relation: str | None
    options: dict[str, Any]
    max_turns: int
    was: Sequence[str] = ()
    _then: Then | None = attrs.field(default=None, init=False)
    _failed: Then | None = attrs.field(default=None, init=False)

    def __call__(self, event: KandoEvent, world: World) -> Mapping[str, Any] | None:
        """Return the values of the prompt."""
        return self.fill(event, world)

    def then(self, fn: Then) -> Then:
        """Call the decorated ``fn(output, about, world)`` with each answer; it yields events."""
        self._then = fn
        return fn

    def failed(self, fn: Then) -> Then:
        """Call the decorated ``fn(error, about, world)`` if there is no answer; it yields events.

        Its first argument has ``type`` and ``message``.
        """
        self._failed = fn
        return fn

    def handlers(self) -> list[Then]:
        """Return the functions that `then` and `failed` have set."""
        return [fn for fn in (self._then, self._failed) if fn is not None]

    def on_event(self, event: KandoEvent, world: World) -> _Emitted:
        """Open a conversation about the object of an event."""
        values = self.fill(event, world)
        if values is None:
            return
        about = _subject_of(event)
        messages = with_read_content(self.messages(values))
        opened = {"asked_by": self.name, "about": about, "status": _OPEN, "turn": 1}
        if is_too_long(messages):
            error = {"type": "PromptTooLong", "message": f"The prompt of {self.name} is too long."}
            yield create(
                CONVERSATION, {**opened, "status": _FAILED, "messages": [], "error": error}
            )
            yield from self._after(self._failed, error, about, world)
            return
        conversation = yield create(CONVERSATION, {**opened, "messages": messages})
        yield self._request(conversation.data["id"], 1, messages, about, [event])

    def on_answer(self, event: KandoEvent, world: World) -> _Emitted:
        """Handle an answer of the model: it calls tools, or it ends the conversation."""
        conversation = self._conversation(event, world)
        if conversation is None:
            return
        failure = failure_of(event.data)
        if calls_in(event.data):
            yield from self._call(conversation, assistant_message(event.data), event, world)
        elif failure is not None:
            yield from self._fail(conversation, failure, world)
        else:
            try:
                output = self._output_of(event.data)
            except InvalidData as error:
                problem = {"type": "Misfit", "message": error.message}
                yield from self._fail(conversation, problem, world)
                return
            yield patch(conversation, {"status": _DONE, "messages": []})
            about = conversation.data["about"]
            if self._then is not None:
                yield from self._after(self._then, output, about, world)
            else:
                yield from self._apply(output, about, world)

    def on_tool(self, event: KandoEvent, world: World) -> _Emitted:
        """Handle a result of a tool: when all have arrived, the next request is sent."""
        conversation = self._conversation(event, world)
        if conversation is None:
            return
        slot = _slot(event.data["conversation"]["call"])
        reply = conversation.data["said"]
        results = {**conversation.data, slot: tool_result(event)}
        if all(results.get(_slot(n)) for n in range(len(reply["tool_calls"]))):
            yield from self._next_turn(conversation, reply, results, world)
        else:
            yield patch(conversation, {slot: results[slot]})

    def _conversation(self, event: KandoEvent, world: World) -> WorldObject | None:
        """Return the conversation that waits for an answer, if it belongs to this responder."""
        place = event.data.get("conversation")
        if not isinstance(place, dict):
            return None
        found = world.get_object(str(place.get("id")))
        names = (self.name, *self.was)
        if found is None or found.type != CONVERSATION or found.data["asked_by"] not in names:
            return None
        is_awaited = found.data["status"] == _OPEN and found.data["turn"] == place.get("turn")
        return found if is_awaited else None

    def _call(
        self,
        conversation: WorldObject,
        reply: dict[str, Any],
        event: KandoEvent,
        world: World,
    ) -> _Emitted:
        calls, turn = reply["tool_calls"], conversation.data["turn"]
        if turn >= self.max_turns:
            message = f"After {turn} turns the answer still contains tool calls."
            error = {"type": "TooManyTurns", "message": message}
            yield from self._fail(conversation, error, world)
            return
        offered = [tool["name"] for tool in self.options.get("tools", ())]
        malformed = malformed_in(event.data)
        refused = {
            _slot(n): {"content": why, "is_error": True, "event": event.id}
            for n, call in enumerate(calls)
            if (why := rejection(n, call, offered, malformed)) is not None
        }
        if len(refused) == len(calls):
            yield from self._next_turn(conversation, reply, refused, world)
            return
        yield patch(conversation, {"said": reply, **refused})
        about = conversation.data["about"]
        for n, call in enumerate(calls):
            if _slot(n) not in refused:
                place = {"id": conversation.id, "turn": turn, "call": n}
                called = call_tool(call["name"], call["arguments"], about=about)
                yield emit(TOOL_CALLED, {**called.data, "conversation": place})

    def _next_turn(
        self,
        conversation: WorldObject,
        reply: dict[str, Any],
        results: Mapping[str, Any],
        world: World,
    ) -> _Emitted:
        found = [results[_slot(n)] for n in range(len(reply["tool_calls"]))]
        answers = map(tool_message, reply["tool_calls"], found)
        messages = [*conversation.data["messages"], reply, *answers]
        turn, about = conversation.data["turn"] + 1, conversation.data["about"]
        emptied = {_slot(n): None for n in range(len(found))}
        yield patch(conversation, {"turn": turn, "messages": messages, "said": None, **emptied})
        cause = list(dict.fromkeys(each["event"] for each in found))
        yield self._request(conversation.id, turn, messages, about, cause)

    def _request(
        self,
        conversation: str,
        turn: int,
        messages: list[dict[str, Any]],
        about: str | None,
        cause: list[KandoEvent | str],
    ) -> KandoEvent:
        place = {"id": conversation, "turn": turn}
        request = ask(messages, about=about, conversation=place, **self.options)
        return emit(request.type, request.data, cause=cause)

    def _fail(self, conversation: WorldObject, error: _Error, world: World) -> _Emitted:
        yield patch(conversation, {"status": _FAILED, "messages": [], "error": error})
        yield from self._after(self._failed, error, conversation.data["about"], world)

    def _after(self, fn: Then | None, what: Any, about: str | None, world: World) -> _Emitted:
        """Yield the events that a function of the kit emits for an answer, if there is one."""
        subject = world.get_object(about) if about is not None else None
        outputs = fn(what, subject, world) if fn is not None else None
        if isinstance(outputs, Generator):
            # A generator gets each recorded event back from its yield.
            yield from outputs
        else:
            # Nothing can be sent to a list.
            yield from (each for each in outputs or ())

    def _output_of(self, answer: Mapping[str, Any]) -> Any:
        """Return an answer as text, as an `output` or as a list of them.

        Raises:
            InvalidData: the answer does not match.
        """
        if self.output is None:
            text = text_of(answer)
            if text is not None:
                return text
            msg = "The answer has no text."
            raise InvalidData(msg, hint="Check the provider that returned it.")
        data = answer.get("data")
        if "data" not in answer:
            try:
                data = msgspec.json.decode(str(answer.get("text", "")))
            except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
                msg = "The answer is not JSON."
                raise InvalidData(msg, hint="Check the provider that returned it.") from error
        made = structure(self.answer_class(), data)
        return list(made.items) if self.many else made

    def answer_class(self) -> Any:
        """Return the class of the whole answer."""
        if not self.many:
            return self.output
        items: Any = list[self.output]  # type: ignore[name-defined]
        return attrs.make_class("Answer", {"items": attrs.field(type=items)}, frozen=True)

    def _apply(self, output: Any, about: str | None, world: World) -> _Emitted:
        """Yield the objects and relations that follow from an answer by default."""
        subject = world.get_object(about) if about is not None else None
        if self.output is None:
            if subject is not None:
                yield patch(subject, {"text": output})
            return
        for each in output if self.many else [output]:
            data, type = to_json(each), self.output.__name__
            if subject is not None and subject.type == type and not self.many:
                yield patch(subject, data)
                continue
            made = yield create(type, data)
            if self.relation is not None and subject is not None:
                yield relate(self.relation, made, subject)


def request_options(
    output: Any, tools: list[dict[str, Any]], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the fields of a request other than its messages."""
    schema = {"output_schema": schema_of(output)} if output is not None else {}
    return {**options, **schema, **({"tools": tools} if tools else {})}


def _subject_of(event: KandoEvent) -> str | None:
    field = "id" if event.type in (OBJECT_CREATED, OBJECT_PATCHED) else "cause_object_id"
    id = event.data.get(field)
    return id if isinstance(id, str) else None


def _slot(number: int) -> str:
    return f"result {number}"
