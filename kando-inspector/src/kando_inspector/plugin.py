"""The plugin: the commands `kando serve` and `kando ui`."""

from __future__ import annotations

from kando.plugins import CommandSpec, hookimpl

__all__ = ["kando_commands"]


@hookimpl
def kando_commands() -> list[CommandSpec]:
    """Offer the commands; what they need is imported when one is used."""
    return [
        CommandSpec("serve", "kando_inspector.commands:serve", "Serve the runs over HTTP."),
        CommandSpec("ui", "kando_inspector.commands:ui", "Show the runs in a browser."),
    ]
