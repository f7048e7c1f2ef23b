"""A responder: a function subscribed to event types."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Protocol

import attrs

from kando.errors import ConfigurationError
from kando.responders.policies import Policy
from kando.schema.events import (
    OBJECT_CREATED,
    OBJECT_PATCHED,
    RELATION_CREATED,
    RUN_LABELLED,
    KandoEvent,
    RecordedEvent,
)
from kando.world.graph import World

__all__ = [
    "AnswerLater",
    "AnswerPending",
    "CallLimits",
    "Effect",
    "Outputs",
    "Responder",
    "ResponderRegistry",
    "Retry",
    "responder",
]

#: The result of a responder's function: a generator, which gets each recorded event back from its
#: yield, or any other iterable of events, or None.
Outputs = (
    Generator[KandoEvent, RecordedEvent, None] | Iterator[KandoEvent] | Iterable[KandoEvent] | None
)


class KitTypes(Protocol):
    """The attributes of a kit that a runtime uses (see `kando.kit.Kit`)."""

    name: str
    object_types: dict[str, type]
    relation_types: dict[str, Any]
    policies: list[Policy]


class AnswerPending(Exception):
    """Raised by the `call` of an effect that another process answers: the run stops before it."""


class AnswerLater(AnswerPending):
    """Raised by the `call` of an effect whose answer is delivered later: the run continues without it."""


@attrs.frozen
class CallLimits:
    """The limits of one call.

    Attributes:
        lane: calls of one executor and lane share `max_parallel`; usually the name of a tool.
        max_parallel: how many calls of the lane may be in flight at once; None for the limit of the
            executor.
        timeout_seconds: after which the call counts as failed; None for the timeout of the effect.
    """

    lane: str = ""
    max_parallel: int | None = None
    timeout_seconds: float | None = None


@attrs.frozen
class Effect:
    """How an executor answers an intent by reaching outside the process.

    The runtime makes sure that the intent is on disk before `call` starts.

    Attributes:
        answer_type: type of the event that answers, such as ``llm.response``.
        call: ``call(intent)`` reaches outside and returns the data of the answer. It may run in
            another thread, so it gets no world.
        recall: ``recall(intent, world)`` returns the data of an answer that needs no call, or
            None.
        remember: ``remember(intent, answer, world)`` is called with each recorded answer.
        timeout_seconds: after which a call counts as failed and its thread is abandoned; None for
            never.
        max_parallel: how many calls of this executor may be in flight at once; None for the limit of
            the runtime.
        dedup_key: ``dedup_key(intent, world)`` returns a key that equal requests share: only the
            first intent of a key is called, while the others wait for its answer. None if every
            intent needs a call of its own.
        keep: ``keep(intent, answer, world)`` stores each answer that arrived while the run was
            failing and is not recorded, for `recall` to return when the run is resumed. If it is
            None, such answers are lost, and the calls are made again.
        worst_case_usd: ``worst_case_usd(request)`` returns the maximum cost of a call in US dollars,
            or None if it is unknown.
        limits: ``limits(intent)`` returns the limits of one call.
        knows: ``knows(intent)`` returns whether the executor can do what an intent asks for, such as
            call the tool that it names.
        writes: ``writes(intent)`` returns whether the call changes something outside that repeating
            it would change once more.
        is_ordered: ``is_ordered(intent)`` returns whether the call starts when the answers of all
            earlier such calls are recorded: it depends on what they changed.
        inline: ``inline(intent)`` returns a function that computes the data of the answer from the
            world, if the answer needs nothing outside the process; else None. It is computed once,
            when the intent is dispatched.
        timed_out: ``timed_out(intent)`` returns the data that answers a call that timed out; if it
            is None, the firing fails.
        check: ``check(intent)`` raises InvalidData if the call that an intent asks for cannot be made;
            a person who approves a call with other arguments gets this error.
        on_durable: ``on_durable(intent)`` is called when the answer of a call is on disk: recorded, or
            kept until its turn to be recorded.
        cancel: ``cancel(intent)`` is called when the run is cancelled, for an intent whose call is not in
            flight; it returns the data of the answer if something was begun for it, or None.
        is_elsewhere: whether another process makes the calls, and delivers their answers; `call` is
            not called then.
    """

    answer_type: str
    call: Callable[[KandoEvent], dict[str, Any]]
    recall: Callable[[KandoEvent, World], dict[str, Any] | None] = lambda intent, world: None
    remember: Callable[[KandoEvent, dict[str, Any], World], None] = lambda intent, answer, w: None
    dedup_key: Callable[[KandoEvent, World], str | None] = lambda intent, world: None
    timeout_seconds: float | None = None
    max_parallel: int | None = None
    keep: Callable[[KandoEvent, dict[str, Any], World], None] | None = None
    worst_case_usd: Callable[[dict[str, Any]], float | None] = lambda request: None
    limits: Callable[[KandoEvent], CallLimits] = lambda intent: CallLimits()
    knows: Callable[[KandoEvent], bool] = lambda intent: True
    writes: Callable[[KandoEvent], bool] = lambda intent: False
    is_ordered: Callable[[KandoEvent], bool] = lambda intent: False
    inline: Callable[[KandoEvent], Callable[[World], dict[str, Any]] | None] = lambda intent: None
    timed_out: Callable[[KandoEvent], dict[str, Any]] | None = None
    check: Callable[[KandoEvent], None] = lambda intent: None
    on_durable: Callable[[KandoEvent], None] = lambda intent: None
    cancel: Callable[[KandoEvent], dict[str, Any] | None] = lambda intent: None
    is_elsewhere: bool = False


@attrs.frozen
class Retry:
    """How often a failed firing is retried before it counts as failed.

    Attributes:
        attempts: total number, at least 1.
        backoff_seconds: wait before the second attempt.
        factor: by which the wait grows with each attempt.
    """

    attempts: int = attrs.field(default=1, validator=attrs.validators.ge(1))
    backoff_seconds: float = attrs.field(default=1.0, validator=attrs.validators.ge(0))
    factor: float = attrs.field(default=2.0, validator=attrs.validators.ge(1))

    def seconds_after(self, attempt: int) -> float:
        """Return how long to wait after the given attempt, counted from 1."""
        return self.backoff_seconds * float(self.factor ** (attempt - 1))


def _as_types(pattern: Iterable[str]) -> frozenset[str]:
    return frozenset({pattern} if isinstance(pattern, str) else pattern)


def _check_pattern(instance: Any, attribute: attrs.Attribute[Any], pattern: frozenset[str]) -> None:
    if RUN_LABELLED in pattern:
        msg = f"Responder {instance.name!r} handles {RUN_LABELLED}, which no responder handles."
        raise ConfigurationError(msg, hint="Send the run an event of a type of your own.")


def _as_names(names: str | Iterable[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _check_name(instance: object, attribute: attrs.Attribute[str], name: object) -> None:
    if not isinstance(name, str) or not name:
        msg = f"A responder's name must be a non-empty string, not {name!r}."
        raise ConfigurationError(msg, hint="Pass a name that says what it does.")


def _check_fn(instance: Any, attribute: attrs.Attribute[Any], fn: object) -> None:
    if not callable(fn):
        msg = f"Responder {instance.name!r}: fn must be callable, not {fn!r:.80}."
        raise ConfigurationError(msg, hint="Pass a function fn(event, world).")


@attrs.frozen
class Responder:
    """A function that reacts to events by emitting events.

    Attributes:
        name: unique within a runtime; it becomes the actor of the events that the responder emits.
        pattern: the event types it handles; empty means every type except ``run.labelled``, which
            no responder handles: labels are for those who look for runs.
        fn: ``fn(event, world)``; yields the events to emit. It must not change the world.
        object_type: handle only events about an object of this type: those that create or patch it,
            and those that name it as their ``cause_object_id``.
        relation_type: handle only events that create a relation of this type. This makes the
            responder edge logic.
        effect: how it reaches outside the process. This makes the responder an executor.
        retry: how often a firing that raises is retried; the ledger records each attempt.
        on_error: after the last attempt, ``raise`` raises the exception to the caller; ``park``
            skips the firing, and the run continues.
        was: names that the responder had in earlier versions of its kit: what the ledger says of
            these holds for it.
        cleanup_seconds: it handles only ``run.cancelled``, out of turn and within this time; None for
            every other responder.
        kit: the kit it belongs to, if any.
    """

    name: str = attrs.field(validator=_check_name)
    pattern: frozenset[str] = attrs.field(converter=_as_types, validator=_check_pattern)
    fn: Callable[[Any, World], Any] = attrs.field(validator=_check_fn)
    object_type: str | None = attrs.field(default=None, kw_only=True)
    relation_type: str | None = attrs.field(default=None, kw_only=True)
    effect: Effect | None = attrs.field(default=None, kw_only=True)
    retry: Retry = attrs.field(factory=Retry, kw_only=True)
    on_error: str = attrs.field(
        default="raise", kw_only=True, validator=attrs.validators.in_(("raise", "park"))
    )
    was: tuple[str, ...] = attrs.field(default=(), kw_only=True, converter=_as_names)
    cleanup_seconds: float | None = attrs.field(
        default=None,
        kw_only=True,
        validator=attrs.validators.optional(attrs.validators.gt(0)),
    )
    kit: KitTypes | None = attrs.field(default=None, kw_only=True, eq=False, repr=False)

    def matches(self, type: str) -> bool:
        """Whether the pattern matches an event type."""
        return type in self.pattern if self.pattern else type != RUN_LABELLED

    def handles(
        self, event: KandoEvent, world: World, is_later: Callable[[str], bool] = lambda id: False
    ) -> bool:
        """Whether the responder handles `event`.

        Args:
            event: any event.
            world: after the event, or later.
            is_later: whether the event with an id follows `event`: an object that was replaced later
                had another type then.
        """
        if not self.matches(event.type):
            return False
        if self.relation_type is not None:
            return event.type == RELATION_CREATED and event.data["type"] == self.relation_type
        if self.object_type is not None:
            return _object_type_of(event, world, is_later) == self.object_type
        return True


def _object_type_of(event: KandoEvent, world: World, is_later: Callable[[str], bool]) -> str | None:
    if event.type == OBJECT_CREATED:
        type: str = event.data["type"]
        return type
    named = event.data.get("id" if event.type == OBJECT_PATCHED else "cause_object_id")
    found = world.get_object(named) if isinstance(named, str) else None
    if found is None:
        return None
    former = world.objects.former_types.get(found.id, ())
    return next((type for replaced_by, type in former if is_later(replaced_by)), found.type)


def responder(
    name: str, pattern: Iterable[str]
) -> Callable[[Callable[[Any, World], Any]], Responder]:
    """Make the decorated function ``fn(event, world)`` a `Responder`.

    Args:
        name: unique within a runtime.
        pattern: the event types it handles; a single type may be given as a string.
    """

    def decorate(fn: Callable[[Any, World], Any]) -> Responder:
        return Responder(name, frozenset(_as_types(pattern)), fn)

    return decorate


class ResponderRegistry:
    """Responders in registration order, by unique name."""

    def __init__(self, responders: Iterable[Responder] = ()) -> None:
        self._responders: dict[str, Responder] = {}
        for each in responders:
            self.register(each)

    def register(self, responder: Responder) -> Responder:
        """Add a responder and return it.

        Raises:
            ConfigurationError: the name is already taken; a ledger refers to responders by name.
        """
        if responder.name in self._responders:
            msg = f"Two responders are named {responder.name!r}."
            raise ConfigurationError(msg, hint="Rename one: a ledger refers to them by name.")
        self._responders[responder.name] = responder
        return responder

    def matching(self, event: KandoEvent, world: World) -> list[Responder]:
        """Return the responders that handle `event`, in registration order."""
        return [each for each in self._responders.values() if each.handles(event, world)]

    def get(self, name: str) -> Responder | None:
        """Return the responder with this name, or None."""
        return self._responders.get(name)

    def __iter__(self) -> Iterator[Responder]:
        return iter(self._responders.values())

    def __len__(self) -> int:
        return len(self._responders)
