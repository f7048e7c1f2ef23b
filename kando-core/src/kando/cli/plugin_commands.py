"""Commands of plugins: a broken plugin does not break the command line."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout

import click

from kando.app.substrates import default_path, substrate_url
from kando.cli.output import warn
from kando.cli.shared import command_environ, lenient_environ, options_of
from kando.errors import KandoError
from kando.plugins import CommandSettings, Plugins

__all__ = ["plugin_commands"]


class _PluginCommand(click.Command):
    """A command of a plugin, known by name and help line, and imported on first use."""

    def __init__(self, name: str, help: str, plugins: Plugins, offered: object) -> None:
        super().__init__(name, help=help, short_help=help, add_help_option=False)
        self._plugins, self._offered = plugins, offered
        self.ignore_unknown_options = True
        self.allow_extra_args = True

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: object,
    ) -> click.Context:
        """Import the command, which parses its own arguments."""
        command = self._plugins.resolve(self._offered)  # type: ignore[arg-type]
        if not isinstance(command, click.Command):
            msg = f"Command {self.name!r} is a {type(command).__name__}, not a click command."
            raise click.ClickException(msg)
        context: click.Context = command.make_context(
            info_name, args, parent=parent, obj=_settings(parent)
        )
        self._command = command
        return context

    def invoke(self, ctx: click.Context) -> object:
        """Run the imported command."""
        return self._command.invoke(ctx)


def _settings(parent: click.Context | None) -> CommandSettings:
    environ = command_environ(parent)
    url = substrate_url(options_of(parent).get("ledger"), environ)
    return CommandSettings(url, default_path().parent, environ)


def plugin_commands(taken: set[str]) -> dict[str, click.Command]:
    """Return the commands of installed plugins by name.

    Args:
        taken: names of built-in commands, which plugins cannot replace.
    """
    plugins = Plugins(environ=lenient_environ(click.get_current_context(silent=True)))
    found: dict[str, click.Command] = {}
    try:
        # A plugin may print on import, but stdout is for data.
        with redirect_stdout(sys.stderr):
            offers = plugins.commands()
    except KandoError as error:
        warn(str(error))
        return found
    for name in sorted({offered.spec.name for offered in offers}):
        if name in taken:
            warn(f"A plugin offers command {name!r}, which is built in: it is ignored.")
            continue
        try:
            offered = plugins.command(name)
        except KandoError as error:
            warn(str(error))
            continue
        found[name] = _PluginCommand(name, offered.spec.help, plugins, offered)
    return found
