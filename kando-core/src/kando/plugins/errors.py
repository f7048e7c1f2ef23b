"""The errors of plugins.

PluginError
  InvalidSpec (ValueError)     the record that a plugin offers is malformed
  PluginConflict               several plugins claim the same name
  PluginBroken                 a plugin, or the code that it offers, cannot be imported
  UnknownPlugin (KeyError)     no plugin offers this name
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kando.errors import KandoError, NotFoundError

if TYPE_CHECKING:
    from kando.plugins.records import LoadedPlugin, Offered

__all__ = ["InvalidSpec", "PluginBroken", "PluginConflict", "PluginError", "UnknownPlugin"]


class PluginError(KandoError):
    """Base class of all errors of plugins."""

    code = "plugin"


class InvalidSpec(PluginError, ValueError):
    """A record has a malformed name, target or list."""

    code = "invalid_spec"


class PluginConflict(PluginError):
    """Several plugins claim the same name.

    Attributes:
        kind: kind of the name, such as ``kit``.
        name: the name or URL scheme.
        offered: the claims, sorted by distribution.
    """

    code = "plugin_conflict"

    def __init__(
        self,
        message: str,
        *,
        kind: str,
        name: str,
        offered: tuple[Offered[Any], ...],
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.kind = kind
        self.name = name
        self.offered = offered


class PluginBroken(PluginError):
    """A plugin, or the target of its record, cannot be imported; the cause is chained."""

    code = "plugin_broken"


class UnknownPlugin(PluginError, NotFoundError):
    """No plugin offers this name.

    Attributes:
        kind: of the requested thing, such as ``kit``.
        name: as requested.
        known: the existing names, sorted.
        failures: the plugins that failed; one of them may offer the name.
    """

    code = "unknown_plugin"

    def __init__(
        self,
        message: str,
        *,
        kind: str,
        name: str,
        known: tuple[str, ...],
        failures: tuple[LoadedPlugin, ...],
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.kind = kind
        self.name = name
        self.known = known
        self.failures = failures
