"""Hooks of `make docs`: docstrings on the page of Python, and no asset from elsewhere."""

from __future__ import annotations

import logging
import re
from typing import Any

__all__ = ["on_page_markdown", "on_post_page"]

_PAGE = "reference/python.md"

#: The first cell of a table's row, if it is a module.
_MODULE = re.compile(r"^\| `(kando(?:\.\w+)*)` \|", re.MULTILINE)
#: The table of contents shows the whole path, since many modules have the same last name.
_DOCSTRINGS = "::: {module}\n    options:\n      toc_label: {module}"
#: The package offers names of other modules, whose docstrings are shown there. Those that the table
#: shows with parameters or methods are its own.
_PACKAGE = re.compile(r"^\| `kando` \|.*$", re.MULTILINE)
_OWN = re.compile(r"(?:\| |<br>)`(\w+)(?:\(|`: )")
#: A script, a picture, a frame or a style sheet that a browser would fetch from a server.
_REMOTE = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\ssrc=["']?((?:https?:)?//[^"'\s>]+)"""
    r"""|<link\b(?=[^>]*\srel=["']?(?:stylesheet|icon|preload|preconnect))"""
    r"""[^>]*\shref=["']?((?:https?:)?//[^"'\s>]+)"""
)
_log = logging.getLogger("mkdocs.hooks")


def on_page_markdown(markdown: str, page: Any, **more: Any) -> str:
    """Append the docstrings of every module in the tables of the page, and link them there."""
    if page.file.src_uri != _PAGE:
        return markdown
    # Search ranks other pages first: this one is by far the longest.
    page.meta["search"] = {"boost": 0.5}
    modules = dict.fromkeys(_MODULE.findall(markdown))
    linked = _MODULE.sub(r"| [`\1`](#\1) |", markdown)
    docstrings = "\n\n".join(_DOCSTRINGS.format(module=module) for module in modules)
    package = _PACKAGE.search(markdown)
    if package is not None:
        members = f"      members: [{', '.join(_OWN.findall(package[0]))}]"
        docstrings = docstrings.replace("label: kando\n", f"label: kando\n{members}\n")
    return f"{linked}\n\n## From the docstrings\n\n{docstrings}\n"


def on_post_page(output: str, page: Any, **more: Any) -> str:
    """Warn, which fails a strict build, if a page loads an asset from a server."""
    for found in _REMOTE.finditer(output):
        _log.warning("%s loads %s from a server.", page.file.src_uri, found[1] or found[2])
    return output
