"""Write the tables of docs/reference/rest.md: the options of the commands, and the operations.

Run it when either has changed: ``python tests/helpers/rest_reference.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import click

from kando_inspector.access import ACT
from kando_inspector.application import BASE, OPERATIONS
from kando_inspector.commands import serve, ui

__all__ = ["PAGE", "rewritten"]

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "rest.md"


def rewritten(page: str) -> str:
    """Return the page with its tables as the code has them."""
    common = {each.name for each in serve.params}
    for head, rows in (
        ("| option | |\n| --- | --- |\n", map(_option_row, _options(serve))),
        (
            "| option of `kando ui` | |\n| --- | --- |\n",
            (_option_row(each) for each in _options(ui) if each.name not in common),
        ),
        ("| method | path | |\n| --- | --- | --- |\n", _operation_rows()),
    ):
        start = page.index(head) + len(head)
        rest = re.match(r"(\|.*\n)*", page[start:])
        assert rest is not None
        page = page[:start] + "".join(f"{row}\n" for row in rows) + page[start + rest.end() :]
    return page


def _options(command: click.Command) -> list[click.Option]:
    return [each for each in command.params if isinstance(each, click.Option)]


def _option_row(each: click.Option) -> str:
    metavar = "" if each.is_flag else f" {each.metavar or 'N'}"
    about = re.sub(r" ?\[env: .*\]", "", each.help or "").rstrip(".")
    about = re.sub(r"(--[a-z-]+)", r"`\1`", about[:1].lower() + about[1:])
    if isinstance(each.default, str | int) and not each.is_flag:
        about += f"; default `{each.default}`"
    return f"| `{each.opts[0]}{metavar}` | {about} |"


def _operation_rows() -> Iterable[str]:
    for each in OPERATIONS:
        about = each.about.rstrip(".") + (
            "; only for clients that may act" if each.role == ACT else ""
        )
        yield f"| `{each.method}` | `{each.path}` | {about[:1].lower()}{about[1:]} |"


if __name__ == "__main__":
    assert BASE == "/api/v1"
    PAGE.write_text(rewritten(PAGE.read_text()))
