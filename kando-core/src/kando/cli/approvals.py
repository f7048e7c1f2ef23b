"""`kando approvals`, `approve` and `deny`: decisions that a run leaves to a person."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from kando.app.approvals import Approval, ApprovalPage
from kando.app.inbox import Delivery
from kando.app.run import Run
from kando.app.shapes import approval_dict, moment
from kando.app.store import Store
from kando.cli.arguments import ANY_RUN, KIT, RUN
from kando.cli.output import clean, print_line, print_list, reminded, warn
from kando.cli.send import json_object, print_delivery
from kando.cli.shared import command_for, open_command_store, page_options, shared_options
from kando.views.approvals import as_approval
from kando.views.questions import Question

if TYPE_CHECKING:
    from kando.kit import Kit

__all__ = ["approve", "deny", "list_approvals", "reply"]

_by_option = click.option(
    "--by",
    metavar="NAME",
    default="cli",
    show_default=True,
    help="Name of the person who decides.",
)


@click.command("approvals")
@click.argument("run", type=ANY_RUN, metavar="[RUN]", required=False)
@click.option("--all", "show_all", is_flag=True, help="With RUN: include what was decided.")
@page_options("approvals, without RUN")
@shared_options
def list_approvals(
    run: str | None, show_all: bool, limit: int, cursor: str | None, as_json: bool
) -> None:
    """List the pending approvals of a run.

    The questions of the run to people are listed, too. Without RUN list the approvals of all runs of
    the store, the newest run first.
    """
    if run is None and show_all:
        msg = "--all needs a RUN."
        raise click.UsageError(msg)
    if run is not None and cursor is not None:
        msg = "--cursor excludes RUN."
        raise click.UsageError(msg)
    with open_command_store() as store:
        if run is None:
            _print_page(store.approvals(limit=limit, cursor=cursor), as_json)
            return
        named = store.run(run)
        items: list[tuple[Run, Approval | Question]] = []
        for each in (named, *named.children()):
            items += [(each, one) for one in each.approvals(decided=show_all)]
            items += [(each, one) for one in each.questions()]
        if as_json:
            print_list([approval_dict(one) | {"run_id": each.id} for each, one in items])
            return
        for each, one in items:
            of_child = f"{each.id}  " if each.id != named.id else ""
            print_line(f"{of_child}{_line(one, show_all)}")
        if any(isinstance(one, Question) for _, one in items):
            warn(f"to reply: {command_for('reply', named.id)} EVENT ANSWER")
        if not items:
            warn(
                "no approvals are pending" if not show_all else "the run has asked for no approval"
            )


def _print_page(page: ApprovalPage, as_json: bool) -> None:
    if as_json:
        items = [{"run_id": each.run_id} | approval_dict(each.approval) for each in page]
        print_list(items, page.next_cursor)
    else:
        for each in page:
            print_line(f"{each.run_id}  {_line(each.approval)}")
        if not page.items:
            warn("no approvals are pending")
        if page.next_cursor is not None:
            warn(f"more approvals: --cursor {page.next_cursor}")
    for run_id in page.damaged:
        warn(f"{run_id} is damaged: its approvals are unknown")


def _line(each: Approval | Question, shows_decision: bool = False) -> str:
    asked = as_approval(each) if isinstance(each, Question) else each
    times = f"since {moment(asked.requested_at)}"
    times += f", until {moment(asked.expires_at)}" if asked.expires_at is not None else ""
    if isinstance(each, Question) and each.remind is not None:
        times += f", {reminded(each.reminded)}"
        times += f", next {moment(each.remind_at)}" if each.remind_at is not None else ""
    decision = _decision(each) if shows_decision and isinstance(each, Approval) else ""
    return f"{clean(asked.event_id)}  {_subject(asked)}  {clean(asked.reason)}  ({times}){decision}"


def _decision(each: Approval) -> str:
    if each.decision is not None:
        return f"  {clean(each.decision.text())}"
    return "  pending" if each.is_open else "  answered without a decision"


def _subject(asked: Approval) -> str:
    if asked.intent is not None:
        return f"{clean(asked.type)} {clean(asked.intent)}"
    first = asked.held[0]["data"] if asked.held else {}
    more = f" and {len(asked.held) - 1} more" if len(asked.held) > 1 else ""
    return f"{clean(str(first.get('type')))} {clean(str(first.get('id')))}{more}"


@click.command()
@click.argument("run", type=RUN, metavar="RUN")
@click.argument("event", metavar="EVENT")
@click.option(
    "--arguments",
    metavar="JSON",
    help="Call the tool with these arguments, all of them, instead of those that were asked for.",
)
@_by_option
@click.option("--kit", type=KIT, help="Kit that works on RUN.  [default: the run's kit]")
@shared_options
def approve(
    run: str, event: str, arguments: str | None, by: str, kit: str | Kit | None, as_json: bool
) -> None:
    """Grant a pending approval.

    EVENT is an id that `kando approvals RUN` lists, or the id of the call or object that waits.
    Other arguments are checked against the schema of the tool first.
    """
    changed = json_object("--arguments", arguments) if arguments is not None else None
    _answer(lambda store: store.run(run).approve(event, changed, by=by, kit=kit), as_json)


@click.command()
@click.argument("run", type=RUN, metavar="RUN")
@click.argument("event", metavar="EVENT")
@click.option("--reason", help="Reason, which the responder that asked receives.")
@_by_option
@shared_options
def deny(run: str, event: str, reason: str | None, by: str, as_json: bool) -> None:
    """Deny a pending approval.

    EVENT is an id that `kando approvals RUN` lists, or the id of the call or object that waits.
    """
    _answer(lambda store: store.run(run).deny(event, reason=reason, by=by), as_json)


@click.command()
@click.argument("run", type=RUN, metavar="RUN")
@click.argument("question", metavar="QUESTION")
@click.argument("answer", metavar="ANSWER")
@_by_option
@shared_options
def reply(run: str, question: str, answer: str, by: str, as_json: bool) -> None:
    """Reply to a question that a run asks a person.

    QUESTION is the id of a person.asked that `kando approvals RUN` lists. ANSWER is text, or JSON if
    the question has a schema.
    """
    with open_command_store() as store:
        print_delivery(store.run(run).reply(question, answer, by=by), as_json)


def _answer(decide: Callable[[Store], Delivery], as_json: bool) -> None:
    with open_command_store() as store:
        delivery = decide(store)
        if delivery.is_new or as_json:
            print_delivery(delivery, as_json)
        else:
            print_line(delivery.run_id)
            warn("ignored: the approval was answered before")
