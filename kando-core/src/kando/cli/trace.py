"""`kando trace`: why an event exists, or what followed from it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice

import click

from kando.app.demo import DEMO_ID
from kando.app.shapes import event_dict
from kando.app.trace import Trace
from kando.cli.arguments import ANY_RUN
from kando.cli.inspect import summary
from kando.cli.output import clean, print_line, print_list, warn
from kando.cli.shared import open_command_store, shared_options
from kando.schema.events import KandoEvent

__all__ = ["trace"]

FORMATS = ("text", "json", "dot", "mermaid", "svg")

#: Width of the columns of the text; a longer cell is not truncated.
_ID_CHARS, _ACTOR_CHARS = 40, 28

#: Lines that determine the width of the column of ids.
_MEASURED = 250


@click.command()
@click.argument("event", metavar="EVENT")
@click.option("--run", type=ANY_RUN, metavar="RUN", help="Run of EVENT.  [default: demo]")
@click.option("--down", is_flag=True, help="Show what followed from EVENT.")
@click.option("--depth", type=click.IntRange(0), metavar="N", help="Follow at most N links.")
@click.option("--all", "show_all", is_flag=True, help="With --down: include bookkeeping events.")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), help="Format of the output.  [default: text]"
)
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
    """Show why an event exists, or what followed from it.

    EVENT comes first, and the goal that it came from last. EVENT is the id of an event, or of an
    object or relation, which stands for the event that created it. With --run RUN@N only the first
    N events count.
    """
    if as_json and form not in (None, "json"):
        msg = f"--json excludes --format {form}."
        raise click.UsageError(msg)
    form = "json" if as_json else form or "text"
    with open_command_store() as store:
        named, at = store.run_at(run or DEMO_ID)
        found = named.trace(event, at=at, down=down, depth=depth, with_bookkeeping=show_all)
        if form == "json":
            print_list([event_dict(each) for part in found.parts() for each in part.events()])
            return
        for line in _drawn(found, form, event) if form != "text" else _text(found, down):
            print_line(line)
        for part in found.parts() if form == "text" else ():
            if part is not found:
                print_line(f"{clean(part.ledger.stream_name())}")
                for line in _text(part, down):
                    print_line(line)
        beyond = 0 if down else found.unknown_causes()
        if beyond:
            warn(f"{beyond} more {'cause' if beyond == 1 else 'causes'} beyond --depth {depth}")


def _text(found: Trace, is_down: bool) -> Iterator[str]:
    """Yield a line for each step; events are read in pages, as lines are needed."""
    entries = zip(found.steps, found.events(), strict=True)
    # The first ids are usually as wide as the rest.
    first = list(islice(entries, _MEASURED))
    width = min(max(len(_id(event)) for _, event in first), _ID_CHARS)
    for step, event in chain(first, entries):
        away = f"{step.depth:>4}  " if is_down else ""
        actor = clean(event.actor)
        yield f"{away}{_id(event):<{width}}  {actor:<{_ACTOR_CHARS}}  {summary(event)}".rstrip()


def _id(event: KandoEvent) -> str:
    return clean(event.id) + (" (root)" if event.is_root else "")


def _drawn(found: Trace, form: str, event: str) -> Iterator[str]:
    from kando.text.figure import dot, mermaid, svg
    from kando.trace.figure import COLOURS

    stream = found.ledger.stream_name()
    title = clean(f"{event} of {stream}")
    if form == "dot":
        return dot(found.nodes(), title)
    if form == "mermaid":
        return mermaid(found.nodes(), title, len(found.steps), more="events")
    return svg(found.nodes(), title, {"ledger": stream, "event": event}, COLOURS)
