"""LLM responders: ask a model with a prompt, and turn its answer into objects and relations.

The conversation is an object of the world, so each step is a plain firing: a run can stop between
any two steps, and can be resumed, forked and replayed there.

A responder that continues conversations keeps the messages in that object. A turn that comes while a
request is pending or tools are called waits there, and enters before the next request.
"""

# long: the steps of one protocol, side by side: ask, call tools, wait, compact, ask again.

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any, TypeGuard

import attrs
import msgspec

from kando.emit import ask, call_tool, create, emit, patch, relate
from kando.errors import InvalidData, RequestRejected, UnsupportedContent
from kando.responders.answers import failure_of, text_of
from kando.responders.compaction import (
    Compaction,
    checked_messages,
    estimated_tokens,
    is_overflow,
    replaced_by,
    shortened,
    summarized,
    tokens_in,
)
from kando.responders.conversation import (
    answer_message,
    assistant_message,
    calls_in,
    conversation_id,
    entered,
    is_too_long,
    malformed_in,
    rejection,
    tool_message,
    tool_result,
    waiting_turn,
)
from kando.responders.structured import schema_of, structure
from kando.responders.tool_servers import offered_tools
from kando.schema.attachments import with_read_content
from kando.schema.content import has_media, in_words
from kando.schema.events import (
    CONVERSATION_COMPACTED,
    OBJECT_CREATED,
    OBJECT_PATCHED,
    TOOL_CALLED,
    KandoEvent,
)
from kando.schema.typed import to_json
from kando.world.graph import World, WorldObject

__all__ = ["CONVERSATION", "Home", "LLMResponder"]

#: Object type of conversations.
CONVERSATION = "Conversation"

_OPEN, _DONE, _FAILED = "open", "done", "failed"

_Error = dict[str, Any]
_Emitted = Generator[KandoEvent, Any, None]

#: ``fn(output, about, world)`` yields the events that follow from an answer.
Then = Callable[[Any, WorldObject | None, World], Iterable[KandoEvent] | None]

#: ``fn(messages, world)`` returns the messages that replace those of a conversation.
Compact = Callable[[list[dict[str, Any]], World], list[dict[str, Any]]]

