"""`kando send`, `pause` and `cancel`: from outside, while a run is worked on or not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs
import click

from kando.app.inbox import Delivery
from kando.app.store import Store
from kando.cli.output import print_json, print_line, warn
from kando.cli.shared import open_command_store, shared_options

__all__ = ["cancel", "pause", "send"]


@click.command()
@click.argument("run", metavar="RUN")
@click.option("--type", "type_", help="Type of the event.")
@click.option("--data", help="Its data: a JSON object.")
@click.option("--cause", multiple=True, metavar="EVENT", help="An event it follows from.")
@click.option(
    "--file",
    type=click.File(encoding="utf-8"),
    help="Read type, data and cause from JSON; - is stdin.",
)
@click.option("--key", help="What is sent again under the same key is ignored.")
@shared_options
def send(
    run: str,
    type_: str | None,
    data: str | None,
    cause: tuple[str, ...],
    file: Any,
    key: str | None,
    as_json: bool,
) -> None:
    """Put an event into the inbox of RUN; whoever works on the run records it.

    The event comes from --type and --data, or from --file with {"type": ..., "data": ...}.
    """
    body = _object("--file", file.read()) if file is not None else {}
    body |= {"type": type_} if type_ else {}
    body |= {"data": _object("--data", data)} if data else {}
    body |= {"cause": list(cause)} if cause else {}
    if not isinstance(body.get("type"), str) or not isinstance(body.get("data", {}), dict):
        msg = "Say what to send: --type TYPE and --data JSON, or --file."
        raise click.UsageError(msg)

    def deliver(store: Store) -> Delivery:
        causes = body.get("cause") or []
        return store.run(run).send(body["type"], body.get("data", {}), cause=causes, key=key)

    _deliver(deliver, as_json)


def _object(where: str, text: str) -> dict[str, Any]:
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
@click.argument("run", metavar="RUN")
@shared_options
def pause(run: str, as_json: bool) -> None:
    """Have RUN stop after the firing it is at; `kando resume` goes on."""
    _deliver(lambda store: store.run(run).pause(), as_json)


@click.command()
@click.argument("run", metavar="RUN")
@shared_options
def cancel(run: str, as_json: bool) -> None:
    """Have RUN stop after the firing it is at, for good; it can still be forked."""
    _deliver(lambda store: store.run(run).cancel(), as_json)


def _deliver(deliver: Callable[[Store], Delivery], as_json: bool) -> None:
    with open_command_store() as store:
        delivery = deliver(store)
        if as_json:
            print_json(attrs.asdict(delivery))
            return
        print_line(delivery.run_id)
        if delivery.is_new:
            warn(f"delivered; whoever works on the run records it (kando resume {delivery.run_id})")
        else:
            warn(f"ignored: {delivery.key!r} was delivered before")
