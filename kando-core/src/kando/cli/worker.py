"""`kando worker` and `kando groups`: runs that are spread over processes."""

from __future__ import annotations

import attrs
import click

from kando.app.group_worker import LEASE_SECONDS, GroupWorker
from kando.app.store import Store
from kando.cli.output import clean, columns, print_line, print_list, warn
from kando.cli.shared import open_command_store, shared_options
from kando.ledger.groups import ResponderGroup, check_group
from kando.responders.budget import Budget

__all__ = ["groups", "worker"]


@click.command()
@click.option("--group", required=True, help="Name of the group.")
@click.option("--kit", help="Kit of the runs; whichever they were started with if omitted.")
@click.option("--llm", metavar="PROVIDER[:ARG]", help="Who answers requests. [env: KANDO_LLM]")
@click.option("--until-idle", is_flag=True, help="End when nothing is left to do.")
@click.option(
    "--lease",
    type=click.FloatRange(1),
    default=LEASE_SECONDS,
    show_default=True,
    help="Seconds after which the job of a lost worker goes to another.",
)
@click.option("--budget-events", type=click.IntRange(0), help="Events in the ledger of each run.")
@click.option("--budget-usd", type=click.FloatRange(0), help="Cost of the LLM calls of each run.")
@shared_options
def worker(
    group: str,
    kit: str | None,
    llm: str | None,
    until_idle: bool,
    lease: float,
    budget_events: int | None,
    budget_usd: float | None,
    as_json: bool,
) -> None:
    """Work on the runs of a group, beside any number of other workers; end with Ctrl-C.

    Runs come into a group with `kando run --group` and `kando resume --group`.
    """
    with open_command_store() as store:
        budget = Budget(budget_events, budget_usd)
        working = GroupWorker(
            store.context, group, kit=kit, llm=llm, budget=budget, lease_seconds=lease, tell=warn
        )
        done = working.work(until_idle=until_idle)
        if as_json:
            print_list([{"group": group, "jobs": done}])
        else:
            print_line(f"{done} jobs done")


@click.group(invoke_without_command=True)
@shared_options
@click.pass_context
def groups(context: click.Context, as_json: bool) -> None:
    """Show the groups: what waits, what is in flight, what is parked."""
    if context.invoked_subcommand is not None:
        return
    with open_command_store() as store:
        opened = [_opened(store, name) for name in store.context.substrate().groups()]
        found = [each.info() for each in opened if each is not None]
        if as_json:
            print_list([attrs.asdict(each) for each in found])
            return
        rows = [(g.name, f"{g.waiting}", f"{g.in_flight}", f"{g.parked}") for g in found]
        columns(rows, ("GROUP", "WAITING", "IN FLIGHT", "PARKED"))


@groups.command()
@click.argument("group", metavar="GROUP")
@shared_options
def parked(group: str, as_json: bool) -> None:
    """Show what GROUP has parked, and why."""
    with open_command_store() as store:
        opened = _opened(store, group)
        found = opened.parked() if opened is not None else []
        if as_json:
            items = [
                {"run_id": p.job.ledger_id, "intent": p.job.intent or None, "reason": p.reason}
                for p in found
            ]
            print_list(items)
            return
        for each in found:
            print_line(f"{each.job.key}  {clean(each.reason)}")


@groups.command()
@click.argument("group", metavar="GROUP")
@shared_options
def replay_parked(group: str, as_json: bool) -> None:
    """Have everything that GROUP has parked tried anew."""
    with open_command_store() as store:
        opened = _opened(store, group)
        count = opened.replay_parked() if opened is not None else 0
        if as_json:
            print_list([{"group": group, "replayed": count}])
        else:
            print_line(f"{count} jobs are tried anew")


def _opened(store: Store, name: str) -> ResponderGroup | None:
    """Open a group that has jobs; whoever only looks must not create a store."""
    check_group(name)
    if name not in store.context.substrate().groups():
        return None
    return store.context.substrate(read_only=False).group(name)
