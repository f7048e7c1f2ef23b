"""`kando workspace`: the files of a run at a position."""

from __future__ import annotations

from pathlib import Path

import attrs
import click

from kando.cli.arguments import ANY_RUN
from kando.cli.output import clean, columns, print_json, print_line, print_list, warn
from kando.cli.shared import open_command_store, shared_options
from kando.schema.trees import EXECUTABLE, LINK

__all__ = ["workspace"]

#: Marks after a path, as `ls -F` has them.
_MARKS = {EXECUTABLE: "*", LINK: "@"}


@click.command()
@click.argument("run", type=ANY_RUN, metavar="RUN")
@click.option("--at", type=click.IntRange(0), metavar="N", help="The files after N events.")
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write the files into a new folder.",
)
@shared_options
def workspace(run: str, at: int | None, folder: Path | None, as_json: bool) -> None:
    """List the files in the workspace of a run, or write them into a folder.

    The files are those that the run has recorded: * marks a program, @ a link.
    """
    with open_command_store() as store:
        named, end = store.run_at(run, at)
        if folder is not None:
            found = named.write_files(folder, at=end)
            if as_json:
                print_json({"folder": str(folder), "files": len(found), "bytes": found.size})
            else:
                print_line(f"wrote {len(found)} files, {found.size} bytes")
            return
        entries = named.files(at=end).entries
        if as_json:
            print_list([attrs.asdict(each) for each in entries])
        elif not entries:
            warn("The workspace has no files.")
        else:
            rows = [[f"{e.size}", clean(e.path) + _MARKS.get(e.kind, "")] for e in entries]
            columns(rows, ("BYTES", "FILE"))
