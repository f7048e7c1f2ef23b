"""Texts that readers meet, with the places where they are written."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import attrs

__all__ = ["Text", "texts_of"]

#: Markdown that is not prose: blocks of code, and code, links and HTML inside a line.
_FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`|\]\([^)\s]*\)|<[^>\n]*>")
_COMMENT = re.compile(r"^#+[:!]? ?")
#: Arguments and variables that hold a message, and methods that write one.
_MESSAGES = re.compile(r"(?:msg|message|hint|help|short_help|epilog|what|problem|reason|summary)\Z")


@attrs.frozen
class Text:
    """A text and its place.

    Attributes:
        line: number of its first line.
        text: with values that are inserted at run time as ``{}``.
    """

    line: int
    text: str


def texts_of(path: Path) -> Iterator[Text]:
    """Yield the paragraphs of a page, or the docstrings, messages and comments of a source."""
    content = path.read_text()
    if path.suffix == ".tmpl":
        content = re.sub(r"\$\w+|\$\{\w+\}", "VALUE", content)
    name = path.name.removesuffix(".tmpl")
    if name.endswith(".py"):
        yield from _comments(content)
        yield from _strings(ast.parse(content), in_all=False)
    elif name.endswith(".md"):
        yield from _paragraphs(content)
    else:
        yield from (
            Text(number, line.lstrip("# "))
            for number, line in enumerate(content.splitlines(), 1)
            if line.lstrip().startswith("#") or name == "Makefile"
        )


def _paragraphs(content: str) -> Iterator[Text]:
    blanked = _FENCE.sub(lambda block: "\n" * block[0].count("\n"), content)
    start = 1
    for paragraph in re.split(r"(\n(?: *\n)+|\n(?= *(?:[-*|#>]|\d+\.) ))", blanked):
        text = _CODE.sub("``", paragraph).strip()
        if text and not text.startswith("#"):
            yield Text(
                start + paragraph[: len(paragraph) - len(paragraph.lstrip())].count("\n"), text
            )
        start += paragraph.count("\n")


def _comments(content: str) -> Iterator[Text]:
    """Yield the comments; lines that follow each other are one text."""
    last, text = None, Text(0, "")
    for token in tokenize.generate_tokens(io.StringIO(content).readline):
        if token.type != tokenize.COMMENT:
            continue
        line, comment = token.start[0], _COMMENT.sub("", token.string)
        if last is not None and line == last + 1:
            text = Text(text.line, f"{text.text} {comment}")
        else:
            if last is not None:
                yield text
            text = Text(line, comment)
        last = line
    if last is not None:
        yield text


def _strings(node: ast.AST, *, in_all: bool) -> Iterator[Text]:
    """Yield the docstrings and the strings of messages.

    Args:
        in_all: whether every string in the node is part of a message.
    """
    is_block = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    if is_block and (docstring := ast.get_docstring(node)) is not None:
        for part in re.split(r"(\n\s*\n)", docstring):
            if part.strip():
                yield Text(node.body[0].lineno, part)
    if is_block and not isinstance(node, ast.Module) and node.name.startswith("test_"):
        yield Text(node.lineno, node.name.replace("_", " "))
    if isinstance(node, ast.JoinedStr):
        parts = (str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values)
        if in_all:
            yield Text(node.lineno, "".join(parts))
        return
    if isinstance(node, ast.Constant):
        if in_all and isinstance(node.value, str):
            yield Text(node.lineno, node.value)
        return
    for child in ast.iter_child_nodes(node):
        yield from _strings(child, in_all=in_all or _is_message(child))


def _is_message(node: ast.AST) -> bool:
    if isinstance(node, ast.Raise):
        return True
    if isinstance(node, ast.keyword):
        return node.arg is not None and _MESSAGES.match(node.arg) is not None
    if isinstance(node, ast.Assign):
        target = node.targets[0]
        return isinstance(target, ast.Name) and _MESSAGES.match(target.id) is not None
    if isinstance(node, ast.Assert):
        return False
    return isinstance(node, ast.Call) and _called(node) in {"warn", "echo", "fail", "skip"}


def _called(node: ast.Call) -> str:
    return getattr(node.func, "attr", getattr(node.func, "id", ""))
