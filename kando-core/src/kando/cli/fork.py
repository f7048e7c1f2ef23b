"""`kando fork`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs
import click

from kando.app.resume import RunResult
from kando.app.store import Store
from kando.cli.output import print_json, print_line, warn
from kando.cli.run import work_on
from kando.cli.shared import open_command_store, shared_options

__all__ = ["fork"]


@click.command()
@click.argument("run", metavar="RUN")
@click.option("--at", type=click.IntRange(0), metavar="N", help="How many events to share.")
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
    help="Begin with the events of a JSON file; - is stdin.",
)
@click.option("--goal", help="Begin with what the kit makes of another goal.")
@click.option("--model", help="The model that the branch asks.")
@click.option("--llm", metavar="PROVIDER[:ARG]", help="Who answers the branch's requests.")
@click.option("--kit", help="The kit that goes on with the branch.")
@click.option("--fresh", is_flag=True, help="Refuse answers that were cached before the fork.")
@click.option(
    "--allow-writes",
    is_flag=True,
    help="Call tools that write without asking a person.",
)
@click.option("--run", "goes_on", is_flag=True, help="Go on with the branch at once.")
@shared_options
def fork(
    run: str,
    at: int | None,
    patches: tuple[tuple[str, str], ...],
    events: tuple[Any, ...],
    goes_on: bool,
    as_json: bool,
    **chosen: Any,
) -> int | None:
    """Fork RUN after its first N events and print the id of the branch.

    Nothing is copied and nothing is called. What shall be different is recorded on the branch.
    `kando resume BRANCH` goes on from there, or --run at once: every request that was answered
    before is served from the cache.
    """
    changes: dict[str, Any] = {
        "patches": [(id, _object(text)) for id, text in patches],
        "events": [event for file in events for event in _events(file.name, file.read())],
        **chosen,
    }
    if goes_on:

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
    msg = "--patch takes an object's id and a JSON object."
    raise click.UsageError(msg)


def _events(name: str, text: str) -> list[dict[str, Any]]:
    """Return the events of a file: one JSON object, a list of them, or one on each line."""
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
    msg = f"--event {name} holds no events."
    raise click.UsageError(msg + ' Write {"type": ..., "data": {...}}.')
