"""What the commands share: their options, the store they open, and how to resume a run."""

from __future__ import annotations

import os
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any, TypeVar

import click

from kando.app.builtin import installed_plugins
from kando.app.store import Store, open_store
from kando.cli.output import DATA_STREAM, json_option, warn
from kando.ledger.urls import redact_url
from kando.schema.visible import clean

__all__ = [
    "go_on",
    "open_command_store",
    "plugin_environ",
    "shared_options",
    "shown_on_stderr",
    "stream_option",
]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def shared_options(function: _Function) -> _Function:
    """Give a command ``--json``, and ``--ledger``, ``--prefer`` and ``--debug`` as before it."""
    for option in (
        click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks."),
        click.option(
            "--ledger",
            metavar="URL",
            expose_value=False,
            callback=_keep,
            help="Substrate of the runs. [env: KANDO_LEDGER]",
        ),
        click.option(
            "--prefer",
            metavar="DIST",
            expose_value=False,
            callback=_keep,
            help="Distribution whose plugins win where several claim a name. [env: KANDO_PREFER]",
        ),
    ):
        function = option(function)
    return json_option(function)


def _keep(context: click.Context, parameter: click.Parameter, value: str | bool | None) -> None:
    if value is not None and parameter.name is not None:
        context.find_root().ensure_object(dict)[parameter.name] = value


# Of a line of an answer that comes in.
_SHOWN_CHARS = 100


def stream_option(function: _Function) -> _Function:
    """Give a command ``--stream``."""
    return click.option(
        "--stream",
        is_flag=True,
        expose_value=False,
        callback=_keep,
        help="Show answers on stderr while they come in.",
    )(function)


@contextmanager
def shown_on_stderr(request: dict[str, Any]) -> Iterator[Callable[[str], None]]:
    """Show the text of one answer on stderr, line by line: others may come in beside it.

    A paragraph is broken into lines where it has spaces, so that nobody waits for its end.
    """
    about = request.get("cause_object_id") or "llm"
    rest = ""

    def on_text(piece: str) -> None:
        nonlocal rest
        *lines, rest = (rest + piece).split("\n")
        for line in lines:
            show(line)
        while len(rest) > _SHOWN_CHARS and (at := rest.rfind(" ", 0, _SHOWN_CHARS)) > 0:
            show(rest[:at])
            rest = rest[at + 1 :]

    def show(line: str) -> None:
        click.echo(clean(f"{about}| {line}"), err=True)

    try:
        yield on_text
    finally:
        if rest:
            show(rest)


def plugin_environ() -> Mapping[str, str]:
    """Return the environment that plugins are looked up with: that of the process, and ``--prefer``."""
    context = click.get_current_context(silent=True)
    preferred = (context.find_root().obj or {}).get("prefer") if context is not None else None
    return os.environ if preferred is None else {**os.environ, "KANDO_PREFER": preferred}


@contextmanager
def open_command_store() -> Iterator[Store]:
    """Open the store for one command, and report once if plugins failed to load.

    Only what the command writes as data reaches stdout: what kits and plugins print goes to stderr.
    """
    context = click.get_current_context()
    options = context.find_root().obj or {}
    plugins = installed_plugins(plugin_environ())
    context.meta[DATA_STREAM] = sys.stdout
    with warnings.catch_warnings(), redirect_stdout(sys.stderr):
        warnings.showwarning = _show_warning
        listen = shown_on_stderr if options.get("stream") else None
        with open_store(options.get("ledger"), plugins=plugins, listen=listen) as store:
            yield store
    # Only what this command needed: it does not load plugins to complain about them.
    failures = plugins.failures(load=False)
    if failures:
        names = ", ".join(f"{f.distribution} {f.version}".strip() for f in failures)
        many = "plugins" if len(failures) > 1 else "plugin"
        warn(f"{len(failures)} {many} failed to load: {names} (see `kando plugins`)")


def _show_warning(message: Warning | str, *where: object, **more: object) -> None:
    warn(str(message))


def go_on(store: Store, run_id: str, options: str = "") -> str:
    """Return how to go on with a run: the command, with `options` and the ``--ledger`` it needs."""
    if store.url.startswith("memory:"):
        return "start it anew, in a substrate that lasts (memory: keeps nothing)"
    url, command = store.context.ledger_url, f"kando resume {run_id}{options}"
    if not url:
        return command
    # A URL with a password is for the one to write who knows it.
    return f"{command} --ledger {shlex.quote(url) if url == redact_url(url) else 'URL'}"
