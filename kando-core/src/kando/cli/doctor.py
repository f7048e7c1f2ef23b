"""`kando doctor`: check the installation and the store."""

from __future__ import annotations

import attrs
import click

from kando.app.doctor import FAIL, run_checks
from kando.cli.output import clean, columns, print_list
from kando.cli.shared import open_command_store, shared_options

__all__ = ["doctor"]


@click.command()
@shared_options
def doctor(as_json: bool) -> int:
    """Check the installation and the store.

    Changes nothing. The exit code is 1 if a check fails.
    """
    with open_command_store(shows_progress=True) as store:
        findings = list(run_checks(store.context))
        if as_json:
            print_list([attrs.asdict(finding) for finding in findings])
        else:
            rows = [[f.state.upper(), f.what, f"{f.detail}  {f.cure}".rstrip()] for f in findings]
            columns([[clean(cell) for cell in row] for row in rows])
    return 1 if any(finding.state == FAIL for finding in findings) else 0
