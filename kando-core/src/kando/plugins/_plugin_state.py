"""The manager's record of one plugin: its offers so far, and its problems."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
import pluggy

from kando.plugins._kinds import Kind
from kando.plugins._targets import describe
from kando.plugins.errors import PluginBroken, PluginError
from kando.plugins.records import LoadedPlugin, Offered, Spec, normalised

__all__ = ["PluginState", "Problem"]


@attrs.frozen
class Problem:
    """A failure of a plugin.

    Attributes:
        hook: that failed; empty if loading failed.
        text: one line.
        exception: that was raised.
    """

    hook: str
    text: str
    exception: BaseException


@attrs.define(eq=False)
class PluginState:
    """The state of one plugin; callers of the manager get a `LoadedPlugin`.

    Attributes:
        name: of its entry point, or the name it was registered with.
        distribution: that ships it.
        version: of the distribution.
        entry_point: the entry point's value; empty if it was registered.
        strict: whether the first problem is raised at once.
        seconds: duration of its import.
        hooks: that it implements.
        problems: in the order they occurred.
        offers: by name of each hook that was called.
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
        """``distribution:name``, its name in pluggy."""
        return f"{self.distribution}:{self.name}"

    @property
    def sort_key(self) -> tuple[str, str]:
        """Plugins are sorted by distribution, then name."""
        return (normalised(self.distribution), self.name)

    @property
    def is_registered(self) -> bool:
        """Whether it was registered in the process, not found by its entry point."""
        return not self.entry_point

    def summary(self) -> LoadedPlugin:
        """Return the public view of the plugin."""
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

    def record_problem(self, error: BaseException, hook: str = "") -> None:
        """Record a problem.

        Raises:
            PluginBroken: the plugin is `strict`.
        """
        text = f"{hook}: {describe(error)}" if hook else describe(error)
        if self.strict:
            msg = f"Plugin {self.summary().origin} ({self.name}) failed: {text}"
            hint = "Unset KANDO_STRICT_PLUGINS to ignore plugins that fail."
            raise PluginBroken(msg, hint=hint) from error
        self.problems.append(Problem(hook, text, error))

    def collect_offers(self, kind: Kind[Spec], implementations: Iterable[pluggy.HookImpl]) -> None:
        """Call the plugin's implementations of `kind`'s hook and keep the records they return.

        A result of another type is a problem of the plugin; valid records in the same list count.
        """
        offers: list[Offered[Any]] = []
        for implementation in implementations:
            try:
                result = implementation.function()
                records = _as_list(result, kind)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                self.record_problem(error, kind.hook)
                continue
            for record in records:
                if isinstance(record, kind.record):
                    offers.append(Offered(record, self.distribution, self.version))
                else:
                    self.record_problem(_wrong_type(record, kind), kind.hook)
        self.offers[kind.hook] = offers


def _as_list(result: object, kind: Kind[Any]) -> list[object]:
    if isinstance(result, Iterable) and not isinstance(result, str | bytes | dict):
        return list(result)
    raise _wrong_type(result, kind)


def _wrong_type(value: object, kind: Kind[Any]) -> PluginError:
    msg = f"returned {value!r:.80}, which is not a {kind.record.__name__}."
    return PluginError(msg, hint=f"Return a list of {kind.record.__name__}.")
