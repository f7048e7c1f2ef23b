"""The errors of a lookup: an unknown name, a name with several claims, a broken plugin."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from kando.plugins._kinds import Kind
from kando.plugins._plugin_state import PluginState, Problem
from kando.plugins.errors import PluginBroken, PluginConflict, UnknownPlugin
from kando.plugins.records import LoadedPlugin, Offered, normalised, origin_of

__all__ = ["broken", "conflict", "unknown"]


def unknown(
    kind: Kind[Any],
    name: str,
    known: Iterable[str],
    failures: Sequence[LoadedPlugin],
    switched_off: Sequence[str],
) -> UnknownPlugin:
    """Return the error for a name that no plugin offers.

    Args:
        kind: of the requested thing.
        name: as requested.
        known: the existing names.
        failures: plugins that failed; one of them may offer the name.
        switched_off: plugins that were not loaded, each with the variable that disables it.
    """
    names = tuple(sorted(set(known)))
    cures = []
    if close := get_close_matches(name.rpartition("/")[2].lower(), names, n=1):
        cures.append(f"Did you mean {close[0]!r}?")
    listed = f"Available: {', '.join(names)}." if names else f"No {kind.noun} is installed."
    cures.append(listed)
    if failures:
        listed = "; ".join(f"{plugin.origin} ({plugin.error})" for plugin in failures)
        cures.append(f"It may belong to a plugin that failed: {listed}.")
    if switched_off:
        cures.append(f"Disabled: {', '.join(switched_off)}.")
    if not close:
        cures.append("If it is missing, install the distribution that offers it.")
    return UnknownPlugin(
        f"No plugin offers a {kind.noun} {name!r}.",
        kind=kind.noun,
        name=name,
        known=names,
        failures=tuple(failures),
        hint=" ".join(cures),
    )


def conflict(kind: Kind[Any], name: str, offered: Sequence[Offered[Any]]) -> PluginConflict:
    """Return the error for a name that more than one plugin claims."""
    claims = sorted(offered, key=lambda o: (normalised(o.distribution), o.spec.name))
    distributions = {normalised(claim.distribution): claim.distribution for claim in claims}
    if len(distributions) == len(claims):
        choices = " or ".join(claim.qualified_name for claim in claims)
        one = claims[0].distribution
        hint = (
            f"Write {choices}, or prefer one for all names: --prefer {one} or KANDO_PREFER={one}."
        )
    else:
        hint = f"Rename one of them: {' and '.join(distributions.values())} must claim it once."
    return PluginConflict(
        f"The {kind.noun} {name!r} is claimed by {' and by '.join(c.origin for c in claims)}.",
        kind=kind.noun,
        name=name,
        offered=tuple(claims),
        hint=hint,
    )


def broken(kind: Kind[Any], name: str, state: PluginState, problem: Problem) -> PluginBroken:
    """Return the error for a name that a failed plugin offers, judging by the plugin's name."""
    origin = origin_of(state.distribution, state.version)
    reason = problem.text.rstrip(".")
    error = PluginBroken(
        f"The {kind.noun} {name!r} comes from {origin}, which failed to load: {reason}.",
        hint=f"Repair or upgrade {state.distribution}, or disable it with "
        f"KANDO_DISABLE_PLUGINS={state.distribution}.",
    )
    error.__cause__ = problem.exception
    return error
