"""`kando fork`, `diff` and `replay`."""

from __future__ import annotations

from typing import Any

import attrs
import click

from kando.app.branching import diff_runs, fork_run, replay_run
from kando.branch.diff import WorldDiff
from kando.cli.output import clean, print_json, print_line, shortened, warn
from kando.cli.session import open_app, shared_options

__all__ = ["diff", "fork", "replay"]


@click.command()
@click.argument("run", metavar="RUN")
@click.option("--at", type=click.IntRange(0), metavar="N", help="How many events to share.")
@shared_options
def fork(run: str, at: int | None, as_json: bool) -> None:
    """Fork RUN after its first N events and print the id of the branch.

    Nothing is copied and nothing is called. `kando resume BRANCH` goes on from there.
    """
    with open_app() as app:
        meta = fork_run(app, run, at)
        if as_json:
            print_json(attrs.asdict(meta))
        else:
            print_line(meta.branch_id)
            warn(f"shares {meta.fork_position} events with {meta.parent_run_id}")


@click.command()
@click.argument("run_a", metavar="RUN_A")
@click.argument("run_b", metavar="RUN_B")
@shared_options
def diff(run_a: str, run_b: str, as_json: bool) -> None:
    """Compare the worlds of two runs or branches; each may be RUN@N."""
    with open_app() as app:
        found = diff_runs(app, run_a, run_b)
        if as_json:
            print_json(_diff_dict(found))
        else:
            _print_diff(found)


def _diff_dict(found: WorldDiff) -> dict[str, Any]:
    return {
        "summary": found.summary(),
        "added_objects": [attrs.asdict(o) for o in found.added_objects],
        "removed_objects": [attrs.asdict(o) for o in found.removed_objects],
        "patched_objects": [
            {
                "id": change.id,
                "type": change.after.type,
                "fields": {
                    name: {"before": old, "after": new}
                    for name, (old, new) in change.fields.items()
                },
            }
            for change in found.patched_objects
        ],
        "added_relations": [attrs.asdict(r) for r in found.added_relations],
        "removed_relations": [attrs.asdict(r) for r in found.removed_relations],
    }


def _print_diff(found: WorldDiff) -> None:
    print_line(found.summary())
    for sign, objects in (("-", found.removed_objects), ("+", found.added_objects)):
        for each in objects:
            print_line(
                f"{sign} {clean(each.type)} {clean(each.id)} {shortened(str(each.data), 80)}"
            )
    for change in found.patched_objects:
        print_line(f"~ {clean(change.after.type)} {clean(change.id)}")
        for name, (old, new) in change.fields.items():
            print_line(
                f"    {clean(name)}: {shortened(repr(old), 60)} -> {shortened(repr(new), 60)}"
            )
    for sign, relations in (("-", found.removed_relations), ("+", found.added_relations)):
        for rel in relations:
            ends = f"{rel.source_id} {rel.type} {rel.target_id}"
            print_line(f"{sign} {clean(ends)}")


@click.command()
@click.argument("run", metavar="RUN")
@click.option("--strict", is_flag=True, help="Re-fire the responders and compare every event.")
@click.option("--kit", help="Kit to replay with; the one it was started with if omitted.")
@shared_options
def replay(run: str, strict: bool, kit: str | None, as_json: bool) -> None:
    """Project RUN anew from its ledger; nothing is called.

    With --strict its responders are fired again with the recorded results, and every event is
    compared with the ledger.
    """
    with open_app() as app:
        result = replay_run(app, run, strict=strict, kit=kit)
        if result.kit_versions:
            recorded, installed = result.kit_versions
            warn(f"recorded with version {recorded} of the kit; {installed} is installed")
        objects, relations = len(result.world.objects), len(result.world.relations)
        if as_json:
            print_json(
                {
                    "run_id": result.run_id,
                    "events": result.events,
                    "objects": objects,
                    "relations": relations,
                    "strict": result.is_strict,
                }
            )
            return
        how = "identical" if result.is_strict else "projected"
        print_line(f"{how}: {result.events} events, {objects} objects, {relations} relations")
