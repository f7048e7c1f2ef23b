"""`kando diff` and `compare`: differences between runs, and their outcomes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import attrs
import click

from kando.app.compare import Outcome
from kando.app.shapes import diff_dict, file_change_dict
from kando.app.workspace import FileChange
from kando.branch.comparison import LedgerDiff, Side
from kando.branch.diff import WorldDiff
from kando.branch.steps import StepDiff
from kando.cli.arguments import ANY_RUN
from kando.cli.output import clean, columns, print_json, print_line, print_list, truncate
from kando.cli.shared import open_command_store, shared_options
from kando.schema.content import shown

__all__ = ["compare", "diff"]

#: Lines about the worlds without --world.
_SHORT = 20

#: Characters of a value, in short and in full.
_BRIEF, _FULL = 60, 2000


@click.command()
@click.argument("run_a", type=ANY_RUN, metavar="RUN_A")
@click.argument("run_b", type=ANY_RUN, metavar="RUN_B")
@click.option("--stat", is_flag=True, help="Show the usage of each after they diverge.")
@click.option("--events", "show_steps", is_flag=True, help="Show the steps that differ.")
@click.option(
    "--world", "show_world", is_flag=True, help="Show every object and relation that differs."
)
@click.option("--files", is_flag=True, help="Show the files of the workspaces that differ.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 if the worlds differ.")
@shared_options
def diff(
    run_a: str,
    run_b: str,
    stat: bool,
    show_steps: bool,
    show_world: bool,
    files: bool,
    exit_code: bool,
    as_json: bool,
) -> int:
    """Compare two runs: worlds, steps and costs.

    Each of the two may be a branch, or RUN@N. The first line summarises the differences of the
    worlds; without an option the first details follow: - is only in RUN_A, + only in RUN_B, ~ in
    both with different content, and = in both under different ids.
    """
    with open_command_store(shows_progress=True) as store:
        (a, at), (b, other_at) = store.run_at(run_a), store.run_at(run_b)
        found = a.diff(b, at=at, other_at=other_at)
        changes = a.diff_files(b, at=at, other_at=other_at) if files else []
        if as_json:
            about = {"files": [file_change_dict(each) for each in changes]} if files else {}
            print_json(diff_dict(found) | about)
        else:
            print_line(found.world.summary())
            if stat:
                _print_stat(found)
            if show_steps:
                _print_steps(found.steps)
            if show_world:
                for line in _world_lines(found.world, _FULL):
                    print_line(line)
            if files:
                _print_files(changes)
            if not (stat or show_steps or show_world or files):
                _print_short(found.world)
    return 1 if exit_code and (found.world or changes) else 0


_SIGNS = {"added": "+", "removed": "-", "changed": "~"}


def _print_files(changes: list[FileChange]) -> None:
    signs = [each.kind for each in changes]
    counted = [f"{signs.count(kind)} {kind}" for kind in _SIGNS]
    print_line(f"files: {', '.join(counted)}")
    for each in changes:
        print_line(f"{_SIGNS[each.kind]} {clean(each.path)}")
        for line in each.diff.splitlines():
            print_line(f"    {clean(line)}")


def _print_short(found: WorldDiff) -> None:
    lines = _world_lines(found, _BRIEF)
    for line in islice(lines, _SHORT):
        print_line(line)
    rest = sum(1 for _ in lines)
    if rest:
        print_line(f"... {rest} more lines; --world shows all")


def _world_lines(found: WorldDiff, width: int) -> Iterator[str]:
    objects, relations = found.objects, found.relations
    for sign, things in (
        ("-", objects.before(found.removed_objects)),
        ("+", objects.after(found.added_objects)),
    ):
        for each in things:
            data = truncate(str(shown(each.data)), max(width, 80))
            yield f"{sign} {clean(each.type)} {clean(each.id)} {data}"
    for was, now in objects.pairs((id, id) for id in found.patched_objects):
        yield f"~ {clean(now.type)} {clean(now.id)}"
        if was.type != now.type:
            yield f"    type: {clean(was.type)} -> {clean(now.type)}"
        yield from _field_lines(objects[now.id].fields, width)
    for old, new in objects.pairs(found.moved_objects):
        yield f"= {clean(new.type)} {clean(old.id)} -> {clean(new.id)}"
    for sign, links in (
        ("-", relations.before(found.removed_relations)),
        ("+", relations.after(found.added_relations)),
    ):
        for link in links:
            yield f"{sign} {clean(f'{link.source_id} {link.type} {link.target_id}')}"
    for before, after in relations.pairs(found.moved_relations):
        yield f"= {clean(after.type)} {clean(before.id)} -> {clean(after.id)}"


def _field_lines(fields: dict[str, tuple[Any, Any]], width: int) -> Iterator[str]:
    for name, (old, new) in fields.items():
        yield f"    {clean(name)}: {truncate(repr(shown(old)), width)} -> {truncate(repr(shown(new)), width)}"


def _print_stat(found: LedgerDiff) -> None:
    print_line(f"diverge at {found.shared}; after that:")
    a, b = _stat_of(found.a), _stat_of(found.b)
    rows = [[name, a[name], b[name]] for name in a]
    columns(rows, ["", found.a.stream, found.b.stream])


def _stat_of(side: Side) -> dict[str, str]:
    llm = side.tail.llm
    return {
        "events": str(side.tail.events),
        "llm requests": str(llm.requests),
        "llm cached": str(llm.cached),
        "cost USD": f"{llm.cost_usd:.4f}",
        "tokens in": str(llm.input_tokens),
        "tokens out": str(llm.output_tokens),
        "seconds": f"{side.tail.elapsed_seconds:.3f}",
    }


def _print_steps(found: StepDiff) -> None:
    print_line(f"steps: {found.summary()}")
    for change in found.changed:
        print_line(f"~ {clean(change.after.id)} {clean(change.after.actor)}")
        for line in _field_lines(change.fields, _BRIEF):
            print_line(line)
    for sign, events in (("-", found.only_a), ("+", found.only_b)):
        for event in events:
            print_line(
                f"{sign} {clean(event.id)} {clean(event.actor)} {truncate(str(shown(event.data)), 80)}"
            )


@click.command()
@click.argument("runs", type=ANY_RUN, metavar="RUN...", nargs=-1, required=True)
@shared_options
def compare(runs: tuple[str, ...], as_json: bool) -> None:
    """Compare the outcomes of several runs.

    Prints one table row per run or branch. DIVERGES AT is how many events it shares with the
    first.
    """
    with open_command_store(shows_progress=True) as store:
        outcomes = store.compare(runs)
        if as_json:
            print_list([attrs.asdict(each) for each in outcomes])
            return
        head = ("RUN", "STATE", "EVENTS", "OBJECTS", "USD", "TOKENS", "SECONDS", "DIVERGES AT")
        columns([_outcome_row(each) for each in outcomes], head)


def _outcome_row(each: Outcome) -> list[str]:
    counted = ", ".join(f"{n} {clean(type)}" for type, n in each.objects.items())
    return [
        each.run_id,
        each.state,
        str(each.events),
        counted or "none",
        f"{each.llm.cost_usd:.4f}",
        str(each.llm.input_tokens + each.llm.output_tokens),
        f"{each.elapsed_seconds:.3f}",
        str(each.parts_at),
    ]
