"""`kando plugins`: installed plugins, what they offer, and failures."""

from __future__ import annotations

import click

from kando.cli.output import clean, columns, print_line, print_list
from kando.cli.shared import open_command_store, shared_options
from kando.plugins import Plugins

__all__ = ["plugins"]


@click.command()
@click.option("--check", is_flag=True, help="Exit with 1 if a plugin failed, or two conflict.")
@shared_options
def plugins(check: bool, as_json: bool) -> int:
    """List installed plugins and what they offer.

    Lists kits, substrates, providers, tool protocols, exporters, recalls, commands and observers, and plugins that failed to load.
    """
    with open_command_store() as store:
        rows = _offers(store.context.plugins)
        failures = store.context.plugins.failures()
        conflicts = store.context.plugins.conflicts()
        for failed in failures:
            rows.append(
                _row(
                    "plugin",
                    failed.name,
                    failed.distribution,
                    failed.version,
                    "failed",
                    failed.error or "",
                )
            )
        if as_json:
            print_list(rows)
        else:
            head = ("KIND", "NAME", "DISTRIBUTION", "VERSION", "STATE", "ABOUT")
            columns([[clean(row[name.lower()]) for name in head] for row in rows], head)
            if failures:
                print_line()
                print_line(
                    "Kando works without the failed plugins. To stop loading one, set "
                    f"KANDO_DISABLE_PLUGINS={failures[0].name}"
                )
    return 1 if check and (failures or conflicts) else 0


def _offers(installed: Plugins) -> list[dict[str, str]]:
    conflicts = {(c.kind, c.name) for c in installed.conflicts()}
    kinds = (
        ("kit", installed.kits()),
        ("substrate", installed.substrates()),
        ("provider", installed.providers()),
        ("tool protocol", installed.tool_protocols()),
        ("exporter", installed.exporters()),
        ("recall", installed.recalls()),
        ("command", installed.commands()),
    )
    rows = [
        _row(
            kind,
            offered.spec.name,
            offered.distribution,
            offered.version,
            "conflict" if (kind, offered.spec.name) in conflicts else "ok",
            str(getattr(offered.spec, "summary", "") or getattr(offered.spec, "help", "")),
        )
        for kind, offers in kinds
        for offered in offers
    ]
    observing = [each for each in installed.plugins() if "kando_event_recorded" in each.hooks]
    for each in observing:
        about = "receives recorded events"
        rows.append(_row("observer", each.name, each.distribution, each.version, "ok", about))
    return rows


def _row(
    kind: str, name: str, distribution: str, version: str, state: str, about: str
) -> dict[str, str]:
    return {
        "kind": kind,
        "name": name,
        "distribution": distribution,
        "version": version or "-",
        "state": state,
        "about": about,
    }
