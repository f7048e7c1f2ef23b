"""What the commands share: their options, the app they open, and how to go on with a run."""

from __future__ import annotations

import os
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, TypeVar

import click

from kando.app.builtin import installed_plugins
from kando.app.context import App
from kando.cli.output import DATA_STREAM, json_option, warn

__all__ = ["go_on", "open_app", "shared_options"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def shared_options(function: _Function) -> _Function:
    """Give a command ``--json``, and ``--ledger`` and ``--debug`` as they are before it."""
    for option in (
        click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks."),
        click.option(
            "--ledger",
            metavar="URL",
            expose_value=False,
            callback=_use_ledger,
            help="Substrate of the runs. [env: KANDO_LEDGER]",
        ),
    ):
        function = option(function)
    return json_option(function)


def _use_ledger(context: click.Context, parameter: click.Parameter, url: str | None) -> None:
    if url is not None:
        context.find_root().ensure_object(dict)["ledger"] = url


@contextmanager
def open_app() -> Iterator[App]:
    """Open the app for one command, and say once if plugins failed to load.

    Only what the command writes as data reaches stdout: what kits and plugins print goes to stderr.
    """
    context = click.get_current_context()
    options = context.find_root().obj or {}
    plugins = installed_plugins(os.environ)
    context.meta[DATA_STREAM] = sys.stdout
    with warnings.catch_warnings(), redirect_stdout(sys.stderr):
        warnings.showwarning = _show_warning
        with App(plugins, os.environ, options.get("ledger")) as app:
            yield app
    # Only what this command needed: it does not load plugins to complain about them.
    failures = plugins.failures(load=False)
    if failures:
        names = ", ".join(f"{f.distribution} {f.version}".strip() for f in failures)
        many = "plugins" if len(failures) > 1 else "plugin"
        warn(f"{len(failures)} {many} failed to load: {names} (see `kando plugins`)")


def _show_warning(message: Warning | str, *where: object, **more: object) -> None:
    warn(str(message))


def go_on(app: App, run_id: str) -> str:
    """Return how to go on with a run: the command, with the ``--ledger`` that it needs."""
    if app.url.startswith("memory:"):
        return "start it anew, in a substrate that lasts (memory: keeps nothing)"
    ledger = f" --ledger {shlex.quote(app.ledger_url)}" if app.ledger_url else ""
    return f"kando resume {run_id}{ledger}"
