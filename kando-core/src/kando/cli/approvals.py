"""`kando approvals`, `approve` and `deny`: what a run asks a person."""

from __future__ import annotations

import attrs
import click

from kando.app.approvals import Approval
from kando.cli.output import clean, print_json, print_line, warn
from kando.cli.shared import go_on, open_command_store, shared_options

__all__ = ["approve", "deny", "list_approvals"]


@click.command("approvals")
@click.argument("run", metavar="[RUN]", default="@last")
@shared_options
def list_approvals(run: str, as_json: bool) -> None:
    """List what RUN waits for a person to approve; the newest run if none is named."""
    with open_command_store() as store:
        found = store.run(run).approvals()
        if as_json:
            print_json({"items": [attrs.asdict(each) for each in found], "next_cursor": None})
            return
        for each in found:
            print_line(f"{clean(each.event_id)}  {_what(each)}  {clean(each.reason)}")
        if not found:
            warn("nothing waits for a person")


def _what(asked: Approval) -> str:
    if asked.intent is not None:
        return f"{clean(asked.type)} {clean(asked.intent)}"
    first = asked.held[0]["data"] if asked.held else {}
    more = f" and {len(asked.held) - 1} more" if len(asked.held) > 1 else ""
    return f"{clean(str(first.get('type')))} {clean(str(first.get('id')))}{more}"


@click.command()
@click.argument("run", metavar="RUN")
@click.argument("event", metavar="EVENT")
@shared_options
def approve(run: str, event: str, as_json: bool) -> None:
    """Approve what waits under EVENT in RUN, as `kando approvals` lists it."""
    _answer(run, event, True, None, as_json)


@click.command()
@click.argument("run", metavar="RUN")
@click.argument("event", metavar="EVENT")
@click.option("--reason", help="Why; told to whoever asked.")
@shared_options
def deny(run: str, event: str, reason: str | None, as_json: bool) -> None:
    """Deny what waits under EVENT in RUN, as `kando approvals` lists it."""
    _answer(run, event, False, reason, as_json)


def _answer(run: str, event: str, approved: bool, reason: str | None, as_json: bool) -> None:
    with open_command_store() as store:
        named = store.run(run)
        delivery = named.approve(event) if approved else named.deny(event, reason=reason)
        if as_json:
            print_json(attrs.asdict(delivery))
            return
        print_line(delivery.run_id)
        if delivery.is_new:
            warn(
                f"delivered; whoever works on the run records it ({go_on(store, delivery.run_id)})"
            )
        else:
            warn("ignored: it was answered before")
