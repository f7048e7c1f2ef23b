"""A command group that imports a command on first use, so that `kando --help` stays fast."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

__all__ = ["LazyGroup"]

#: Key of the context's ``meta``: the commands of plugins, once they are looked up.
_PLUGIN_COMMANDS = "kando.plugin_commands"


class LazyGroup(click.Group):
    """A click group that knows the names and help lines of its commands without importing them.

    Args:
        lazy_groups: for each title in the help text, ``name: (module:attribute, help line)``.
    """

    def __init__(
        self, *args: Any, lazy_groups: Mapping[str, Mapping[str, tuple[str, str]]], **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._groups = lazy_groups
        self._lazy = {name: each for group in lazy_groups.values() for name, each in group.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands: built-in commands first, then those of plugins."""
        return [*self._lazy, *sorted(self._plugin_commands(ctx))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, or None; plugins are looked up for unknown names only."""
        if cmd_name in self._lazy:
            module, _, attribute = self._lazy[cmd_name][0].partition(":")
            command: click.Command = getattr(import_module(module), attribute)
            return command
        return self._plugin_commands(ctx).get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that `args` start with; the error for an unknown one suggests names."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            # click suggests names from `commands` only, which does not contain lazy commands.
            raise click.NoSuchCommand(
                error.command_name, possibilities=self.list_commands(ctx), ctx=ctx
            ) from None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands and options that start with `incomplete`, without importing them."""
        from kando.cli.arguments import described, quiet

        with quiet():
            if incomplete.startswith("-"):
                return super().shell_complete(ctx, incomplete)
            lines = {name: line for name, (_, line) in self._lazy.items()}
            for name, command in self._plugin_commands(ctx).items():
                lines[name] = command.get_short_help_str(100)
        return [described(name, lines[name]) for name in lines if name.startswith(incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the built-in commands in their groups, without importing them.

        The commands of plugins are not listed: that would import every plugin.
        """
        width = max(map(len, self._lazy))
        for title, commands in self._groups.items():
            with formatter.section(title):
                formatter.write_dl([(n.ljust(width), line) for n, (_, line) in commands.items()])
        formatter.write_paragraph()
        formatter.write_text("Plugins may add commands; `kando plugins` lists them.")

    def _plugin_commands(self, ctx: click.Context) -> dict[str, click.Command]:
        if _PLUGIN_COMMANDS not in ctx.meta:
            from kando.cli.plugin_commands import plugin_commands

            ctx.meta[_PLUGIN_COMMANDS] = plugin_commands(set(self._lazy))
        found: dict[str, click.Command] = ctx.meta[_PLUGIN_COMMANDS]
        return found
