"""The plugin: the commands `kando serve` and `kando ui`, and the export format `html`."""

from __future__ import annotations

from kando.plugins import CommandSpec, ExporterSpec, hookimpl

__all__ = ["kando_commands", "kando_exporters"]


@hookimpl
def kando_commands() -> list[CommandSpec]:
    """Offer the commands; what they need is imported when one is used."""
    return [
        CommandSpec("serve", "kando_inspector.commands:serve", "Serve the runs over HTTP."),
        CommandSpec("ui", "kando_inspector.commands:ui", "Show the runs in a browser."),
    ]


@hookimpl
def kando_exporters() -> list[ExporterSpec]:
    """Offer the page as one file, for `kando export RUN -o run.html`."""
    summary = "A read-only page with the run inside."
    return [ExporterSpec("html", "kando_inspector.page_file:export_page", ("html",), summary)]
