"""What can go wrong with plugins.

PluginError
  InvalidSpec (ValueError)     a record that offers something is malformed
  PluginConflict               a name is claimed more than once
  PluginBroken                 a plugin, or what it offers, cannot be loaded
  UnknownPlugin (KeyError)     no plugin offers this name
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kando.errors import KandoError, NotFoundError

if TYPE_CHECKING:
    from kando.plugins.records import LoadedPlugin, Offered

__all__ = ["InvalidSpec", "PluginBroken", "PluginConflict", "PluginError", "UnknownPlugin"]


class PluginError(KandoError):
    """Base of all errors about plugins."""

    code = "plugin"


class InvalidSpec(PluginError, ValueError):
    """A spec was given a malformed name, target or list."""

    code = "invalid_spec"


class PluginConflict(PluginError):
    """More than one plugin claims a name.

    Attributes:
        kind: what the name is of, such as ``kit``.
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
    """A plugin, or the target of something it offers, cannot be loaded; the cause is chained."""

    code = "plugin_broken"


class UnknownPlugin(PluginError, NotFoundError):
    """No plugin offers this name.

    Attributes:
        kind: what was asked for, such as ``kit``.
        name: as it was asked for.
        known: the names there are, sorted.
        failures: the plugins that failed; the name may be one of theirs.
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
