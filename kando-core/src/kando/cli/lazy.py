"""A command group that imports a command when it is used, so that `kando --help` stays fast."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

__all__ = ["LazyGroup"]

#: Key of the context's ``meta``: the commands of plugins, once they have been looked up.
_PLUGGED = "kando.plugged"


class LazyGroup(click.Group):
    """A click group whose commands are known by name and help before they are imported.

    Args:
        lazy_commands: ``name: (module:attribute, help)``.
    """

    def __init__(
        self, *args: Any, lazy_commands: Mapping[str, tuple[str, str]], **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._lazy = dict(lazy_commands)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands: the built-in ones, then those of plugins."""
        return [*self._lazy, *sorted(self._plugin_commands(ctx))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, or None; plugins are asked for unknown names only."""
        if cmd_name in self._lazy:
            module, _, attribute = self._lazy[cmd_name][0].partition(":")
            command: click.Command = getattr(import_module(module), attribute)
            return command
        return self._plugin_commands(ctx).get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that `args` begin with; an unknown one is answered with near names."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            # click offers what is in `commands` only, which knows nothing of lazy ones.
            raise click.NoSuchCommand(
                error.command_name, possibilities=self.list_commands(ctx), ctx=ctx
            ) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the built-in commands from the lines that are known without importing them.

        What plugins add is not looked up here: that would import them all to print a help text.
        """
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self._lazy.items()])
        formatter.write_paragraph()
        formatter.write_text("Plugins may add commands; `kando plugins` lists them.")

    def _plugin_commands(self, ctx: click.Context) -> dict[str, click.Command]:
        if _PLUGGED not in ctx.meta:
            from kando.cli.plugin_commands import plugin_commands

            ctx.meta[_PLUGGED] = plugin_commands(set(self._lazy))
        plugged: dict[str, click.Command] = ctx.meta[_PLUGGED]
        return plugged
