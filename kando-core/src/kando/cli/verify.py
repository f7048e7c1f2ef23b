"""`kando verify`: check the hash chain of a run."""

from __future__ import annotations

import attrs
import click

from kando.cli.arguments import ANY_RUN
from kando.cli.output import print_json, print_line
from kando.cli.shared import open_command_store, shared_options

__all__ = ["verify"]

_DAMAGED_CODE = 4


@click.command()
@click.argument("run", type=ANY_RUN, metavar="RUN")
@shared_options
def verify(run: str, as_json: bool) -> int:
    """Check the hash chain of a run.

    Recomputes the chain, and reports the first position at which it is broken. The exit code is
    then 4.
    """
    with open_command_store() as store:
        verdict = store.run(run).verify()
        if as_json:
            print_json(attrs.asdict(verdict))
        elif verdict.is_intact:
            print_line(f"intact: {verdict.events} events, {verdict.digest}")
        else:
            print_line(f"damaged: {verdict.problem}; {verdict.events} events are intact")
    return 0 if verdict.is_intact else _DAMAGED_CODE
