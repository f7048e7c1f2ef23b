"""The errors that answer a name nobody, or more than one plugin, can be found for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from kando.plugins._kinds import Kind
from kando.plugins._plugin_state import Member, Problem
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
    """Return the error for a name that nobody offers.

    Args:
        kind: of what was asked for.
        name: as it was asked for.
        known: the names there are.
        failures: plugins that failed; the name may be one of theirs.
        switched_off: plugins that were not loaded, each with the variable that says so.
    """
    names = tuple(sorted(set(known)))
    cures = []
    if close := get_close_matches(name.rpartition("/")[2].lower(), names, n=1):
        cures.append(f"Did you mean {close[0]!r}?")
    cures.append(f"There is: {', '.join(names)}." if names else f"There is no {kind.noun} at all.")
    if failures:
        listed = "; ".join(f"{plugin.origin} ({plugin.error})" for plugin in failures)
        cures.append(f"It may belong to a plugin that failed: {listed}.")
    if switched_off:
        cures.append(f"Switched off: {', '.join(switched_off)}.")
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
        hint = f"{' and '.join(distributions.values())} must claim it once: rename one of them."
    return PluginConflict(
        f"The {kind.noun} {name!r} is claimed by {' and by '.join(c.origin for c in claims)}.",
        kind=kind.noun,
        name=name,
        offered=tuple(claims),
        hint=hint,
    )


def broken(kind: Kind[Any], name: str, member: Member, problem: Problem) -> PluginBroken:
    """Return the error for a name whose plugin, by its name, is one that failed."""
    origin = origin_of(member.distribution, member.version)
    reason = problem.text.rstrip(".")
    error = PluginBroken(
        f"The {kind.noun} {name!r} comes from {origin}, which failed to load: {reason}.",
        hint=f"Repair or upgrade {member.distribution}, or leave it out with "
        f"KANDO_DISABLE_PLUGINS={member.distribution}.",
    )
    error.__cause__ = problem.exception
    return error
