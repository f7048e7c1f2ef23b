"""`kando verify`: check the hash chain of a run."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import click

from kando.app.store import Store
from kando.cli.arguments import ANY_RUN
from kando.cli.output import print_json, print_line, print_list
from kando.cli.shared import open_command_store, shared_options
from kando.ledger.verification import Verdict

__all__ = ["verify"]

_DAMAGED_CODE = 4


@click.command()
@click.argument("run", type=ANY_RUN, metavar="[RUN]", required=False)
@click.option("--all", "every", is_flag=True, help="Check all runs and branches of the store.")
@shared_options
def verify(run: str | None, every: bool, as_json: bool) -> int:
    """Check the hash chain of a run.

    Recomputes the chain, and reports the first position at which it is broken. The exit code is
    then 4.
    """
    if (run is None) != every:
        raise click.UsageError("Name a run, or give --all.")
    with open_command_store(shows_progress=True, is_paged=every) as store:
        if run is not None:
            verdicts = [store.run(run).verify()]
            if as_json:
                print_json(attrs.asdict(verdicts[0]))
            else:
                print_line(_line(verdicts[0]))
        else:
            found = dict(_shown(store, is_shown=not as_json))
            verdicts = [*found.values()]
            if as_json:
                print_list([{"run_id": id} | attrs.asdict(each) for id, each in found.items()])
    return 0 if all(each.is_intact for each in verdicts) else _DAMAGED_CODE


def _shown(store: Store, *, is_shown: bool) -> Iterator[tuple[str, Verdict]]:
    for id, verdict in store.verify_all():
        if is_shown:
            print_line(f"{id}  {_line(verdict)}")
        yield id, verdict


def _line(verdict: Verdict) -> str:
    if verdict.is_intact:
        return f"intact: {verdict.events} events, {verdict.digest}"
    return f"damaged: {verdict.problem}; {verdict.events} events are intact"
