"""LLM responders: ask a model with a prompt, and turn its answer into objects and relations.

The conversation is an object of the world, so each step is a plain firing: a run can stop between
any two steps, and can be resumed, forked and replayed there.

A responder that continues conversations keeps the messages in that object. A turn that comes while a
request is pending or tools are called waits there, and enters before the next request.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any

import attrs

from kando.emit import create, patch
from kando.errors import InvalidData, RequestRejected, UnsupportedContent
from kando.responders._cut_answers import was_cut
from kando.responders.answers import failure_of
from kando.responders.asker import (
    CONVERSATION,
    DONE,
    FAILED,
    OPEN,
    Asker,
    Compact,
    Emitted,
    Failure,
    Sending,
    Step,
    changed,
    cleared,
    with_messages,
)
from kando.responders.compaction import Compaction, estimated_tokens, tokens_in, window_after
from kando.responders.compaction_steps import OVERFLOW, cut_after, replace_messages, take_summary
from kando.responders.conversation import (
    answer_message,
    calls_in,
    conversation_id,
    is_too_long,
    waiting_turn,
)
from kando.responders.model_output import Output
from kando.responders.model_requests import request_of, send
from kando.responders.tool_calls import call_tools, take_result
from kando.schema.attachments import with_read_content
from kando.schema.content import has_media, in_words
from kando.schema.events import OBJECT_CREATED, OBJECT_PATCHED, KandoEvent
from kando.world.graph import World, WorldObject

__all__ = ["CONVERSATION", "Home", "LLMResponder"]

#: ``fn(output, about, world)`` yields the events that follow from an answer.
#: ``about`` is the object that the responder asked about, or None if it was about none.
Then = Callable[[Any, Any, World], Iterable[KandoEvent] | None]


@attrs.frozen
class Home:
    """The object that a conversation is about where an event names none.

    Attributes:
        id: of the object, which is created when it is first needed.
        type: of the objects that the responder has conversations about.
        is_default: whether events that name no object belong to this one.
    """

    id: str
    type: str
    is_default: bool


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
        options: further fields of the request; a value may be a function of the world.
        max_turns: how many requests one conversation may contain.
        was: names that it had in earlier versions of the kit.
        continues: whether it continues the conversation that it had about an object before.
        compaction: how a conversation that it continues is compacted; None for not at all.
        home: the object of a conversation that events need not name.
        servers: names of the tool servers that the model may use; None if it may call no tool.
        accepts_cut: whether the whole items of an answer that was cut off count as the answer.
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
    continues: bool = False
    compaction: Compaction | None = None
    home: Home | None = None
    servers: Sequence[str] | None = None
    accepts_cut: bool = False
    _then: Then | None = attrs.field(default=None, init=False)
    _failed: Then | None = attrs.field(default=None, init=False)
    _compact: Compact | None = attrs.field(default=None, init=False)

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

    def compact(self, fn: Compact) -> Compact:
        """Call the decorated ``fn(messages, world)`` in place of asking the model for a summary.

        It returns the messages with which the conversation continues. A call of a tool and its
        result must stay together.
        """
        self._compact = fn
        return fn

    def handlers(self) -> list[Then]:
        """Return the functions that `then` and `failed` have set."""
        return [fn for fn in (self._then, self._failed) if fn is not None]

    def on_event(self, event: KandoEvent, world: World) -> Emitted:
        """Open a conversation about the object of an event, or continue the one about it."""
        values = self.fill(event, world)
        if values is None:
            return
        about = _subject_of(event)
        if self.home is not None:
            about = about or (self.home.id if self.home.is_default else None)
            subject = world.get_object(about) if about is not None else None
            if subject is None and about == self.home.id:
                yield create(self.home.type, {}, id=about)
            elif subject is None or subject.type != self.home.type:
                return
        messages = with_read_content(self.messages(values))
        known = self._known(about, world)
        if known is not None:
            said = [each for each in messages if each["role"] != "system"]
            yield from self._continue(known, said, event, world)
            return
        opened: dict[str, Any] = {"asked_by": self.name, "about": about, "status": OPEN, "turn": 1}
        id = None
        if self.continues:
            id = conversation_id(self.name, about)
            tokens = sum(map(estimated_tokens, messages))
            opened |= {"asked": 1, "tokens": tokens, "waiting": []}
        if is_too_long(messages):
            error = self._too_long()
            failed = {**opened, "status": FAILED, "messages": [], "error": error}
            # A conversation that continues begins with the first turn that can be sent.
            if not self.continues:
                yield create(CONVERSATION, failed)
            yield from _after(self._failed, error, about, world)
            return
        conversation = yield create(CONVERSATION, {**opened, "messages": messages}, id=id)
        id = conversation.data["id"]
        yield request_of(self._asker(), id, 1, messages, about, [event], world)

    def _known(self, about: str | None, world: World) -> WorldObject | None:
        """Return the conversation that this responder had about an object before."""
        if not self.continues:
            return None
        ids = (conversation_id(name, about) for name in (self.name, *self.was))
        # A message may have put another object in its place: then a new conversation begins.
        return next(filter(self._asker().owns, map(world.get_object, ids)), None)

    def _continue(
        self,
        conversation: WorldObject,
        said: list[dict[str, Any]],
        event: KandoEvent,
        world: World,
    ) -> Emitted:
        """Take a further turn: it is sent now, or waits for the request or the tools in flight."""
        data = conversation.data
        if is_too_long(said):
            yield from _after(self._failed, self._too_long(), data["about"], world)
        elif data["status"] == OPEN:
            yield patch(conversation, {"waiting": [*data["waiting"], *waiting_turn(said, event)]})
        else:
            changes = {**with_messages(data, said), "asked": 0}
            yield from send(self._asker(), conversation, Sending(changes, [event.id]), world)

    def _too_long(self) -> dict[str, Any]:
        return {"type": "PromptTooLong", "message": f"The prompt of {self.name} is too long."}

    def on_answer(self, event: KandoEvent, world: World) -> Emitted:
        """Handle an answer of the model: it calls tools, or it ends the turn."""
        asker = self._asker()
        conversation = asker.awaiting(event, world)
        if conversation is None:
            return
        if conversation.data.get("compacting"):
            yield from self._follow(take_summary(asker, conversation, event), conversation, world)
        elif calls_in(event.data):
            step = call_tools(asker, conversation, event, world)
            yield from self._follow(step, conversation, world)
        elif self.accepts_cut and was_cut(event.data):
            yield from self._end(conversation, event, world)
        elif (failure := failure_of(event.data)) is not None:
            cut = cut_after(asker, conversation.data, event.data)
            if cut is None:
                yield from self._fail(conversation, failure, world)
                return
            again = Sending({}, [event.id])
            step = replace_messages(asker, conversation, cut, OVERFLOW, again, world)
            yield from self._follow(step, conversation, world)
        else:
            yield from self._end(conversation, event, world)

    def on_tool(self, event: KandoEvent, world: World) -> Emitted:
        """Handle a result of a tool: when all have arrived, the next request is sent."""
        asker = self._asker()
        conversation = asker.awaiting(event, world)
        if conversation is not None:
            step = take_result(asker, conversation, event)
            yield from self._follow(step, conversation, world)

    def _asker(self) -> Asker:
        """Return the part of this responder that the steps of its conversations depend on."""
        return Asker(
            self.name,
            self.was,
            self.options,
            self.servers,
            self.max_turns,
            self.continues,
            self.compaction,
            self._compact,
        )

    def _follow(self, step: Step, conversation: WorldObject, world: World) -> Emitted:
        """Yield the events of a step, and those of what follows from it."""
        next = yield from step
        if isinstance(next, Failure):
            yield from self._fail(conversation, next.error, world)
        elif next is not None:
            yield from send(self._asker(), conversation, next, world)

    def _end(self, conversation: WorldObject, answer: KandoEvent, world: World) -> Emitted:
        """End a turn with the answer of the model."""
        output = Output(self.output, self.many, self.relation)
        try:
            is_cut = self.accepts_cut and was_cut(answer.data)
            made = output.read_cut(answer.data) if is_cut else output.read(answer.data)
        except InvalidData as error:
            problem = failure_of(answer.data) or {"type": "Misfit", "message": error.message}
            yield from self._fail(conversation, problem, world)
            return
        marked = {"is_cut": True} if is_cut else {}
        ended, conversation = changed(conversation, self._ended(conversation, answer) | marked)
        yield ended
        about = conversation.data["about"]
        if self._then is not None:
            yield from _after(self._then, made, about, world)
        else:
            yield from output.applied(made, about, world)
        yield from self._send_waiting(conversation, world)

    def _ended(self, conversation: WorldObject, answer: KandoEvent) -> dict[str, Any]:
        """Return the changes of a conversation whose turn is answered."""
        if not self.continues:
            return {"status": DONE, "messages": []}
        message = answer_message(answer.data)
        said = with_messages(conversation.data, [message] if message is not None else [])
        known = tokens_in(answer.data)
        used = {"tokens": known} if known is not None else {}
        used |= window_after(conversation.data, answer.data)
        return {"status": DONE, **said, **used, **cleared(conversation.data)}

    def _fail(self, conversation: WorldObject, error: dict[str, Any], world: World) -> Emitted:
        # A conversation that continues keeps its messages: the next turn follows them.
        kept: dict[str, Any] = {"messages": []}
        if self.continues:
            kept = {**cleared(conversation.data), **_without_refused(conversation.data, error)}
        changes = {"status": FAILED, **kept, "error": error}
        failed, conversation = changed(conversation, changes)
        yield failed
        yield from _after(self._failed, error, conversation.data["about"], world)
        yield from self._send_waiting(conversation, world)

    def _send_waiting(self, conversation: WorldObject, world: World) -> Emitted:
        """Send the turns that came while the conversation waited, if there are any."""
        if conversation.data.get("waiting"):
            yield from send(self._asker(), conversation, Sending({}, []), world)

    def answer_class(self) -> Any:
        """Return the class of the whole answer."""
        return Output(self.output, self.many, self.relation).whole()


def _after(fn: Then | None, what: Any, about: str | None, world: World) -> Emitted:
    """Yield the events that a function of the kit emits for an answer, if there is one."""
    subject = world.get_object(about) if about is not None else None
    outputs = fn(what, subject, world) if fn is not None else None
    if isinstance(outputs, Generator):
        # A generator gets each recorded event back from its yield.
        yield from outputs
    else:
        # Nothing can be sent to a list.
        yield from (each for each in outputs or ())


def _subject_of(event: KandoEvent) -> str | None:
    field = "id" if event.type in (OBJECT_CREATED, OBJECT_PATCHED) else "cause_object_id"
    id = event.data.get(field)
    return id if isinstance(id, str) else None


def _without_refused(data: Mapping[str, Any], error: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changes that take images and files which were refused out of a conversation.

    The next turn would be refused with them. A server that rejects a request may refuse those that are
    new in it; a model that takes none refuses all.
    """
    messages = data["messages"]
    start = len(messages)
    if error.get("type") == UnsupportedContent.__name__:
        start = 0
    elif error.get("type") == RequestRejected.__name__:
        answers = [n for n, each in enumerate(messages) if each["role"] == "assistant"]
        start = answers[-1] + 1 if answers else 0
    refused = [*map(has_media, messages[start:])]
    if not any(refused):
        return {}
    return {"messages": [*messages[:start], *map(in_words, messages[start:])]}
