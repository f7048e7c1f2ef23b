"""Count the lines of Python that a kit consists of: `python tests/helpers/kit_lines.py FOLDER...`."""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from pathlib import Path

__all__ = ["code_lines_in"]

#: It measures the kit, and does not count as a part of it.
_EVALUATION = "evaluation.py"

_NO_CODE = (
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
)


def code_lines_in(folder: Path) -> int:
    """Return the lines with code of a kit: without empty lines, comments, docstrings, its evaluation.

    Args:
        folder: of its modules.
    """
    files = sorted(each for each in folder.glob("*.py") if each.name != _EVALUATION)
    return sum(_code_lines(each.read_text(encoding="utf-8")) for each in files)


def _code_lines(source: str) -> int:
    lines = {
        number
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in _NO_CODE
        for number in range(token.start[0], token.end[0] + 1)
    }
    return len(lines - _docstring_lines(ast.parse(source)))


def _docstring_lines(tree: ast.Module) -> set[int]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {
        number
        for node in ast.walk(tree)
        if isinstance(node, documented) and ast.get_docstring(node) is not None
        for number in range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)
    }


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(code_lines_in(Path(name)), name)
