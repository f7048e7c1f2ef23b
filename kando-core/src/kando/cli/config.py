"""`kando config`: the settings, and where each comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs
import click

from kando.app.config import sourced_values
from kando.cli.output import columns, print_list, warn
from kando.cli.shared import options_of, settings_of, shared_options
from kando.schema.visible import clean
from kando.settings import LEDGER, PREFERRED_PLUGINS, QUIET

__all__ = ["config"]


@click.command()
@shared_options
def config(as_json: bool) -> None:
    """Show the settings, and where each comes from.

    An option of the command line takes precedence over an environment variable, that over the
    kando.toml of the project, and that over the one of the user.
    """
    context = click.get_current_context()
    settings = settings_of(context)
    found = sourced_values(settings, _given(options_of(context)))
    if as_json:
        print_list([attrs.asdict(each) for each in found])
        return
    rows = [
        [each.key, _shown(each.value), f"{each.origin} {each.where}".rstrip()] for each in found
    ]
    columns([[clean(cell) for cell in row] for row in rows], ["SETTING", "VALUE", "FROM"])
    for file in settings.files:
        note = "" if file.is_trusted else ", which is not trusted"
        warn(f"the file of the {file.origin} is {file.path}{note}")
    if not settings.files:
        warn("no file of settings was read")


def _given(options: Mapping[str, Any]) -> dict[str, tuple[str, Any]]:
    """Return the options that every command has, by the key of their setting."""
    given: dict[str, tuple[str, Any]] = {}
    if options.get("ledger") is not None:
        given[LEDGER.key] = (LEDGER.option, options["ledger"])
    if options.get("prefer") is not None:
        given[PREFERRED_PLUGINS.key] = (PREFERRED_PLUGINS.option, options["prefer"].split(","))
    if options.get("quiet"):
        given[QUIET.key] = (QUIET.option, True)
    return given


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value)
