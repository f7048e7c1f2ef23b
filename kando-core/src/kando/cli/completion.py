"""`kando completion`: a shell completion script."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from kando.cli.output import json_option, print_json, print_line

__all__ = ["completion"]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@json_option
@click.pass_context
def completion(context: click.Context, shell: str, as_json: bool) -> None:
    """Print a shell completion script.

    For bash: kando completion bash >> ~/.bashrc
    """
    found = get_completion_class(shell)
    assert found is not None
    script = found(context.find_root().command, {}, "kando", "_KANDO_COMPLETE").source()
    if as_json:
        print_json({"shell": shell, "script": script})
    else:
        print_line(script)
