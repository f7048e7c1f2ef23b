"""A plugin while the manager works with it: what it offered so far, and what it is charged with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
import pluggy

from kando.plugins._kinds import Kind
from kando.plugins._targets import describe
from kando.plugins.errors import PluginBroken, PluginError
from kando.plugins.records import LoadedPlugin, Offered, Spec, normalised

__all__ = ["Member", "Problem"]


@attrs.frozen
class Problem:
    """Something a plugin is charged with.

    Attributes:
        hook: that failed; empty if it was the loading.
        text: one line.
        exception: that was raised.
    """

    hook: str
    text: str
    exception: BaseException


@attrs.define(eq=False)
class Member:
    """One plugin. Its public face is `LoadedPlugin`.

    Attributes:
        name: of its entry point, or under which it was registered.
        distribution: that ships it.
        version: of the distribution.
        entry_point: the entry point's value; empty if it was registered.
        strict: whether the first problem is raised at once.
        seconds: its import took.
        hooks: it implements.
        problems: in the order they occurred.
        offers: of each hook that was called.
    """

    name: str
    distribution: str
    version: str = ""
    entry_point: str = ""
    strict: bool = False
    seconds: float = 0.0
    hooks: tuple[str, ...] = ()
    problems: list[Problem] = attrs.field(factory=list)
    offers: dict[str, list[Offered[Any]]] = attrs.field(factory=dict)

    @property
    def key(self) -> str:
        """``distribution:name``, under which pluggy knows it."""
        return f"{self.distribution}:{self.name}"

    @property
    def sort_key(self) -> tuple[str, str]:
        """Where it stands among others: by distribution, then name."""
        return (normalised(self.distribution), self.name)

    @property
    def is_registered(self) -> bool:
        """It was registered in the process, not found by its entry point."""
        return not self.entry_point

    def public(self) -> LoadedPlugin:
        """Return what the manager's callers get to see."""
        return LoadedPlugin(
            name=self.name,
            distribution=self.distribution,
            version=self.version,
            entry_point=self.entry_point,
            seconds=self.seconds,
            hooks=self.hooks,
            error="; ".join(problem.text for problem in self.problems) or None,
            exception=self.problems[0].exception if self.problems else None,
        )

    def charge(self, error: BaseException, hook: str = "") -> None:
        """Keep a problem.

        Raises:
            PluginBroken: failures are to be raised at once.
        """
        text = f"{hook}: {describe(error)}" if hook else describe(error)
        if self.strict:
            msg = f"Plugin {self.public().origin} ({self.name}) failed: {text}"
            hint = "It is raised because KANDO_STRICT_PLUGINS is set."
            raise PluginBroken(msg, hint=hint) from error
        self.problems.append(Problem(hook, text, error))

    def ask(self, kind: Kind[Spec], implementations: Iterable[pluggy.HookImpl]) -> None:
        """Call the plugin's implementations of `kind`'s hook and keep what they offer.

        What is no record of this kind is charged to the plugin; the records beside it count.
        """
        offers: list[Offered[Any]] = []
        for implementation in implementations:
            try:
                result = implementation.function()
                records = _as_list(result, kind)
            except (Exception, SystemExit) as error:
                self.charge(error, kind.hook)
                continue
            for record in records:
                if isinstance(record, kind.record):
                    offers.append(Offered(record, self.distribution, self.version))
                else:
                    self.charge(_wrong_type(record, kind), kind.hook)
        self.offers[kind.hook] = offers


def _as_list(result: object, kind: Kind[Any]) -> list[object]:
    if isinstance(result, Iterable) and not isinstance(result, str | bytes | dict):
        return list(result)
    raise _wrong_type(result, kind)


def _wrong_type(value: object, kind: Kind[Any]) -> PluginError:
    msg = f"returned {value!r:.80}, which is no {kind.record.__name__}."
    return PluginError(msg, hint=f"Return a list of {kind.record.__name__}.")
