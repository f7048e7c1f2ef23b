"""`kando branches`: the branches of a run as a tree."""

from __future__ import annotations

import attrs
import click

from kando.app.branches import Branch
from kando.cli.arguments import ANY_RUN
from kando.cli.output import print_json, print_line
from kando.cli.shared import open_command_store, shared_options

__all__ = ["branches"]


@click.command()
@click.argument("run", type=ANY_RUN, metavar="RUN")
@shared_options
def branches(run: str, as_json: bool) -> None:
    """Show the branches and child runs of a run as a tree.

    The tree starts with the run that RUN descends from.
    """
    with open_command_store() as store:
        found = store.run(run).branches()
        if as_json:
            items = [attrs.asdict(each) for each in found]
            print_json({"items": items, "next_cursor": None})
            return
        for line in _tree(found):
            print_line(line)


def _tree(found: list[Branch]) -> list[str]:
    lines = []
    # For each depth, whether another branch of the same parent follows.
    follows: list[bool] = []
    for n, each in enumerate(found):
        later = next((b.depth for b in found[n + 1 :] if b.depth <= each.depth), -1)
        follows[each.depth :] = [later == each.depth]
        lead = "".join("|  " if more else "   " for more in follows[1 : each.depth])
        lead += ("|- " if follows[each.depth] else "`- ") if each.depth else ""
        place = f" @{each.fork_position}" if each.fork_position is not None else ""
        kind = "  child run" if each.started_by is not None else ""
        lines.append(f"{lead}{each.id}{place}  {each.length} events{kind}")
    return lines
