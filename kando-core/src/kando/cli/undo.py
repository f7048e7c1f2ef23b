"""`kando undo`: take a call of a tool back."""

from __future__ import annotations

import click

from kando.cli.arguments import RUN
from kando.cli.send import print_delivery
from kando.cli.shared import open_command_store, shared_options

__all__ = ["undo"]


@click.command()
@click.argument("run", type=RUN, metavar="RUN")
@click.argument("event", metavar="EVENT")
@click.option("--by", metavar="NAME", default="cli", help="Name of the person.  [default: cli]")
@shared_options
def undo(run: str, event: str, by: str, as_json: bool) -> None:
    """Take a call of a tool back, by the tool that undoes it.

    EVENT is the id of a tool.called or of its tool.returned. The run calls the tool that the kit
    names in undo= with the same arguments. Policies judge this call as any other.
    """
    with open_command_store() as store:
        print_delivery(store.run(run).undo(event, by=by), as_json)
