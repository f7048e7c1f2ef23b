"""`kando approvals`, `approve` and `deny`: decisions that a run leaves to a person."""

from __future__ import annotations

import attrs
import click

from kando.app.approvals import Approval
from kando.cli.arguments import ANY_RUN, RUN
from kando.cli.output import clean, print_json, print_line, warn
from kando.cli.send import print_delivery
from kando.cli.shared import open_command_store, shared_options

__all__ = ["approve", "deny", "list_approvals"]


@click.command("approvals")
@click.argument("run", type=ANY_RUN, metavar="[RUN]", default="@last")
@shared_options
def list_approvals(run: str, as_json: bool) -> None:
    """List the pending approvals of a run.

    Without RUN it is the newest one.
    """
    with open_command_store() as store:
        found = store.run(run).approvals()
        if as_json:
            print_json({"items": [attrs.asdict(each) for each in found], "next_cursor": None})
            return
        for each in found:
            print_line(f"{clean(each.event_id)}  {_subject(each)}  {clean(each.reason)}")
        if not found:
            warn("no approvals are pending")


def _subject(asked: Approval) -> str:
    if asked.intent is not None:
        return f"{clean(asked.type)} {clean(asked.intent)}"
    first = asked.held[0]["data"] if asked.held else {}
    more = f" and {len(asked.held) - 1} more" if len(asked.held) > 1 else ""
    return f"{clean(str(first.get('type')))} {clean(str(first.get('id')))}{more}"


@click.command()
@click.argument("run", type=RUN, metavar="RUN")
@click.argument("event", metavar="EVENT")
@shared_options
def approve(run: str, event: str, as_json: bool) -> None:
    """Grant a pending approval.

    EVENT is an id that `kando approvals RUN` lists, or the id of the call or object that waits.
    """
    _answer(run, event, True, None, as_json)


@click.command()
@click.argument("run", type=RUN, metavar="RUN")
@click.argument("event", metavar="EVENT")
@click.option("--reason", help="Reason, which the responder that asked receives.")
@shared_options
def deny(run: str, event: str, reason: str | None, as_json: bool) -> None:
    """Deny a pending approval.

    EVENT is an id that `kando approvals RUN` lists, or the id of the call or object that waits.
    """
    _answer(run, event, False, reason, as_json)


def _answer(run: str, event: str, approved: bool, reason: str | None, as_json: bool) -> None:
    with open_command_store() as store:
        named = store.run(run)
        delivery = named.approve(event) if approved else named.deny(event, reason=reason)
        if delivery.is_new or as_json:
            print_delivery(delivery, as_json)
        else:
            print_line(delivery.run_id)
            warn("ignored: the approval was answered before")
