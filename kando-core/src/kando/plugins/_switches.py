"""The environment variables that disable plugins, or prefer one to another."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from kando.plugins.records import normalised
from kando.settings import (
    DISABLED_PLUGINS,
    ONLY_PLUGINS,
    PREFERRED_PLUGINS,
    STRICT_PLUGINS,
    value_of,
)

__all__ = ["Switches", "read_switches"]


@attrs.frozen
class Switches:
    """Which installed plugins may be loaded, and whether a broken one is fatal.

    Attributes:
        only: entry points or distributions of ``KANDO_PLUGINS``, normalised; None for all.
        disabled: the same for ``KANDO_DISABLE_PLUGINS``.
        preferred: distributions of ``KANDO_PREFER``, normalised; the first that offers a name wins.
        strict: ``KANDO_STRICT_PLUGINS``: the first failure is raised at once.
    """

    only: frozenset[str] | None = None
    disabled: frozenset[str] = frozenset()
    preferred: tuple[str, ...] = ()
    strict: bool = False

    def disabled_by(self, name: str, distribution: str) -> str | None:
        """Return the variable that disables a plugin, or None if it may be loaded."""
        names = {normalised(name), normalised(distribution)}
        if self.only is not None and not names & self.only:
            return "KANDO_PLUGINS"
        return "KANDO_DISABLE_PLUGINS" if names & self.disabled else None


def read_switches(environ: Mapping[str, str]) -> Switches:
    """Read the switches from `environ`.

    ``KANDO_PLUGINS`` lists the plugins to load (none if it is set but empty), and
    ``KANDO_DISABLE_PLUGINS`` those not to load. Both take names of entry points or distributions,
    separated by commas. ``KANDO_PREFER`` lists distributions, the most preferred first.
    ``KANDO_STRICT_PLUGINS`` is off if unset, empty, ``0``, ``false`` or ``no``.
    """
    only = value_of(ONLY_PLUGINS, environ)
    disabled = value_of(DISABLED_PLUGINS, environ)
    preferred = value_of(PREFERRED_PLUGINS, environ)
    return Switches(
        only=None if only is None else frozenset(map(normalised, only)),
        disabled=frozenset(map(normalised, disabled)),
        preferred=tuple(map(normalised, preferred)),
        strict=value_of(STRICT_PLUGINS, environ),
    )
