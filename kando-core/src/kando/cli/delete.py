"""`kando delete`: delete runs for good."""

from __future__ import annotations

import sys

import click

from kando.app.delete import Deletion, deletion_of
from kando.app.opened import open_run
from kando.app.store import Store
from kando.cli.arguments import RUN
from kando.cli.output import print_json, print_line, say
from kando.cli.shared import open_command_store, shared_options
from kando.schema.visible import clean

__all__ = ["delete"]


@click.command()
@click.argument("runs", nargs=-1, required=True, type=RUN, metavar="RUN...")
@click.option("--yes", is_flag=True, help="Delete without asking.")
@shared_options
def delete(runs: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Delete runs for good, with the child runs that they started.

    Their events, messages, cached answers and snapshots go, and the files that no other run needs.
    Branches must be deleted first. At a terminal the command asks; elsewhere it needs --yes.
    """
    deleted: list[str] = []
    with open_command_store() as store:
        # All names are resolved first: @last is another run once the last one is deleted.
        named = [store.run(run).id for run in runs]
        try:
            for id in dict.fromkeys(named):
                deleted += _deleted(store, id, yes, as_json)
        finally:
            if as_json:
                print_json({"deleted": deleted})


def _deleted(store: Store, id: str, yes: bool, as_json: bool) -> list[str]:
    """Delete a run, unless the user declines; return the ids of what was deleted."""
    if not yes:
        found = deletion_of(open_run(store.context, id, read_only=False))
        if not _is_wanted(found):
            say(f"{id} was kept.")
            return []
    deleted = store.delete(id)
    if not as_json:
        for each in deleted:
            print_line(f"deleted {each}")
    return deleted


def _is_wanted(found: Deletion) -> bool:
    """Ask the user at the terminal."""
    if sys.stdin is None or not sys.stdin.isatty():
        msg = "There is no terminal to ask: --yes deletes without asking."
        raise click.UsageError(msg)
    *children, run = found.run_ids
    parts = [f"{found.events} events"]
    if children:
        parts.insert(0, f"{len(children)} child runs" if children[1:] else "1 child run")
    say(
        f"{clean(run)} will be deleted: {', '.join(parts)}, {found.spent.llm_cost_usd:.4f} USD spent."
    )
    return click.confirm("This cannot be undone. Delete it?", err=True)
