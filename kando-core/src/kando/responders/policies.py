"""Policies: what a kit allows, denies, or wants a person to decide."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from kando.errors import ConfigurationError
from kando.schema.events import LLM_REQUEST, OBJECT_CREATED, TOOL_CALLED, KandoEvent
from kando.world.graph import World

__all__ = ["Allow", "Ask", "Deny", "Policy", "Verdict", "as_policy", "verdict_on"]

#: Types of events that policies may be about.
GATED = frozenset({TOOL_CALLED, LLM_REQUEST, OBJECT_CREATED})


@attrs.frozen
class Allow:
    """It may happen."""


@attrs.frozen
class Deny:
    """It must not happen.

    Attributes:
        reason: why.
    """

    reason: str


@attrs.frozen
class Ask:
    """A person decides.

    Attributes:
        reason: why; shown to the person.
    """

    reason: str


Verdict = Allow | Deny | Ask


@attrs.frozen
class Policy:
    """A rule of a kit about tool calls, LLM calls or new objects.

    Attributes:
        name: of its function.
        fn: ``fn(intent)`` or ``fn(intent, world)``; returns a `Verdict`, or None for `Allow`, or a
            text for `Deny`.
        on: types of the events it is about.
        object_type: only new objects of this type; None for any.
        takes_world: whether `fn` takes the world.
    """

    name: str
    fn: Callable[..., Any]
    on: frozenset[str]
    object_type: str | None
    takes_world: bool

    def concerns(self, event: KandoEvent) -> bool:
        """Whether it is about an event."""
        if event.type not in self.on:
            return False
        is_of_type = self.object_type is None or event.data.get("type") == self.object_type
        return event.type != OBJECT_CREATED or is_of_type

    def verdict(self, event: KandoEvent, world: World) -> Verdict:
        """Return what it says of an event.

        Raises:
            ConfigurationError: it says something else.
        """
        said = self.fn(event, world) if self.takes_world else self.fn(event)
        if said is None:
            return Allow()
        if isinstance(said, str):
            return Deny(said)
        if isinstance(said, Allow | Deny | Ask):
            return said
        msg = f"Policy {self.name!r} returned {said!r:.80}."
        raise ConfigurationError(msg, hint="Return Allow(), Deny(reason) or Ask(reason).")


def as_policy(fn: Callable[..., Any], on: Iterable[str], object_type: str | None) -> Policy:
    """Make a policy of a function.

    Args:
        fn: takes the event, and the world if it has a second parameter.
        on: types of events.
        object_type: see `Policy`.

    Raises:
        ConfigurationError: there are no policies about such events.
    """
    types = frozenset(on)
    name = str(getattr(fn, "__qualname__", fn))
    if types - GATED:
        msg = f"Policy {name!r} is about {', '.join(sorted(types - GATED))}."
        raise ConfigurationError(msg, hint=f"Policies are about {', '.join(sorted(GATED))}.")
    takes_world = len(inspect.signature(fn).parameters) > 1
    return Policy(name, fn, types, object_type, takes_world)


def verdict_on(policies: Iterable[Policy], event: KandoEvent, world: World) -> Verdict:
    """Return what policies say of an event together: the strictest of their verdicts.

    Raises:
        ConfigurationError: one of them says something else.
    """
    strictest: Verdict = Allow()
    for policy in policies:
        if policy.concerns(event):
            verdict = policy.verdict(event, world)
            if isinstance(verdict, Deny):
                return verdict
            if isinstance(verdict, Ask) and isinstance(strictest, Allow):
                strictest = verdict
    return strictest
