"""The limits of a run: those that its ledger remembers, and those of the environment for all runs."""

from __future__ import annotations

from collections.abc import Mapping

from kando.app.opened import OpenedRun
from kando.errors import ConfigurationError, InvalidData
from kando.responders.budget import LIMITS, Budget, Limit
from kando.schema.events import BUDGET_SET, KandoEvent, make_event
from kando.settings import Kind, Setting, number_of

__all__ = [
    "DEFAULT_LIMITS",
    "agreed_limits",
    "default_limits",
    "limit_settings",
    "limits_event",
    "variable_of",
]

#: Limits of a run where neither its ledger, nor an option, nor the environment sets one.
#: A conversation takes about five levels a turn; responders that answer each other for ever take seconds.
DEFAULT_LIMITS = Budget(max_recursion_depth=50_000)

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
    limits = {
        variable: (name, setting)
        for name, setting in limit_settings().items()
        for variable in (setting.variable, *setting.others)
    }
    found: dict[str, tuple[str, float | None]] = {}
    for variable in sorted(name for name in environ if name.startswith(_PREFIX)):
        if variable not in limits:
            msg = f"{variable} names no limit."
            raise ConfigurationError(msg, hint=f"Limits: {', '.join(map(variable_of, LIMITS))}.")
        if environ[variable]:
            name, setting = limits[variable]
            value = setting.parsed(environ[variable], variable)
            other, known = found.setdefault(name, (variable, value))
            if value != known:
                msg = f"{other} and {variable} set the same limit to different values."
                raise ConfigurationError(msg, hint=f"Set only {setting.variable}.")
    named = Budget(**{name: value for name, (_, value) in found.items()})  # type: ignore[arg-type]
    return named.with_defaults(DEFAULT_LIMITS)


def limit_settings() -> dict[str, Setting[float | None]]:
    """Return the setting of each limit, by the name of the limit."""
    return {limit.name: _setting_of(limit) for limit in LIMITS}


def _setting_of(limit: Limit) -> Setting[float | None]:
    kind = "a whole number" if limit.is_whole else "a number"
    return Setting(
        variable_of(limit),
        f"budget.{limit.word.replace('-', '_')}",
        limit.help[0].lower() + limit.help[1:].partition(".")[0],
        number_of(lambda number: number >= 0, is_whole=limit.is_whole),
        getattr(DEFAULT_LIMITS, limit.name),
        Kind.NUMBER,
        expected=f"{kind} of at least 0",
        cure="Correct it, or remove it for no such limit.",
        option=limit.option,
        others=(_PREFIX + limit.name.upper(),),
        # Assumed to cost less, a call of unknown price passes every limit on costs.
        is_choice=limit.usage is None,
    )


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
