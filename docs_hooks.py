"""Hooks of `make docs`: docstrings on the page of Python."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["on_page_markdown"]

_PAGE = "reference/python.md"

#: The first cell of a table's row, if it is a module.
_MODULE = re.compile(r"^\| `(kando(?:\.\w+)*)` \|", re.MULTILINE)
#: The table of contents shows the whole path, since many modules have the same last name.
_DOCSTRINGS = "::: {module}\n    options:\n      toc_label: {module}"


def on_page_markdown(markdown: str, page: Any, **more: Any) -> str:
    """Append the docstrings of every module in the tables of the page, and link them there."""
    if page.file.src_uri != _PAGE:
        return markdown
    # Search ranks other pages first: this one is by far the longest.
    page.meta["search"] = {"boost": 0.5}
    modules = dict.fromkeys(_MODULE.findall(markdown))
    linked = _MODULE.sub(r"| [`\1`](#\1) |", markdown)
    docstrings = "\n\n".join(_DOCSTRINGS.format(module=module) for module in modules)
    return f"{linked}\n\n## From the docstrings\n\n{docstrings}\n"
