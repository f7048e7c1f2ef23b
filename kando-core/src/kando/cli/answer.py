"""`kando answer`: answer an open request by hand, instead of a model or a tool."""

from __future__ import annotations

import json
from typing import Any

import click

from kando.cli.arguments import RUN
from kando.cli.send import print_delivery
from kando.cli.shared import open_command_store, shared_options

__all__ = ["answer"]


@click.command()
@click.argument("run", type=RUN, metavar="RUN")
@click.argument("request", metavar="REQUEST")
@click.option("--text", help="Answer to an LLM request.")
@click.option("--data", metavar="JSON", help="Answer to an LLM request with an output_schema.")
@click.option("--result", metavar="JSON", help="Result of a tool call.")
@click.option("--error", metavar="TEXT", help="Why the request has no answer.")
@click.option(
    "--by",
    default="cli",
    metavar="NAME",
    help="Name of the person or program that answers.  [default: cli]",
)
@shared_options
def answer(
    run: str,
    request: str,
    text: str | None,
    data: str | None,
    result: str | None,
    error: str | None,
    by: str,
    as_json: bool,
) -> None:
    """Answer an open request by hand.

    REQUEST is the id of an llm.request or a tool.called without an answer. Give exactly one of
    --text, --data, --result and --error. The model is not asked, the tool does not run, and no
    approval of the call waits any more. The answer costs nothing.
    """
    given: dict[str, Any] = {"text": text, "error": error}
    for option, value in (("data", data), ("result", result)):
        if value is not None:
            given[option] = _json(option, value)
    with open_command_store() as store:
        print_delivery(store.run(run).answer(request, **given, by=by), as_json)


def _json(option: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        msg = f"--{option} is not JSON: {error}."
        raise click.UsageError(msg) from error
