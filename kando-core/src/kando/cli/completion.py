"""`kando completion`: shell completion of commands, options, runs, kits and providers."""

from __future__ import annotations

import os
from typing import Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from kando.cli.output import json_option, print_json, print_line

__all__ = ["completion"]

_BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' response completion type value
    response=$(env COMP_WORDS="${COMP_LINE:0:$COMP_POINT}" COMP_CWORD="$2" \\
        %(complete_var)s=bash_complete "$1")
    for completion in $response; do
        IFS=',' read -r type value <<< "$completion"
        case $type in
            dir) COMPREPLY=(); compopt -o dirnames ;;
            file) COMPREPLY=(); compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


@add_completion_class
class _Bash(BashComplete):
    """Completion for bash, which splits words at ``@``, ``:`` and ``=``; names of runs contain them.

    The script passes the line up to the cursor as ``COMP_WORDS``, and as ``COMP_CWORD`` the part
    that bash replaces.
    """

    source_template = _BASH
    _kept = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        line, replaced = os.environ["COMP_WORDS"], os.environ["COMP_CWORD"]
        words = split_arg_string(line)
        incomplete = words.pop() if words and not line[-1].isspace() else ""
        self._kept = incomplete.removesuffix(replaced)
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem[Any]) -> str:
        return f"{item.type},{item.value.removeprefix(self._kept)}"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@json_option
@click.pass_context
def completion(context: click.Context, shell: str, as_json: bool) -> None:
    """Print a shell completion script.

    It completes commands and options, and the names of runs, kits and providers.

    \b
    bash: kando completion bash >> ~/.bashrc
    zsh:  kando completion zsh >> ~/.zshrc
    fish: kando completion fish > ~/.config/fish/completions/kando.fish
    """
    found = get_completion_class(shell)
    assert found is not None
    script = found(context.find_root().command, {}, "kando", "_KANDO_COMPLETE").source()
    if as_json:
        print_json({"shell": shell, "script": script})
    else:
        for line in script.splitlines():
            print_line(line)
