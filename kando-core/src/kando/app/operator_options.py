"""The options of a server with which its operator limits what clients may do."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from kando.app.operator import OperatorLimits
from kando.responders.budget import LIMITS, Budget, Limit

__all__ = ["operator_options", "usd_option"]


def _amount(context: click.Context, parameter: click.Parameter, usd: float | None) -> float | None:
    # Comparisons with NaN are false, so such a limit would never be reached.
    if usd is not None and math.isnan(usd):
        raise click.BadParameter("nan is not an amount.")
    return usd


def usd_option(name: str, help: str) -> Callable[..., Any]:
    """Return an option whose value is an amount in US dollars."""
    return click.option(name, type=click.FloatRange(0), callback=_amount, help=help)


def operator_options(program: str, *, read_only: str) -> Callable[..., Any]:
    """Give a command the options of the operator; it gets them as its argument ``limits``.

    Args:
        program: the command, for error messages.
        read_only: help of ``--read-only``.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def limited(*arguments: Any, **named: Any) -> Any:
            budget = Budget(**{each.name: named.pop(each.name) for each in LIMITS})
            limits = OperatorLimits(
                program,
                is_read_only=named.pop("read_only"),
                max_usd_per_run=named.pop("max_usd_per_run"),
                max_usd_per_day=named.pop("max_usd_per_day"),
                allows_live_llm=named.pop("allow_live_llm"),
                budget=budget,
                max_tokens=named.pop("max_tokens"),
            )
            return function(*arguments, limits=limits, **named)

        command: Callable[..., Any] = limited
        for option in reversed(_options(read_only)):
            command = option(command)
        return command

    return decorate


def _options(read_only: str) -> list[Callable[..., Any]]:
    return [
        click.option("--read-only", is_flag=True, help=read_only),
        usd_option("--max-usd-per-run", "Cost limit of each run, in US dollars."),
        usd_option("--max-usd-per-day", "Cost limit of all runs per day (UTC), in US dollars."),
        *(_budget_option(each) for each in LIMITS),
        click.option(
            "--max-tokens",
            type=click.IntRange(1),
            metavar="N",
            help="Limit on the tokens of each answer; overrides the kit's.",
        ),
        click.option(
            "--allow-live-llm",
            is_flag=True,
            help="Allow models that cost money or need a network.",
        ),
    ]


def _budget_option(limit: Limit) -> Callable[..., Any]:
    kind = click.IntRange(0) if limit.is_whole else click.FloatRange(0)
    help = limit.help.replace("Limit on", "For each run: limit on")
    check = None if limit.is_whole else _amount
    return click.option(
        limit.option, limit.name, type=kind, callback=check, metavar=limit.unit, help=help
    )
