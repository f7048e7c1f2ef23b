"""`kando export` and `import`: write a run to a file, and restore it."""

from __future__ import annotations

from typing import BinaryIO

import attrs
import click

from kando.app.export import FORMATS
from kando.cli.arguments import ANY_RUN, EXPORT_FORMAT
from kando.cli.output import binary_stdout, is_stdout, print_json, print_line, warn
from kando.cli.shared import open_command_store, shared_options
from kando.ledger.jsonl import lines_in

__all__ = ["export", "import_"]


@click.command()
@click.argument("run", type=ANY_RUN, metavar="RUN")
@click.option(
    "-o",
    "--output",
    "file",
    required=True,
    type=click.Path(dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="File to write, or - for stdout; an existing file is replaced.",
)
@click.option(
    "--format",
    "form",
    type=EXPORT_FORMAT,
    metavar="FORMAT",
    help=f"{', '.join(FORMATS)}, or one that a plugin offers, such as html. Only jsonl can be imported.  [default: by FILE's extension, else jsonl]",
)
@click.option("--alone", is_flag=True, help="Leave out the runs that the run has started.")
@shared_options
def export(run: str, file: str, form: str | None, alone: bool, as_json: bool) -> None:
    """Write a run to a file.

    The runs that it has started are written, too. RUN@N writes the first N events. The file is written as a whole or not at all. html is a
    read-only page that comes with kando-inspector. With - stdout receives only the export, and the report is on stderr.
    """
    is_data = is_stdout(file)
    with open_command_store(shows_progress=True, is_paged=is_data) as store:
        named, at = store.run_at(run)
        to = binary_stdout() if is_data else file
        result = named.export(to, format=form, at=at, with_children=not alone)
        if as_json:
            print_json(attrs.asdict(result) | {"file": file}, to_stderr=is_data)
        else:
            report = warn if is_data else print_line
            report(f"exported: {result.events} events, {result.digest}")
            if result.children:
                report(f"child runs: {', '.join(result.children)}")


@click.command("import")
@click.argument("file", metavar="FILE", type=click.File("rb"))
@click.option(
    "--accept-approvals",
    is_flag=True,
    help="Accept the file's approvals of calls that are not made yet.",
)
@click.option(
    "--accept-choices",
    is_flag=True,
    help="Accept the file's choices: provider, model, and tools that write without asking.",
)
@shared_options
def import_(file: BinaryIO, accept_approvals: bool, accept_choices: bool, as_json: bool) -> None:
    """Restore a run from an exported file.

    The runs that it has started are restored, too. FILE is one that `kando export` wrote as jsonl, or - for stdin. Every line is verified before
    anything is written.
    """
    with open_command_store(shows_progress=True) as store:
        result = store.import_run(
            lines_in(file), accepts_approvals=accept_approvals, accepts_choices=accept_choices
        )
        if as_json:
            print_json(attrs.asdict(result))
        else:
            print_line(result.run_id)
        if result.missing_parent_id is not None:
            warn(f"imported as a run: its parent {result.missing_parent_id} is not in this store")
