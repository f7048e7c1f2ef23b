"""`kando undo`: take a call of a tool back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kando.cli.arguments import KIT, RUN
from kando.cli.send import print_delivery
from kando.cli.shared import open_command_store, shared_options

if TYPE_CHECKING:
    from kando.kit import Kit

__all__ = ["undo"]


@click.command()
@click.argument("run", type=RUN, metavar="RUN")
@click.argument("event", metavar="EVENT")
@click.option("--by", metavar="NAME", default="cli", help="Name of the person.  [default: cli]")
@click.option("--kit", type=KIT, help="Kit that works on RUN.  [default: the run's kit]")
@shared_options
def undo(run: str, event: str, by: str, kit: str | Kit | None, as_json: bool) -> None:
    """Take a call of a tool back, by the tool that undoes it.

    EVENT is the id of a tool.called or of its tool.returned. The run calls the tool that the kit
    names in undo= with the same arguments. Policies judge this call as any other.
    """
    with open_command_store() as store:
        print_delivery(store.run(run).undo(event, by=by, kit=kit), as_json)
