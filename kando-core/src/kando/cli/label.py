"""`kando label`, and the options ``--label`` of other commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from kando.cli.arguments import RUN, unicode_text
from kando.cli.output import clean, print_json, print_line, warn
from kando.cli.shared import command_for, open_command_store, shared_options

__all__ = ["label", "label_option", "label_text"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def label_option(about: str) -> Callable[[_Function], _Function]:
    """Give a command ``--label``.

    Args:
        about: its help text.
    """

    def decorate(function: _Function) -> _Function:
        return click.option(
            "--label",
            "labels",
            multiple=True,
            metavar="NAME=VALUE",
            callback=_assigned,
            help=f"{about}; may be repeated.",
        )(function)

    return decorate


def _assigned(
    context: click.Context, parameter: click.Parameter, given: Iterable[str]
) -> dict[str, str | None]:
    return _changes(given, "--label NAME=VALUE", removes=False)


def _changes(given: Iterable[str], how: str, *, removes: bool) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for each in map(unicode_text, given):
        name, is_assigned, value = each.partition("=")
        is_removed = removes and not is_assigned and name.endswith("-")
        if not name or not (is_assigned or is_removed):
            msg = f"{each!r:.60} is not a label. Write {how}."
            raise click.BadParameter(msg)
        name = name.removesuffix("-") if is_removed else name
        if name in found:
            raise click.BadParameter(f"Label {name!r:.60} is given twice.")
        found[name] = None if is_removed else value
    return found


def _changed(
    context: click.Context, parameter: click.Parameter, given: Iterable[str]
) -> dict[str, str | None]:
    return _changes(given, "NAME=VALUE, or NAME- to remove one", removes=True)


@click.command()
@click.argument("run", type=RUN, metavar="RUN")
@click.argument("changes", nargs=-1, required=True, metavar="LABEL...", callback=_changed)
@shared_options
def label(run: str, changes: dict[str, str | None], as_json: bool) -> None:
    """Label a run, to find it by its labels.

    A LABEL is NAME=VALUE, or NAME- to remove one. The state of RUN stays what it is. `kando runs
    --label NAME=VALUE` lists the runs that have a label.
    """
    with open_command_store() as store:
        named = store.run(run)
        named.label(changes)
        labels = named.labels
        if as_json:
            print_json({"run_id": named.id, "labels": labels})
        else:
            print_line(named.id)
            warn(f"labels: {label_text(labels) or 'none'}")
        if any(labels.get(name) != value for name, value in changes.items()):
            shown = command_for("status", named.id)
            warn(f"the process that works on the run has not recorded this yet: `{shown}`")


def label_text(labels: dict[str, str]) -> str:
    """Return labels on one line, for a person."""
    return ", ".join(clean(f"{name}={value}") for name, value in sorted(labels.items()))
