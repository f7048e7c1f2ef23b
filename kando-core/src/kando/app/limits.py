"""The limits of a run: those that its ledger remembers, and those of the environment for all runs."""

from __future__ import annotations

import math
from collections.abc import Mapping

from kando.app.opened import OpenedRun
from kando.errors import ConfigurationError, InvalidData
from kando.responders.budget import LIMITS, Budget, Limit
from kando.schema.events import BUDGET_SET, KandoEvent, make_event

__all__ = ["DEFAULT_LIMITS", "agreed_limits", "default_limits", "limits_event", "variable_of"]

#: Limits of a run where neither its ledger, nor an option, nor the environment sets one.
DEFAULT_LIMITS = Budget(max_recursion_depth=1000)

_PREFIX = "KANDO_BUDGET_"


def variable_of(limit: Limit) -> str:
    """Return the environment variable of a limit: the name of its option."""
    return _PREFIX + limit.word.replace("-", "_").upper()


def default_limits(environ: Mapping[str, str]) -> Budget:
    """Return the limits of each run for which neither the ledger nor an option sets one.

    Args:
        environ: the settings. A variable may also end with the field of `Budget`, in capitals; an
            empty one is ignored.

    Raises:
        ConfigurationError: a variable has an invalid value, or names no limit.
    """
    limits = {name: limit for limit in LIMITS for name in _variables(limit)}
    found: dict[str, tuple[str, float]] = {}
    for variable in sorted(name for name in environ if name.startswith(_PREFIX)):
        if variable not in limits:
            msg = f"{variable} names no limit."
            raise ConfigurationError(msg, hint=f"Limits: {', '.join(map(variable_of, LIMITS))}.")
        if environ[variable]:
            limit, value = limits[variable], _value(limits[variable], variable, environ[variable])
            other, known = found.setdefault(limit.name, (variable, value))
            if value != known:
                msg = f"{other} and {variable} set the same limit to different values."
                raise ConfigurationError(msg, hint=f"Set only {variable_of(limit)}.")
    named = Budget(**{name: value for name, (_, value) in found.items()})  # type: ignore[arg-type]
    return named.with_defaults(DEFAULT_LIMITS)


def _variables(limit: Limit) -> tuple[str, str]:
    return variable_of(limit), _PREFIX + limit.name.upper()


def _value(limit: Limit, variable: str, text: str) -> float:
    try:
        value = int(text) if limit.is_whole else float(text)
    except ValueError:
        value = math.nan
    if math.isfinite(value) and value >= 0:
        return value
    kind = "a whole number" if limit.is_whole else "a number"
    msg = f"{variable} is {text!r:.80}, which is not {kind} of at least 0."
    raise ConfigurationError(msg, hint="Correct it, or remove it for no such limit.")


def limits_event(budget: Budget, actor: str) -> KandoEvent:
    """Return the event that replaces the limits of a run."""
    return make_event(BUDGET_SET, "", actor, [], {"limits": budget.limits()})


def agreed_limits(
    run: OpenedRun, named: Budget, actor: str, *, forgets: bool
) -> tuple[Budget, list[KandoEvent]]:
    """Return the limits for resuming a run, and the events that record a change of them.

    Args:
        run: the opened run.
        named: limits that replace those that the ledger remembers.
        actor: that sets them.
        forgets: whether to remove all other limits.

    Raises:
        InvalidData: the ledger contains limits that no budget can have, and `forgets` is false.
    """
    try:
        remembered: Budget | None = run.limits
    except InvalidData:
        if not forgets:
            raise
        remembered = None
    limits = named if forgets or remembered is None else named.with_defaults(remembered)
    return limits, [] if limits == remembered else [limits_event(limits, actor)]
