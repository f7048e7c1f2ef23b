"""`kando artifacts`: the texts that a run has written for its reader."""

from __future__ import annotations

import attrs
import click

from kando.app.artifact_formats import FORMATS
from kando.app.artifacts import Artifact
from kando.cli.arguments import ANY_RUN
from kando.cli.output import (
    binary_stdout,
    clean,
    columns,
    is_stdout,
    print_json,
    print_line,
    print_list,
    warn,
)
from kando.cli.shared import open_command_store, shared_options
from kando.errors import ConfigurationError
from kando.ledger.files import write_whole

__all__ = ["artifacts"]


@click.command()
@click.argument("run", type=ANY_RUN, metavar="RUN")
@click.argument("name", metavar="[NAME]", required=False)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="Write the artifact to FILE, or - for stdout.",
)
@click.option(
    "--format",
    type=click.Choice(FORMATS),
    help="Write the artifact as md (as it is), html or pdf, to stdout without -o.",
)
@shared_options
def artifacts(
    run: str, name: str | None, output: str | None, format: str | None, as_json: bool
) -> None:
    """Print what a run has written.

    A run with several artifacts, such as a report and a table, lists them unless NAME is given:
    the name of an artifact, or the id of its object. Control characters are escaped on the
    terminal, and kept in a file. In HTML and PDF no text of an artifact acts as markup or link.
    """
    if format is not None and as_json:
        raise click.UsageError("--format excludes --json.")
    if format in ("html", "pdf") and output is None:
        output = "-"
    with open_command_store() as store:
        named, at = store.run_at(run)
        found = named.artifacts(at=at) if name is None and output is None else []
        if output is not None:
            _write(named.artifact(name, at=at), output, format or "md")
        elif name is None and as_json:
            print_list([attrs.asdict(each) for each in found])
        elif len(found) > 1:
            rows = [
                [each.name, each.media_type, f"{len(each.text)}", each.object_id] for each in found
            ]
            columns(
                [[clean(cell) for cell in row] for row in rows],
                ("NAME", "TYPE", "CHARACTERS", "OBJECT"),
            )
        else:
            chosen = named.artifact(name, at=at)
            if as_json:
                print_json(attrs.asdict(chosen))
            else:
                for line in chosen.text.rstrip("\n").split("\n"):
                    print_line(clean(line))


def _write(artifact: Artifact, output: str, format: str) -> None:
    body = artifact.rendered(format)
    try:
        if is_stdout(output):
            stream = binary_stdout()
            stream.write(body)
            stream.flush()
            return
        write_whole(output, [body], mode=0o666)
    except OSError as error:
        msg = f"{artifact.name} cannot be written to {output}: {error.strerror}."
        raise ConfigurationError(
            msg, hint="Choose a file in a folder that you can write to."
        ) from error
    warn(f"wrote {artifact.name} to {output}")
