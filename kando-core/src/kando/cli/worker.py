"""`kando worker` and `kando groups`: spread runs over processes."""

from __future__ import annotations

import attrs
import click

from kando.app.group_worker import LEASE_SECONDS, GroupWorker
from kando.app.store import Store
from kando.cli.arguments import KIT_NAME, PROVIDER
from kando.cli.budget import budget_options
from kando.cli.output import clean, columns, print_line, print_list, warn
from kando.cli.shared import (
    answer_options,
    grace_option,
    mcp_option,
    open_command_store,
    shared_options,
    termination,
)
from kando.ledger.groups import ResponderGroup, check_group
from kando.responders.budget import Budget
from kando.runtime.runtime import DEFAULT_MAX_PARALLEL_CALLS

__all__ = ["groups", "worker"]


@click.command()
@click.option("--group", required=True, metavar="GROUP", help="Name of the group.")
@click.option("--kit", type=KIT_NAME, help="Kit of the runs.  [default: each run's kit]")
@click.option(
    "--llm",
    type=PROVIDER,
    metavar="PROVIDER[:ARG]",
    help="Provider that answers LLM requests. [env: KANDO_LLM]",
)
@click.option("--until-idle", is_flag=True, help="Exit when no job is due.")
@click.option(
    "--lease",
    type=click.FloatRange(1),
    metavar="SECONDS",
    default=LEASE_SECONDS,
    show_default=True,
    help="Time without a sign of life after which another worker takes a job.",
)
@click.option(
    "--calls",
    type=click.IntRange(1),
    metavar="N",
    default=DEFAULT_MAX_PARALLEL_CALLS,
    show_default=True,
    help="Calls in flight at once; one of them to a tool.",
)
@mcp_option
@budget_options
@answer_options
@grace_option
@shared_options
def worker(
    group: str,
    kit: str | None,
    llm: str | None,
    until_idle: bool,
    lease: float,
    calls: int,
    mcp: dict[str, str],
    budget: Budget,
    as_json: bool,
) -> None:
    """Work on the runs of a group.

    Any number of workers share a group. Each works until Ctrl-C, or until SIGTERM, after which it
    completes its job. `kando run --group` and `kando resume --group` add runs to a group.
    """
    with open_command_store(shows_progress=True) as store:
        working = GroupWorker(
            store.context,
            group,
            kit=kit,
            llm=llm,
            budget=budget,
            lease_seconds=lease,
            max_parallel_calls=calls,
            report=warn,
            mcp=mcp,
        )
        with termination(store, working.stop):
            done = working.work(until_idle=until_idle)
        if as_json:
            print_list([{"group": group, "jobs": done}])
        else:
            print_line(f"{done} jobs done")


@click.group(invoke_without_command=True)
@shared_options
@click.pass_context
def groups(context: click.Context, as_json: bool) -> None:
    """Show groups and their jobs.

    Counts the jobs of each group that wait, are in flight, are parked, and are not due yet.
    """
    if context.invoked_subcommand is not None:
        return
    with open_command_store() as store:
        opened = [_opened(store, name) for name in store.context.substrate().groups()]
        found = [each.info() for each in opened if each is not None]
        if as_json:
            print_list([attrs.asdict(each, filter=_is_shown) for each in found])
            return
        rows = [
            (g.name, f"{g.waiting}", f"{g.in_flight}", f"{g.parked}", f"{g.delayed}") for g in found
        ]
        columns(rows, ("GROUP", "WAITING", "IN FLIGHT", "PARKED", "DELAYED"))


def _is_shown(field: attrs.Attribute[object], value: object) -> bool:
    return field.name != "next_due"


@groups.command()
@click.argument("group", metavar="GROUP")
@shared_options
def parked(group: str, as_json: bool) -> None:
    """Show the parked jobs of a group, and the reason for each."""
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
    """Retry the parked jobs of a group."""
    with open_command_store() as store:
        opened = _opened(store, group)
        count = opened.replay_parked() if opened is not None else 0
        if as_json:
            print_list([{"group": group, "replayed": count}])
        else:
            jobs = "job" if count == 1 else "jobs"
            print_line(f"{count} parked {jobs} will be retried")


def _opened(store: Store, name: str) -> ResponderGroup | None:
    """Open a group that has jobs; a command that only reads must not create a store."""
    check_group(name)
    if name not in store.context.substrate().groups():
        return None
    return store.context.substrate(read_only=False).group(name)
