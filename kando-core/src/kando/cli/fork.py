"""`kando fork`: fork a run, with or without changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs
import click

from kando.app.resume import RunResult
from kando.app.store import Store
from kando.cli.arguments import GOAL, KIT, PROVIDER, RUN
from kando.cli.budget import budget_options
from kando.cli.label import label_option
from kando.cli.output import print_json, print_line, warn
from kando.cli.run import work_on
from kando.cli.shared import open_command_store, settings_option, shared_options

__all__ = ["fork"]


@click.command()
@click.argument("run", type=RUN, metavar="RUN")
@click.option("--at", type=click.IntRange(0), metavar="N", help="Share the first N events.")
@click.option(
    "--before",
    metavar="EVENT",
    help="Share the events before EVENT: the id of an event, or RUN@N.",
)
@click.option(
    "--patch",
    "patches",
    nargs=2,
    multiple=True,
    metavar="OBJECT JSON",
    help="Set fields of an object on the branch; may be repeated.",
)
@click.option(
    "--event",
    "events",
    multiple=True,
    type=click.File(encoding="utf-8"),
    metavar="FILE",
    help="Add the events of a JSON file; - is stdin; may be repeated.",
)
@click.option(
    "--goal",
    type=GOAL,
    metavar="TEXT",
    help="Add the kit's seeds for another goal; - is stdin, and @FILE a file.",
)
@click.option("--model", metavar="MODEL", help="Model for all requests of the branch.")
@click.option(
    "--llm",
    type=PROVIDER,
    metavar="PROVIDER[:ARG]",
    help="Provider that answers the branch's LLM requests.",
)
@click.option("--kit", type=KIT, help="Kit of the branch.  [default: the run's kit]")
@click.option("--fresh", is_flag=True, help="Do not use answers cached before the fork.")
@click.option(
    "--allow-writes",
    is_flag=True,
    help="Call tools that write without asking a person.",
)
@settings_option
@label_option("Label of the branch, in addition to those of the run there")
@budget_options
@click.option("--run", "resumes", is_flag=True, help="Resume the branch at once.")
@shared_options
def fork(
    run: str,
    at: int | None,
    patches: tuple[tuple[str, str], ...],
    events: tuple[Any, ...],
    resumes: bool,
    as_json: bool,
    **chosen: Any,
) -> int | None:
    """Fork a run at a position, with or without changes.

    The branch shares the first N events of RUN, given as --at N or RUN@N, or the events before
    --before EVENT. No event is copied, and no model or tool is called. Changes are recorded on the
    branch. Resume it with `kando resume BRANCH`, or at once with --run: requests that were answered
    before are served from the cache.
    """
    changes: dict[str, Any] = {
        "patches": [(id, _object(text)) for id, text in patches],
        "events": [event for file in events for event in _events(file.name, file.read())],
        **chosen,
    }
    if resumes:

        def work(store: Store, on_started: Callable[[str], None]) -> RunResult:
            return store.fork(run, at, **changes).resume(on_started=on_started)

        return work_on(work, as_json)
    with open_command_store() as store:
        branch = store.fork(run, at, **changes)
        meta = branch.branch_meta()
        assert meta is not None, "a fork is a branch"
        if as_json:
            print_json(attrs.asdict(meta))
        else:
            print_line(meta.branch_id)
            warn(f"shares {meta.fork_position} events with {meta.parent_run_id}")
    return None


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        msg = f"--patch is not JSON: {error}."
        raise click.UsageError(msg) from error
    if isinstance(value, dict):
        return value
    msg = "--patch needs the id of an object and a JSON object."
    raise click.UsageError(msg)


def _events(name: str, text: str) -> list[dict[str, Any]]:
    """Return the events of a file: a JSON object, a list of objects, or one object per line."""
    try:
        try:
            value = json.loads(text)
        except ValueError:
            value = [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError as error:
        msg = f"--event {name} is not JSON: {error}."
        raise click.UsageError(msg) from error
    found = value if isinstance(value, list) else [value]
    if found and all(isinstance(each, dict) for each in found):
        return found
    msg = f"--event {name} contains no events."
    raise click.UsageError(msg + ' Write each as {"type": ..., "data": {...}}.')
