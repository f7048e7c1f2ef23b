"""`kando --help` and `kando COMMAND --help`: commands in groups, and one wording for each command."""

import re
from collections.abc import Callable
from importlib import import_module
from typing import Any

import click
import pytest

from kando.cli.main import _GROUPS, cli

Run = Callable[..., Any]

LINES = {name: line for group in _GROUPS.values() for name, (_, line) in group.items()}


def test_the_commands_are_shown_in_groups_that_contain_each_of_them_once(kando: Run) -> None:
    shown = kando("--help").stdout

    titles = re.findall(r"^(\w+):$", shown, re.MULTILINE)
    assert titles == ["Options", "Run", "Look", "Branch", "People", "Kits", "Operate"]
    names = [name for group in _GROUPS.values() for name in group]
    assert re.findall(r"^  ([a-z-]+)  +[A-Z]", shown, re.MULTILINE)[-len(names) :] == names
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", LINES)
def test_the_help_of_a_command_starts_with_its_line_in_the_list(kando: Run, name: str) -> None:
    shown = kando(name, "--help").stdout

    first = shown.split("\n\n")[1]
    assert " ".join(first.split()) == LINES[name]


@pytest.mark.parametrize("name", LINES)
def test_every_option_has_a_help_text(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)

    assert command is not None
    options = [each for each in command.params if isinstance(each, click.Option)]
    assert all(each.help and each.help.partition("  [")[0].endswith((".", "]")) for each in options)


@pytest.mark.parametrize("name", LINES)
def test_a_command_is_defined_in_the_module_of_its_row(name: str) -> None:
    (row,) = [group[name] for group in _GROUPS.values() if name in group]
    module, _, attribute = row[0].partition(":")

    assert getattr(import_module(module), attribute).name == name
