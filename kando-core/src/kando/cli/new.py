"""`kando new`: create a package with a kit, a substrate or a provider."""

from __future__ import annotations

from pathlib import Path

import click

from kando.app.new import KINDS, TEMPLATES, write_package
from kando.cli.output import print_json, print_line, warn
from kando.cli.shared import open_command_store, shared_options

__all__ = ["new"]


@click.command()
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.argument("name")
@click.option(
    "--template",
    type=click.Choice(list(TEMPLATES)),
    help="Template of a kit.  [default: one question to a model, with edge logic]",
)
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    default=".",
    show_default=True,
    help="Folder in which to create the package.",
)
@shared_options
def new(kind: str, name: str, template: str | None, into: Path, as_json: bool) -> None:
    """Create a package with a kit, substrate or provider.

    The package has tests that pass, a README and a CI workflow. No existing file is overwritten.
    """
    folder, written = write_package(kind, name, into, template)
    with open_command_store() as store:
        for offered in getattr(store.context.plugins, f"{kind}s")():
            if offered.spec.name == name:
                warn(f"{offered.origin} also offers a {kind} {name!r}: only one can be used.")
    if as_json:
        print_json({"folder": str(folder), "files": [str(path) for path in written]})
        return
    print_line(str(folder))
    warn(f"{len(written)} files; next: pip install -e '{folder}[test]' && pytest {folder}")
