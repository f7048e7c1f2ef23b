"""Policies: a kit allows or denies calls and new objects, or has a person decide."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any

import attrs

from kando.errors import ConfigurationError
from kando.schema.events import (
    EXPIRES,
    LLM_REQUEST,
    LONGEST_EXPIRES,
    OBJECT_CREATED,
    RUN_REQUESTED,
    SHORTEST_REMIND,
    TOOL_CALLED,
    KandoEvent,
)
from kando.world.graph import World

__all__ = ["Allow", "Ask", "Deny", "Policy", "Verdict"]

#: Types of events that policies may apply to.
GATED = frozenset({TOOL_CALLED, LLM_REQUEST, OBJECT_CREATED, RUN_REQUESTED})


@attrs.frozen
class Allow:
    """The intent is allowed."""


@attrs.frozen
class Deny:
    """The intent is denied.

    Attributes:
        reason: the explanation that is recorded.
    """

    reason: str


def seconds_of(expires: float | timedelta | None, caller: str) -> float | None:
    """Return a deadline in seconds, in one spelling; None for none.

    Raises:
        ConfigurationError: it is not a number of seconds in the range; the message names `caller`.
    """
    seconds = _number_of(expires)
    if expires is not None and not (seconds is not None and 0 < seconds <= LONGEST_EXPIRES):
        msg = f"{caller}(..., expires={expires!r:.60}) has no deadline."
        raise ConfigurationError(msg, hint="Use seconds, more than 0, or a timedelta.")
    return seconds


def seconds_between(remind: float | timedelta | None, caller: str) -> float | None:
    """Return the seconds between two reminders, in one spelling; None for none.

    Raises:
        ConfigurationError: they are not a number in the range; the message names `caller`.
    """
    seconds = _number_of(remind)
    is_in_range = seconds is not None and SHORTEST_REMIND <= seconds <= LONGEST_EXPIRES
    if remind is not None and not is_in_range:
        msg = f"{caller}(..., remind={remind!r:.60}) is not an interval between reminders."
        hint = f"Use seconds, at least {SHORTEST_REMIND}, or a timedelta."
        raise ConfigurationError(msg, hint=hint)
    return seconds


def _number_of(time: object) -> float | None:
    seconds = time.total_seconds() if isinstance(time, timedelta) else time
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        return None
    # One spelling of a number, so that 60 and a timedelta of a minute are recorded alike.
    return int(seconds) if isinstance(seconds, float) and seconds.is_integer() else seconds


def _as_seconds(expires: float | timedelta | None) -> float | None:
    return seconds_of(expires, "Ask")


@attrs.frozen
class Ask:
    """The intent waits until a person approves or denies it.

    Attributes:
        reason: the explanation that the person sees.
        expires: seconds, or a `datetime.timedelta`, from the recording of the question until the
            run denies it itself; None for no deadline.
    """

    reason: str
    expires: float | None = attrs.field(default=None, converter=_as_seconds)


Verdict = Allow | Deny | Ask


@attrs.frozen
class Policy:
    """A rule of a kit about tool calls, LLM calls or new objects.

    Attributes:
        name: qualified name of the function.
        fn: ``fn(intent)`` or ``fn(intent, world)``; returns a `Verdict`, or None for `Allow`, or a
            string for `Deny`.
        on: types of the events it applies to.
        object_type: of new objects, only those of this type; None for any.
        takes_world: whether `fn` takes the world.
    """

    name: str
    fn: Callable[..., Any]
    on: frozenset[str]
    object_type: str | None
    takes_world: bool

    def applies_to(self, event: KandoEvent) -> bool:
        """Whether the policy judges an event."""
        if event.type not in self.on:
            return False
        is_of_type = self.object_type is None or event.data.get("type") == self.object_type
        return event.type != OBJECT_CREATED or is_of_type

    def verdict(self, event: KandoEvent, world: World) -> Verdict:
        """Return the verdict on an event.

        Raises:
            ConfigurationError: the function returned something that is not a verdict.
        """
        result = self.fn(event, world) if self.takes_world else self.fn(event)
        if result is None:
            return Allow()
        if isinstance(result, str):
            return Deny(result)
        if isinstance(result, Allow | Deny | Ask):
            return result
        msg = f"Policy {self.name!r} returned {result!r:.80}, which is not a verdict."
        raise ConfigurationError(msg, hint="Return Allow(), Deny(reason) or Ask(reason).")


def as_policy(fn: Callable[..., Any], on: Iterable[str], object_type: str | None) -> Policy:
    """Return the policy that calls a function.

    Args:
        fn: takes the event, and the world if it has a second parameter.
        on: types of events.
        object_type: see `Policy`.

    Raises:
        ConfigurationError: policies cannot apply to one of these event types.
    """
    types = frozenset(on)
    name = str(getattr(fn, "__qualname__", fn))
    if types - GATED:
        msg = f"Policy {name!r} cannot apply to {', '.join(sorted(types - GATED))}."
        raise ConfigurationError(msg, hint=f"Policies apply to {', '.join(sorted(GATED))}.")
    takes_world = len(inspect.signature(fn).parameters) > 1
    return Policy(name, fn, types, object_type, takes_world)


def verdict_on(policies: Iterable[Policy], event: KandoEvent, world: World) -> Verdict:
    """Return the strictest of the policies' verdicts on an event.

    Raises:
        ConfigurationError: a policy returned something that is not a verdict.
    """
    strictest: Verdict = Allow()
    for policy in policies:
        if policy.applies_to(event):
            verdict = policy.verdict(event, world)
            if isinstance(verdict, Deny):
                return verdict
            if isinstance(verdict, Ask):
                asked = [strictest] if isinstance(strictest, Ask) else []
                strictest = all_asked([*asked, verdict])
    return strictest


def deadline_of(verdict: object) -> dict[str, Any]:
    """Return the fields of an ``approval.requested`` that state its deadline, if it has one."""
    if not isinstance(verdict, Ask) or verdict.expires is None:
        return {}
    return {EXPIRES: verdict.expires}


def all_asked(questions: Sequence[Ask]) -> Ask:
    """Return one question in place of several: the first reason, and the earliest deadline."""
    deadlines = [each.expires for each in questions if each.expires is not None]
    return Ask(questions[0].reason, min(deadlines, default=None))