#: Why a conversation is compacted: its messages exceed the limit, or the server refused them.
_LIMIT, _OVERFLOW = "limit", "overflow"


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
        options: further fields of the request.
        max_turns: how many requests one conversation may contain.
        was: names that it had in earlier versions of the kit.
        continues: whether it continues the conversation that it had about an object before.
        compaction: how a conversation that it continues is compacted; None for not at all.
        home: the object of a conversation that events need not name.
        servers: names of the tool servers that the model may use; None if it may call no tool.
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

    def on_event(self, event: KandoEvent, world: World) -> _Emitted:
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
        opened: dict[str, Any] = {"asked_by": self.name, "about": about, "status": _OPEN, "turn": 1}
        id = None
        if self.continues:
            id = conversation_id(self.name, about)
            tokens = sum(map(estimated_tokens, messages))
            opened |= {"asked": 1, "tokens": tokens, "waiting": []}
        if is_too_long(messages):
            error = self._too_long()
            failed = {**opened, "status": _FAILED, "messages": [], "error": error}
            # A conversation that continues begins with the first turn that can be sent.
            if not self.continues:
                yield create(CONVERSATION, failed)
            yield from self._after(self._failed, error, about, world)
            return
        conversation = yield create(CONVERSATION, {**opened, "messages": messages}, id=id)
        yield self._request(conversation.data["id"], 1, messages, about, [event], world)

    def _known(self, about: str | None, world: World) -> WorldObject | None:
        """Return the conversation that this responder had about an object before."""
        if not self.continues:
            return None
        ids = (conversation_id(name, about) for name in (self.name, *self.was))
        # A message may have put another object in its place: then a new conversation begins.
        return next(filter(self._is_mine, map(world.get_object, ids)), None)

    def _is_mine(self, found: WorldObject | None) -> TypeGuard[WorldObject]:
        """Whether an object is a conversation of this responder."""
        names = (self.name, *self.was)
        return (
            found is not None and found.type == CONVERSATION and found.data.get("asked_by") in names
        )

    def _continue(
        self,
        conversation: WorldObject,
        said: list[dict[str, Any]],
        event: KandoEvent,
        world: World,
    ) -> _Emitted:
        """Take a further turn: it is sent now, or waits for the request or the tools in flight."""
        data = conversation.data
        if is_too_long(said):
            yield from self._after(self._failed, self._too_long(), data["about"], world)
        elif data["status"] == _OPEN:
            yield patch(conversation, {"waiting": [*data["waiting"], *waiting_turn(said, event)]})
        else:
            yield from self._send(
                conversation, {**_with(data, said), "asked": 0}, [event.id], world
            )

    def _too_long(self) -> _Error:
        return {"type": "PromptTooLong", "message": f"The prompt of {self.name} is too long."}

    def on_answer(self, event: KandoEvent, world: World) -> _Emitted:
        """Handle an answer of the model: it calls tools, or it ends the turn."""
        conversation = self._conversation(event, world)
        if conversation is None:
            return
        failure = failure_of(event.data)
        if conversation.data.get("compacting"):
            yield from self._summarized(conversation, event, world)
        elif calls_in(event.data):
            yield from self._call(conversation, assistant_message(event.data), event, world)
        elif failure is not None:
            cut = self._cut_after(conversation, event.data)
            if cut is not None:
                yield from self._compacted(conversation, {}, cut, _OVERFLOW, [event.id], world)
            else:
                yield from self._fail(conversation, failure, world)
        else:
            try:
                output = self._output_of(event.data)
            except InvalidData as error:
                problem = {"type": "Misfit", "message": error.message}
                yield from self._fail(conversation, problem, world)
                return
            ended, conversation = _patched(conversation, self._ended(conversation, event))
            yield ended
            about = conversation.data["about"]
            if self._then is not None:
                yield from self._after(self._then, output, about, world)
            else:
                yield from self._apply(output, about, world)
            yield from self._send_waiting(conversation, world)

    def _ended(self, conversation: WorldObject, answer: KandoEvent) -> dict[str, Any]:
        """Return the changes of a conversation whose turn is answered."""
        if not self.continues:
            return {"status": _DONE, "messages": []}
        message = answer_message(answer.data)
        said = _with(conversation.data, [message] if message is not None else [])
        known = tokens_in(answer.data)
        used = {"tokens": known} if known is not None else {}
        return {"status": _DONE, **said, **used, **_cleared(conversation.data)}

    def _send_waiting(self, conversation: WorldObject, world: World) -> _Emitted:
        """Send the turns that came while the conversation waited, if there are any."""
        if conversation.data.get("waiting"):
            yield from self._send(conversation, {}, [], world)

    def _send(
        self,
        conversation: WorldObject,
        changes: dict[str, Any],
        cause: list[str],
        world: World,
        *,
        may_compact: bool = True,
    ) -> _Emitted:
        """Send the next request of a conversation, with the turns that wait.

        Args:
            conversation: that is continued.
            changes: of it that are not recorded yet.
            cause: events that the request follows from.
            world: that is handled in.
            may_compact: whether it is compacted first if it is too long.
        """
        state = {**conversation.data, **changes}
        turns, came_with = entered(state["waiting"])
        if turns:
            changes = {**changes, **_with(state, turns), "waiting": [], "asked": 0}
            cause, state = [*cause, *came_with], {**state, **changes}
        if may_compact and self.compaction is not None:
            is_long = state["tokens"] > self.compaction.limit
            cut = self.compaction.cut(state["messages"], state["tokens"]) if is_long else None
            if cut is not None:
                yield from self._compacted(conversation, changes, cut, _LIMIT, cause, world)
                return
        turn = state["turn"] + 1
        counted = {"status": _OPEN, "turn": turn, "asked": state["asked"] + 1}
        yield patch(conversation, {**changes, **counted})
        # The turns that were summarized are among the causes.
        compacted = [state["compacted"]] if state.get("compacted") else []
        messages, about = state["messages"], state["about"]
        yield self._request(conversation.id, turn, messages, about, [*cause, *compacted], world)

    def _cut_after(self, conversation: WorldObject, answer: Mapping[str, Any]) -> int | None:
        """Return how many messages to replace after an answer, or None if it fails the turn."""
        data = conversation.data
        if self.compaction is None or data.get("retried") or not is_overflow(answer):
            return None
        return self.compaction.cut(data["messages"], data["tokens"])

    def _compacted(
        self,
        conversation: WorldObject,
        changes: dict[str, Any],
        cut: int,
        why: str,
        cause: list[str],
        world: World,
    ) -> _Emitted:
        """Compact a conversation by the kit's own function, or ask the model for a summary."""
        assert self.compaction is not None
        state = {**conversation.data, **changes}
        if self._compact is not None:
            made = self._compact([dict(each) for each in state["messages"]], world)
            messages = checked_messages(made, f"The compaction of {self.name}")
            yield from self._replaced(conversation, changes, messages, why, cause, world)
            return
        turn = state["turn"] + 1
        compacting = {"cut": cut, "why": why, "cause": cause}
        yield patch(
            conversation, {**changes, "status": _OPEN, "turn": turn, "compacting": compacting}
        )
        asked = state["messages"][:cut]
        if why == _OVERFLOW:
            asked = shortened(asked, state["tokens"] // 2)
        asked = [*asked, {"role": "user", "content": self.compaction.prompt}]
        options = {**self._options(world)}
        options.pop("output_schema", None)
        if "tools" in options:
            options["tool_choice"] = "none"
        place = {"id": conversation.id, "turn": turn, "compacts": True}
        request = ask(asked, about=state["about"], conversation=place, **options)
        yield emit(request.type, request.data, cause=[*cause])

    def _summarized(self, conversation: WorldObject, event: KandoEvent, world: World) -> _Emitted:
        """Handle the answer to a request for a summary."""
        assert self.compaction is not None
        compacting, data = conversation.data["compacting"], conversation.data
        text = text_of(event.data)
        summary = text.strip() if text is not None and not calls_in(event.data) else ""
        why, cause = compacting["why"], compacting["cause"]
        if summary or (why == _OVERFLOW and is_overflow(event.data)):
            cut, keep = compacting["cut"], self.compaction.kept
            by = summarized(data["messages"], cut, summary or None, keep)
            messages = [*by, *data["messages"][cut:]]
            yield from self._replaced(conversation, {}, messages, why, cause, world, [event])
        elif why == _LIMIT:
            # The limit is an estimate: without a summary, the server decides.
            changes = {"compacting": None}
            yield from self._send(
                conversation, changes, [event.id, *cause], world, may_compact=False
            )
        else:
            none = {
                "type": "NoSummary",
                "message": "The model gave no summary of the conversation.",
            }
            yield from self._fail(conversation, failure_of(event.data) or none, world)

    def _replaced(
        self,
        conversation: WorldObject,
        changes: dict[str, Any],
        messages: list[dict[str, Any]],
        why: str,
        cause: list[str],
        world: World,
        summary: list[KandoEvent | str] | None = None,
    ) -> _Emitted:
        """Replace the messages of a conversation, and send its next request."""
        state = {**conversation.data, **changes}
        replaced, by = replaced_by(state["messages"], messages)
        about = {"cause_object_id": state["about"]} if state["about"] is not None else {}
        tokens = sum(map(estimated_tokens, messages))
        measured = {"tokens_before": state["tokens"], "tokens_after": tokens}
        made = {"conversation_id": conversation.id, **about, "why": why, **measured}
        # The compactions of a conversation are a chain that begins with the first turn.
        before = state.get("compacted") or conversation.event_id
        compacted = yield emit(
            CONVERSATION_COMPACTED,
            {**made, "replaced": replaced, "by": by},
            cause=[*(summary or cause), before],
        )
        retried = {"retried": True} if why == _OVERFLOW else {}
        changes = {**changes, "messages": messages, "tokens": tokens, "compacting": None, **retried}
        changes["compacted"] = compacted.id
        yield from self._send(conversation, changes, cause, world, may_compact=False)

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
        if not self._is_mine(found):
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
        asked = conversation.data["asked"] if self.continues else turn
        if asked >= self.max_turns:
            message = f"After {asked} turns the answer still contains tool calls."
            error = {"type": "TooManyTurns", "message": message}
            yield from self._fail(conversation, error, world)
            return
        offered = [tool["name"] for tool in self._options(world).get("tools", ())]
        malformed = malformed_in(event.data)
        refused = {
            _slot(n): {"content": why, "is_error": True, "event": event.id}
            for n, call in enumerate(calls)
            if (why := rejection(n, call, offered, malformed)) is not None
        }
        if len(refused) == len(calls):
            yield from self._next_turn(conversation, reply, refused, world)
            return
        used = {}
        if self.continues and (known := tokens_in(event.data)) is not None:
            # The answer counts when it becomes a message.
            used = {"tokens": known - estimated_tokens(reply)}
        yield patch(conversation, {"said": reply, **refused, **used})
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
        cause = list(dict.fromkeys(each["event"] for each in found))
        emptied = {"said": None, **{_slot(n): None for n in range(len(found))}}
        if self.continues:
            added = _with(conversation.data, [reply, *answers])
            changes = {**added, **emptied, **_cleared(conversation.data)}
            yield from self._send(conversation, changes, cause, world)
            return
        messages = [*conversation.data["messages"], reply, *answers]
        turn, about = conversation.data["turn"] + 1, conversation.data["about"]
        yield patch(conversation, {"turn": turn, "messages": messages, **emptied})
        yield self._request(conversation.id, turn, messages, about, cause, world)

    def _request(
        self,
        conversation: str,
        turn: int,
        messages: list[dict[str, Any]],
        about: str | None,
        cause: list[KandoEvent | str],
        world: World,
    ) -> KandoEvent:
        place = {"id": conversation, "turn": turn}
        request = ask(messages, about=about, conversation=place, **self._options(world))
        return emit(request.type, request.data, cause=cause)

    def _options(self, world: World) -> dict[str, Any]:
        """Return the further fields of a request, with the tools of servers as the ledger has them."""
        served = offered_tools(world, self.servers) if self.servers is not None else []
        if not served:
            return self.options
        return {**self.options, "tools": [*self.options.get("tools", ()), *served]}

    def _fail(self, conversation: WorldObject, error: _Error, world: World) -> _Emitted:
        # A conversation that continues keeps its messages: the next turn follows them.
        kept: dict[str, Any] = {"messages": []}
        if self.continues:
            kept = {**_cleared(conversation.data), **_without_refused(conversation.data, error)}
        changes = {"status": _FAILED, **kept, "error": error}
        failed, conversation = _patched(conversation, changes)
        yield failed
        yield from self._after(self._failed, error, conversation.data["about"], world)
        yield from self._send_waiting(conversation, world)

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


def _with(data: Mapping[str, Any], messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the changes of a conversation that gets further messages."""
    tokens = data["tokens"] + sum(map(estimated_tokens, messages))
    return {"messages": [*data["messages"], *messages], "tokens": tokens}


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


def _cleared(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changes that clear what holds for one request only."""
    return {name: None for name in ("error", "retried", "compacting") if data.get(name)}


def _patched(conversation: WorldObject, changes: dict[str, Any]) -> tuple[KandoEvent, WorldObject]:
    """Return the event of a change, and the conversation after it."""
    data = {**conversation.data, **changes}
    return patch(conversation, changes), attrs.evolve(conversation, data=data)


def _slot(number: int) -> str:
    return f"result {number}"
