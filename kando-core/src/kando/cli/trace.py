"""`kando trace`: why an event exists, and what followed from it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice

import click

from kando.app.demo import DEMO_ID
from kando.app.trace import Trace
from kando.cli.inspect import summary
from kando.cli.output import clean, event_dict, print_line, print_list, warn
from kando.cli.shared import open_command_store, shared_options
from kando.schema.events import KandoEvent

__all__ = ["trace"]

FORMATS = ("text", "json", "dot", "mermaid", "svg")

#: Columns of the text; what is longer is not cut off, and moves the rest of its line.
_ID_CHARS, _ACTOR_CHARS = 40, 28

#: Lines whose ids tell how wide the column of ids is.
_MEASURED = 250


@click.command()
@click.argument("event", metavar="EVENT")
@click.option("--run", metavar="RUN", help="The run it belongs to; the demo run if omitted.")
@click.option("--down", is_flag=True, help="Show what followed from it instead.")
@click.option("--depth", type=click.IntRange(0), metavar="N", help="Go at most N links.")
@click.option("--all", "show_all", is_flag=True, help="With --down: the bookkeeping too.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="How to write it.")
@shared_options
def trace(
    event: str,
    run: str | None,
    down: bool,
    depth: int | None,
    show_all: bool,
    form: str | None,
    as_json: bool,
) -> None:
    """Show why EVENT exists: itself first, the goal it came from last.

    EVENT is the id of an event, or of an object or relation. RUN@N leaves out what comes after
    its first N events.
    """
    if as_json and form not in (None, "json"):
        msg = f"--json and --format {form} contradict each other."
        raise click.UsageError(msg)
    form = "json" if as_json else form or "text"
    with open_command_store() as store:
        named, at = store.run_at(run or DEMO_ID)
        found = named.trace(event, at=at, down=down, depth=depth, with_bookkeeping=show_all)
        if form == "json":
            print_list([event_dict(each) for each in found.events()])
            return
        for line in _text(found, down) if form == "text" else _drawn(found, form, event):
            print_line(line)
        beyond = 0 if down else found.unknown_causes()
        if beyond:
            warn(f"{beyond} more {'cause' if beyond == 1 else 'causes'} beyond --depth {depth}")


def _text(found: Trace, is_down: bool) -> Iterator[str]:
    """Yield a line for each step, written before the page behind the next one is read."""
    entries = zip(found.steps, found.events(), strict=True)
    # What comes first is as wide as the rest, mostly.
    first = list(islice(entries, _MEASURED))
    width = min(max(len(_id(event)) for _, event in first), _ID_CHARS)
    for step, event in chain(first, entries):
        away = f"{step.depth:>4}  " if is_down else ""
        actor = clean(event.actor)
        yield f"{away}{_id(event):<{width}}  {actor:<{_ACTOR_CHARS}}  {summary(event)}".rstrip()


def _id(event: KandoEvent) -> str:
    return clean(event.id) + (" (root)" if event.is_root else "")


def _drawn(found: Trace, form: str, event: str) -> Iterator[str]:
    from kando.trace.dot import dot
    from kando.trace.mermaid import mermaid
    from kando.trace.svg import svg

    stream = found.ledger.stream_name()
    title = clean(f"{event} of {stream}")
    if form == "dot":
        return dot(found.nodes(), title)
    if form == "mermaid":
        return mermaid(found.nodes(), title, len(found.steps))
    return svg(found.nodes(), title, {"ledger": stream, "event": event})
