"""What the commands share: the app, opened from the command line's options."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import click

from kando.app.builtin import installed_plugins
from kando.app.context import App
from kando.cli.output import warn

__all__ = ["open_app"]


@contextmanager
def open_app() -> Iterator[App]:
    """Open the app for one command, and say once if plugins failed to load."""
    options = click.get_current_context().find_root().obj or {}
    plugins = installed_plugins(os.environ)
    with App(plugins, os.environ, options.get("ledger")) as app:
        yield app
    # Only what this command needed: it does not load plugins to complain about them.
    failures = plugins.failures(load=False)
    if failures:
        names = ", ".join(f"{f.distribution} {f.version}".strip() for f in failures)
        many = "plugins" if len(failures) > 1 else "plugin"
        warn(f"{len(failures)} {many} failed to load: {names} (see `kando plugins`)")
