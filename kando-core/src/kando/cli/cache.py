"""`kando cache`: cache hits and misses of a run."""

from __future__ import annotations

import attrs
import click

from kando.cli.arguments import ANY_RUN
from kando.cli.output import print_json, print_line
from kando.cli.shared import open_command_store, shared_options

__all__ = ["cache"]


@click.command()
@click.argument("run", type=ANY_RUN, metavar="RUN")
@shared_options
def cache(run: str, as_json: bool) -> None:
    """Show the cache hits and misses of a run.

    Also shows what the misses cost, and what the hits saved.
    """
    with open_command_store(shows_progress=True) as store:
        use = store.run(run).cache()
        if as_json:
            print_json(attrs.asdict(use))
            return
        print_line(f"requests  {use.requests}")
        print_line(f"hits      {use.hits}, saved {use.saved_usd:.4f} USD")
        print_line(f"misses    {use.misses}, cost {use.spent_usd:.4f} USD")
        if use.shared_answers:
            answers = f"{use.shared_answers} answers of the parent"
            print_line(f"shared    {answers}, saved {use.shared_usd:.4f} USD")
