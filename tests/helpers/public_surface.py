"""The public surface: modules and names in the tables of the reference, and in the code.

To rewrite the names and signatures in the tables after a change of the code, run
``python tests/helpers/public_surface.py``.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import attrs

__all__ = [
    "FOLDERS",
    "ROOT",
    "Module",
    "covers",
    "imports_of",
    "internal_rows",
    "modules",
    "names_cell",
    "public_rows",
]

ROOT = Path(__file__).parents[2]
#: Folders of the distributions; the import names are below ``src``.
FOLDERS = [path.parent for path in sorted(ROOT.glob("*/src"))]
FOLDERS += [path.parent for path in sorted(ROOT.glob("kits/*/src"))]

_REFERENCE = ROOT / "docs" / "reference"
_PYTHON = _REFERENCE / "python.md"
_SURFACE = _REFERENCE / "public-surface.md"
#: ``| `module` | holds | names |``
_PUBLIC_ROW = re.compile(r"^\| `([\w.]+)` \| (.+?) \|(?: (.*))? \|$")
_INTERNAL_ROW = re.compile(r"^\| `([\w.]+(?:\.\*)?)` \|")
#: A default that is longer is shown as ``...``.
_LONGEST_DEFAULT = 12


@attrs.frozen
class Module:
    """A module of the repository.

    Attributes:
        name: as it is imported.
        path: of its file.
        has_names: whether it defines or imports anything.
    """

    name: str
    path: Path
    has_names: bool

    @property
    def is_private(self) -> bool:
        """Whether a part of its name starts with ``_``."""
        return any(part.startswith("_") for part in self.name.split("."))


def modules() -> list[Module]:
    """Return every module of every distribution."""
    found = []
    for folder in FOLDERS:
        for path in sorted((folder / "src").rglob("*.py")):
            parts = path.relative_to(folder / "src").with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            body = ast.parse(path.read_text()).body
            found.append(Module(name, path, any(not isinstance(node, ast.Expr) for node in body)))
    return found


def public_rows() -> dict[str, list[tuple[str, str]]]:
    """Return the modules of each table of ``python.md``, with the cells that hold their names."""
    return {
        title: [
            (row[1], row[3] or "") for line in text.splitlines() if (row := _PUBLIC_ROW.match(line))
        ]
        for title, text in _sections(_PYTHON)
        if title in ("For kit authors", "For plugin authors")
    }


def internal_rows() -> list[str]:
    """Return the modules and packages of the table of internal modules."""
    text = dict(_sections(_SURFACE))["Internal"]
    return [row[1] for line in text.splitlines() if (row := _INTERNAL_ROW.match(line))]


def covers(row: str, module: str) -> bool:
    """Whether a row of the internal table includes a module."""
    if row.endswith(".*"):
        return module.startswith(row[:-1])
    return module == row or module.startswith(f"{row}.")


def imports_of(source: str) -> Iterator[tuple[str, str | None]]:
    """Yield the modules that a source imports, with the name imported from them or None."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)


def names_cell(module: ModuleType, public: set[str], cell: str) -> str:
    """Return the cell with the names of a module, as it should be.

    Args:
        module: has an ``__all__``.
        public: names of the modules in the tables; a name that another of them defines is shown
            without its signature.
        cell: as it is. It decides how classes are shown: without parameters if programs only
            receive instances, and with methods and properties if a colon follows.
    """
    received = set(re.findall(r"`(\w+)`", cell))
    expanded = set(re.findall(r"`(\w+)[^`]*`: ", cell))
    shown = []
    for name in sorted(module.__all__, key=str.isupper):
        found = getattr(module, name)
        home = getattr(found, "__module__", module.__name__)
        is_elsewhere = any(covers(each, home) for each in public - {module.__name__, "kando"})
        is_received = inspect.isclass(found) and name in received
        forms = [""] if is_elsewhere or is_received else _forms(found)
        text = " or ".join(f"`{name}{form}`" for form in forms)
        if name in expanded:
            text += ": " + ", ".join(_members(found))
        shown.append(text)
    return (";<br>" if expanded else ", ").join(shown)


def _sections(page: Path) -> Iterator[tuple[str, str]]:
    parts = re.split(r"^## (.+)$", page.read_text(), flags=re.MULTILINE)
    yield from zip(parts[1::2], parts[2::2], strict=True)


def _forms(found: object) -> list[str]:
    """Return the parameters of a function or class in short form, once for each overload."""
    if inspect.isclass(found):
        # Others take the arguments of a base class, which is shown with them.
        is_named_tuple = hasattr(found, "_fields")
        has_own = "__init__" in vars(found) and not getattr(found, "_is_protocol", False)
        return [_parameters(found)] if has_own or is_named_tuple else [""]
    if not inspect.isroutine(found):
        return [""]
    overloads = typing.get_overloads(found) if inspect.isfunction(found) else ()
    return [_parameters(each) for each in overloads or [found]]


def _parameters(found: object) -> str:
    assert callable(found)
    shown, is_keyword_only = [], False
    for parameter in inspect.signature(found).parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            is_keyword_only = True
            shown.append(f"*{parameter.name}")
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            shown.append(f"**{parameter.name}")
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not is_keyword_only:
            is_keyword_only = True
            shown.append("*")
        default = ""
        if parameter.default is not parameter.empty:
            is_plain = isinstance(parameter.default, bool | int | float | str | tuple | None)
            text = repr(parameter.default) if is_plain else "..."
            default = f"={text if len(text) <= _LONGEST_DEFAULT else '...'}"
        shown.append(parameter.name + default)
    return f"({', '.join(shown)})"


def _members(found: object) -> Iterator[str]:
    """Yield the public methods, with their parameters, and the properties of a class, as code."""
    assert inspect.isclass(found)
    classes = [cls for cls in reversed(found.__mro__) if cls.__module__.startswith("kando")]
    for name in dict.fromkeys(name for cls in classes for name in vars(cls)):
        if name.startswith("_"):
            continue
        member = inspect.getattr_static(found, name)
        if isinstance(member, property):
            yield f"`{name}`"
        elif isinstance(member, classmethod | staticmethod) or inspect.isfunction(member):
            forms = _forms(getattr(found, name))
            yield " or ".join(f"`{name}{form}`" for form in forms)


def rewrite() -> None:
    """Rewrite the cells of the tables that hold names."""
    public = {module for rows in public_rows().values() for module, _ in rows}
    lines = _PYTHON.read_text().splitlines(keepends=True)
    for number, line in enumerate(lines):
        row = _PUBLIC_ROW.match(line)
        if row is not None:
            cell = names_cell(importlib.import_module(row[1]), public, row[3] or "")
            lines[number] = f"| `{row[1]}` | {row[2]} | {cell} |\n"
    _PYTHON.write_text("".join(lines))


if __name__ == "__main__":
    rewrite()
