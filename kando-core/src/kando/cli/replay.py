"""`kando replay`: rebuild a run's world, or re-fire its responders and compare."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kando.cli.arguments import ANY_RUN, KIT
from kando.cli.output import print_json, print_line, warn
from kando.cli.shared import open_command_store, shared_options

if TYPE_CHECKING:
    from kando.kit import Kit

__all__ = ["replay"]


@click.command()
@click.argument("run", type=ANY_RUN, metavar="RUN")
@click.option("--strict", is_flag=True, help="Re-fire the responders and compare every event.")
@click.option("--kit", type=KIT, help="Kit to replay with.  [default: the run's kits]")
@shared_options
def replay(run: str, strict: bool, kit: str | Kit | None, as_json: bool) -> None:
    """Rebuild a run's world, or re-fire its responders.

    The world is projected from the ledger of RUN. With --strict the responders are re-fired with
    the recorded answers, and every event is compared with the ledger. No model or tool is called.
    """
    with open_command_store(shows_progress=True) as store:
        result = store.run(run).replay(strict=strict, kit=kit)
        if result.kit_versions:
            recorded, installed = result.kit_versions
            warn(f"recorded with version {recorded} of the kit; {installed} is installed")
        objects, relations = len(result.world.objects), len(result.world.relations)
        if as_json:
            print_json(
                {
                    "run_id": result.run_id,
                    "events": result.events,
                    "objects": objects,
                    "relations": relations,
                    "strict": result.is_strict,
                }
            )
            return
        how = "identical" if result.is_strict else "projected"
        print_line(f"{how}: {result.events} events, {objects} objects, {relations} relations")
