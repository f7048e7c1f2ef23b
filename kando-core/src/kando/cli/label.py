"""`kando label`, and the options ``--label`` of other commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from kando.cli.arguments import RUN, unicode_text
from kando.cli.output import clean, print_json, print_line, warn
from kando.cli.shared import command_for, open_command_store, shared_options
from kando.errors import InvalidData
from kando.views.labels import MAX_LABELS, parse_labels

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
) -> dict[str, Any]:
    return _parsed(given, removes=False)


def _changed(
    context: click.Context, parameter: click.Parameter, given: Iterable[str]
) -> dict[str, Any]:
    return _parsed(given, removes=True)


def _parsed(given: Iterable[str], *, removes: bool) -> dict[str, Any]:
    try:
        return parse_labels(map(unicode_text, given), removes=removes)
    except InvalidData as error:
        raise click.BadParameter(f"{error.message} {error.hint}") from error


@click.command()
@click.argument("run", type=RUN, metavar="RUN")
@click.argument("changes", nargs=-1, required=True, metavar="LABEL...", callback=_changed)
@shared_options
def label(run: str, changes: dict[str, Any], as_json: bool) -> None:
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
            why = "the process that works on the run has not recorded this yet"
            if len(labels) >= MAX_LABELS:
                why = f"the run has {MAX_LABELS} labels, and a further one has no effect"
            warn(f"{why}: `{shown}`")


def label_text(labels: dict[str, str]) -> str:
    """Return labels on one line, for a person."""
    return ", ".join(clean(f"{name}={value}") for name, value in sorted(labels.items()))
