"""The options ``--budget-...``, which several commands have."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from kando.responders.budget import LIMITS, Budget

__all__ = ["budget_options", "higher_limits"]


def budget_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command an option for each limit; it gets them as its argument ``budget``."""

    @wraps(function)
    def limited(*arguments: Any, **named: Any) -> Any:
        limits = {each.name: named.pop(each.name) for each in LIMITS}
        return function(*arguments, budget=Budget(**limits), **named)

    command: Callable[..., Any] = limited
    for each in reversed(LIMITS):
        kind = click.IntRange(0) if each.is_whole else click.FloatRange(0)
        option = click.option(each.option, each.name, type=kind, metavar=each.unit, help=each.help)
        command = option(command)
    return command


def higher_limits(problem: str | None) -> str:
    """Return the options that raise the limits which were reached."""
    reached = (problem or "").split(", ")
    return "".join(f" {each.option} N" for each in LIMITS if each.name in reached)
