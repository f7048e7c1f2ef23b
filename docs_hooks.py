"""What the documentation gets when it is built: the reference of Python from docstrings."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["on_page_markdown"]

_PAGE = "reference/python.md"

#: A row of a table whose first cell is a module.
_ROW = re.compile(r"^\| `(kando(?:\.\w+)*)` \| (.+) \|$", re.MULTILINE)


def on_page_markdown(markdown: str, page: Any, **more: Any) -> str:
    """Append the docstrings of every module that the page of Python names."""
    if page.file.src_uri != _PAGE:
        return markdown
    modules = dict.fromkeys(module for module, _ in _ROW.findall(markdown))
    directives = "\n\n".join(f"::: {module}" for module in modules)
    return f"{markdown}\n\n## From the docstrings\n\n{directives}\n"
