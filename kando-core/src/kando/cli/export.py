"""`kando export` and `import`: a run as a file, and back."""

from __future__ import annotations

from typing import BinaryIO

import attrs
import click

from kando.app.export import FORMATS
from kando.cli.output import print_json, print_line, warn
from kando.cli.shared import open_command_store, shared_options

__all__ = ["export", "import_"]


@click.command()
@click.argument("run", metavar="RUN")
@click.option(
    "-o",
    "--output",
    "file",
    required=True,
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Where to write it; a file that exists is replaced.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    default="jsonl",
    show_default=True,
    help="How to write it; only jsonl can be imported.",
)
@shared_options
def export(run: str, file: str, form: str, as_json: bool) -> None:
    """Write RUN, or its first N events with RUN@N, to a file."""
    with open_command_store() as store:
        named, at = store.run_at(run)
        result = named.export(file, format=form, at=at)
        if as_json:
            print_json(attrs.asdict(result))
        else:
            print_line(f"exported: {result.events} events, {result.digest}")


@click.command("import")
@click.argument("file", metavar="FILE", type=click.File("rb"))
@click.option(
    "--accept-approvals",
    is_flag=True,
    help="Take the file's word that calls which are still to be made were approved.",
)
@shared_options
def import_(file: BinaryIO, accept_approvals: bool, as_json: bool) -> None:
    """Import a run from a file that `kando export` wrote, and print its id; - is stdin.

    Every line is verified before anything is written.
    """
    with open_command_store() as store:
        result = store.import_run(file, accepts_approvals=accept_approvals)
        if as_json:
            print_json(attrs.asdict(result))
        else:
            print_line(result.run_id)
        if result.missing_parent_id is not None:
            warn(f"imported as a run: its parent {result.missing_parent_id} is not here")
