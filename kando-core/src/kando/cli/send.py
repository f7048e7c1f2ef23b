"""`kando send`, `pause`, `cancel` and `park`: control a run from outside, active or not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
import click

from kando.app.inbox import Delivery
from kando.app.store import Store
from kando.cli.arguments import KIT, RUN
from kando.cli.output import print_json, print_line, warn
from kando.cli.shared import command_for, open_command_store, shared_options
from kando.schema.attachments import attachment, read_content

if TYPE_CHECKING:
    from kando.kit import Kit

__all__ = ["cancel", "json_object", "park", "pause", "print_delivery", "send"]


@click.command()
@click.argument("run", type=RUN, metavar="RUN")
@click.option("--type", "type_", metavar="TYPE", help="Type of the event.")
@click.option("--data", metavar="JSON", help="Data of the event: a JSON object.")
@click.option(
    "--cause",
    multiple=True,
    metavar="EVENT",
    help="Id of an event that it follows from; may be repeated.",
)
@click.option(
    "--file",
    type=click.File(encoding="utf-8"),
    metavar="FILE",
    help="Read type, data and cause from a JSON file; - is stdin.",
)
@click.option("--text", metavar="TEXT", help="Continue a conversation of the run with this text.")
@click.option(
    "--attach",
    multiple=True,
    type=click.Path(),
    metavar="FILE",
    help="With --text: an image or a file that follows it; may be repeated.",
)
@click.option("--about", metavar="ID", help="With --text: the object of the conversation.")
@click.option("--key", help="Idempotency key: a second event with the same key is ignored.")
@shared_options
def send(
    run: str,
    type_: str | None,
    data: str | None,
    cause: tuple[str, ...],
    file: Any,
    text: str | None,
    attach: tuple[str, ...],
    about: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Send an event to a run.

    The event is put into the inbox of RUN. The process that works on the run records it. Give the
    event with --type and --data, or with a --file of {"type": ..., "data": ...}. An image or a file
    in its content may have a path: {"content": [{"type": "image", "path": "scan.png"}]}.
    With --text, the event is a message that continues a conversation.
    """
    if text is not None:
        if type_ or data or cause or file is not None:
            msg = "--text is an event of its own: leave out --type, --data, --cause and --file."
            raise click.UsageError(msg)
        said, attached = text, [*map(attachment, attach)]
        _send(
            lambda store: store.run(run).say(said, attachments=attached, about=about, key=key),
            as_json,
        )
        return
    if about is not None or attach:
        needy = "--attach" if attach else "--about"
        raise click.UsageError(f"{needy} needs --text.")
    body = json_object("--file", file.read()) if file is not None else {}
    body |= {"type": type_} if type_ else {}
    body |= {"data": json_object("--data", data)} if data else {}
    body |= {"cause": list(cause)} if cause else {}
    if not isinstance(body.get("type"), str) or not isinstance(body.get("data", {}), dict):
        msg = "The event is missing: give --type TYPE and --data JSON, or --file FILE."
        raise click.UsageError(msg)

    def send_event(store: Store) -> Delivery:
        causes, given = body.get("cause") or [], body.get("data", {})
        if isinstance(given.get("content"), list):
            # The person at the terminal names these files.
            given = {**given, "content": read_content(given["content"])}
        return store.run(run).send(body["type"], given, cause=causes, key=key)

    _send(send_event, as_json)


def json_object(where: str, text: str) -> dict[str, Any]:
    """Return the JSON object that an option holds.

    Args:
        where: name of the option.
        text: its value.

    Raises:
        click.UsageError: it is not a JSON object.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        msg = f"{where} is not JSON: {error}."
        raise click.UsageError(msg) from error
    if not isinstance(value, dict):
        msg = f"{where} must be a JSON object."
        raise click.UsageError(msg)
    return value


@click.command()
@click.argument("run", type=RUN, metavar="RUN")
@shared_options
def pause(run: str, as_json: bool) -> None:
    """Pause a run after its current firing.

    `kando resume RUN` resumes it.
    """
    _send(lambda store: store.run(run).pause(), as_json)


@click.command()
@click.argument("run", type=RUN, metavar="RUN")
@shared_options
def cancel(run: str, as_json: bool) -> None:
    """Stop a run for good after its current firing.

    A cancelled run can be read and forked, but not resumed.
    """
    _send(lambda store: store.run(run).cancel(), as_json)


@click.command()
@click.argument("run", type=RUN, metavar="RUN")
@click.argument("event", metavar="EVENT")
@click.argument("responder", metavar="RESPONDER")
@click.option("--reason", metavar="TEXT", help="Reason, which the status of the run shows.")
@click.option("--by", metavar="NAME", default="cli", help="Name of the person.  [default: cli]")
@click.option("--kit", type=KIT, help="Kit that works on RUN.  [default: the run's kit]")
@shared_options
def park(
    run: str,
    event: str,
    responder: str,
    reason: str | None,
    by: str,
    kit: str | Kit | None,
    as_json: bool,
) -> None:
    """Have a run step over a firing that it cannot get past.

    RESPONDER never handles EVENT; all other responders do. `kando status RUN` names both if the run
    has failed. If RESPONDER is the executor of a request, EVENT is the request, which is closed
    without an answer.
    """
    _send(
        lambda store: store.run(run).park(event, responder, reason=reason, by=by, kit=kit), as_json
    )


def _send(send_to: Callable[[Store], Delivery], as_json: bool) -> None:
    with open_command_store() as store:
        print_delivery(send_to(store), as_json)


def print_delivery(delivery: Delivery, as_json: bool) -> None:
    """Report what was put into the inbox of a run."""
    if as_json:
        print_json(attrs.asdict(delivery))
        return
    print_line(delivery.run_id)
    if delivery.is_new:
        resume = command_for("resume", delivery.run_id)
        warn(f"sent; the process that works on the run records it, or `{resume}`")
    else:
        warn(f"ignored: an event with the key {delivery.key!r} was sent before")
