"""`kando fork` and `replay`."""

from __future__ import annotations

import attrs
import click

from kando.app.branching import fork_run, replay_run
from kando.cli.output import print_json, print_line, warn
from kando.cli.session import open_app, shared_options

__all__ = ["fork", "replay"]


@click.command()
@click.argument("run", metavar="RUN")
@click.option("--at", type=click.IntRange(0), metavar="N", help="How many events to share.")
@shared_options
def fork(run: str, at: int | None, as_json: bool) -> None:
    """Fork RUN after its first N events and print the id of the branch.

    Nothing is copied and nothing is called. `kando resume BRANCH` goes on from there.
    """
    with open_app() as app:
        meta = fork_run(app, run, at)
        if as_json:
            print_json(attrs.asdict(meta))
        else:
            print_line(meta.branch_id)
            warn(f"shares {meta.fork_position} events with {meta.parent_run_id}")


@click.command()
@click.argument("run", metavar="RUN")
@click.option("--strict", is_flag=True, help="Re-fire the responders and compare every event.")
@click.option("--kit", help="Kit to replay with; the one it was started with if omitted.")
@shared_options
def replay(run: str, strict: bool, kit: str | None, as_json: bool) -> None:
    """Project RUN anew from its ledger; nothing is called.

    With --strict its responders are fired again with the recorded results, and every event is
    compared with the ledger.
    """
    with open_app() as app:
        result = replay_run(app, run, strict=strict, kit=kit)
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
