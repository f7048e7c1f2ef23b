"""`kando doctor`: check the installation and the store."""

from __future__ import annotations

import attrs
import click

from kando.app.doctor import FAIL, run_checks
from kando.cli.output import clean, columns, print_list
from kando.cli.shared import (
    ignore_files,
    in_same_store,
    open_command_store,
    options_of,
    settings_of,
    shared_options,
)
from kando.errors import ConfigurationError

__all__ = ["doctor"]


@click.command()
@shared_options
def doctor(as_json: bool) -> int:
    """Check the installation and the store.

    Changes nothing. The exit code is 1 if a check fails.
    """
    context = click.get_current_context()
    problem = None
    try:
        settings_of(context)
    except ConfigurationError as error:
        problem = error
        ignore_files(context)
    with open_command_store(shows_progress=True) as store:
        options = options_of(context)
        findings = [
            attrs.evolve(
                each, cure=in_same_store(each.cure, options.get("ledger"), options.get("prefer"))
            )
            for each in run_checks(store.context, settings_of(context), problem)
        ]
        if as_json:
            print_list([attrs.asdict(finding) for finding in findings])
        else:
            rows = [[f.state.upper(), f.what, f"{f.detail}  {f.cure}".rstrip()] for f in findings]
            columns([[clean(cell) for cell in row] for row in rows])
    return 1 if any(finding.state == FAIL for finding in findings) else 0
