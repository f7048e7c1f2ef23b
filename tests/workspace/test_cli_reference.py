"""The reference of the command line says the same as the help texts, in the same words."""

import re
from pathlib import Path

import click
import pytest

from doc_examples import blocks_in
from kando.cli.main import _GROUPS, cli

pytestmark = pytest.mark.once

PAGE = (Path(__file__).parents[2] / "docs/reference/cli.md").read_text()
SECTIONS = dict(re.findall(r"^## kando (\S+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
LINES = {name: line for group in _GROUPS.values() for name, (_, line) in group.items()}
SHARED = {"--debug", "--json", "--ledger", "--prefer", "--help"}


@pytest.mark.parametrize("name", LINES)
def test_a_section_starts_with_the_line_of_the_command_in_kando_help(name: str) -> None:
    block = blocks_in(SECTIONS[name])[0].text
    text = SECTIONS[name].partition(f"{block}```\n\n")[2]
    plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)

    assert " ".join(plain.split()).startswith(LINES[name])


@pytest.mark.parametrize("name", LINES)
def test_a_section_names_the_values_of_options_as_the_help_text_does(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None

    for option in command.params:
        if isinstance(option, click.Option) and option.metavar and option.opts[0] not in SHARED:
            assert f"`{option.opts[-1]} {option.metavar}`" in SECTIONS[name]


def test_the_contents_list_the_commands_in_the_groups_of_kando_help() -> None:
    contents = PAGE.partition("\n## ")[0]

    listed = re.findall(r"^- (\w+): (.*?)(?=^- )", contents, re.MULTILINE | re.DOTALL)
    assert {title: re.findall(r"\[([a-z-]+)\]", links) for title, links in listed} == {
        title: list(commands) for title, commands in _GROUPS.items()
    }
