"""Finds the examples of a Markdown page, and runs them.

A page is run from top to bottom in a folder of its own. Its Python blocks share a namespace. Each
line of a console block that starts with ``$`` is a command; the lines up to the next command are its
expected output. An HTML comment in the line above a block changes its meaning:

- ``<!-- not run: reason -->``: the block is shown only;
- ``<!-- file: PATH -->``: the block is the content of a file, which is written;
- ``<!-- output -->``: the block is the expected output of the Python block before it;
- ``<!-- on the path: FOLDER -->``: the block installs the project in FOLDER. The environment of the
  tests is not changed; the project is put on the path with the metadata of its ``pyproject.toml``.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from textwrap import dedent
from types import TracebackType
from typing import Self

import attrs

__all__ = ["Block", "Page", "anchors_in", "blocks_in", "code_spans_in", "links_in", "match"]

_FENCE = re.compile(
    r"(?:^<!--[ ](?P<mark>[^\n]*?)[ ]-->\n)?"
    r"^(?P<indent>[ ]*)(?P<fence>`{3,})(?P<language>[\w-]*)[^\n]*\n"
    r"(?P<text>.*?)^(?P=indent)(?P=fence)[ ]*$",
    re.MULTILINE | re.DOTALL,
)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)

# Text that differs from run to run. Run ids are compared by identity, the rest only by form.
_RUN_ID = r"\b[a-z][0-9abcdefghjkmnpqrstvwxyz]{9}\b"
_FORMS = {
    "any": r"\.{3,}",
    "time": r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z",
    # pytest adds the minutes of a run that takes more than one.
    "seconds": r"\b\d+\.\d+s\b(?: \(\d+:\d\d:\d\d\))?",
    "version": r"\b\d+\.\d+\.\d+\b",
    "id": _RUN_ID,
    "space": r" +",
}
_VARYING = re.compile("|".join(f"(?P<{name}>{form})" for name, form in _FORMS.items()))

# Runs the Python blocks of a page: a request is a line of JSON, and so is its answer.
_INTERPRETER = """
import contextlib, io, json, sys, traceback
namespace = {"__name__": "__main__"}
for request in sys.stdin:
    name, line, code = json.loads(request)
    printed, error = io.StringIO(), None
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile("\\n" * line + code, name, "exec"), namespace)
    except BaseException:
        error = traceback.format_exc()
    print(json.dumps([printed.getvalue(), error]), flush=True)
"""


@attrs.frozen
class Block:
    """A fenced block of a page.

    Attributes:
        line: of its fence, from 1.
        language: such as ``python``; empty if the fence names none.
        text: without the fences.
        mark: what the comment above it says.
    """

    line: int
    language: str
    text: str
    mark: str = ""

    @property
    def is_run(self) -> bool:
        """Whether the block is run, not only shown."""
        return not self.mark.startswith("not run: ")

    def commands(self) -> list[tuple[str, str]]:
        """Return the commands of a console block, each with its expected output."""
        found: list[tuple[str, str]] = []
        for line in self.text.splitlines(keepends=True):
            if line.startswith("$ "):
                found.append((line[2:].rstrip("\n"), ""))
            elif found:
                found[-1] = (found[-1][0], found[-1][1] + line)
        return found


def blocks_in(markdown: str) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    return [
        Block(
            markdown.count("\n", 0, found.start("fence")) + 1,
            found["language"],
            dedent(found["text"]),
            found["mark"] or "",
        )
        for found in _FENCE.finditer(markdown)
    ]


def links_in(markdown: str) -> list[str]:
    """Return the targets of a page's links."""
    return _LINK.findall(_SPAN.sub("", _FENCE.sub("", markdown)))


def code_spans_in(markdown: str) -> list[str]:
    """Return the inline code of a page."""
    return _SPAN.findall(_FENCE.sub("", markdown))


def anchors_in(markdown: str) -> set[str]:
    """Return the anchors of a page's headings."""
    titles = _HEADING.findall(_FENCE.sub("", markdown))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def match(shown: str, printed: str, ids: dict[str, str]) -> bool:
    """Whether the output of a command matches the page; if so, its run ids are added to `ids`.

    An id on the page means the same run everywhere on that page, and different ids different runs.

    Args:
        shown: the expected output, where ``...`` matches any text.
        printed: the output.
        ids: printed run ids by the ids on the page; updated.
    """
    pattern, at, groups = "", 0, []
    for found in _VARYING.finditer(shown):
        pattern += re.escape(shown[at : found.start()])
        at = found.end()
        if found.lastgroup == "any":
            pattern += ".*"
        elif found.lastgroup != "id":
            pattern += _FORMS[str(found.lastgroup)]
        elif found[0] in ids:
            pattern += re.escape(ids[found[0]])
        elif found[0] in groups:
            pattern += rf"(?P=id{groups.index(found[0])})"
        else:
            pattern += f"(?P<id{len(groups)}>{_RUN_ID})"
            groups.append(found[0])
    matched = re.fullmatch(pattern + re.escape(shown[at:]), printed, re.DOTALL)
    if matched is None:
        return False
    learned = dict(zip(groups, matched.groups(), strict=True))
    if len({*ids.values(), *learned.values()}) < len(ids) + len(learned):
        return False
    ids.update(learned)
    return True


class Page:
    """Runs the examples of a page.

    Args:
        path: of the page.
        folder: where they run; it also contains their home directory.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        self.path = path
        self.folder = folder / "work"
        self.ids: dict[str, str] = {}
        self._printed = ""
        self._python: subprocess.Popen[str] | None = None
        self._environ = {
            "HOME": str(folder / "home"),
            "LANG": "C.UTF-8",
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": "",
            # An example may take longer than the time after which a command shows its progress.
            "KANDO_QUIET": "1",
            "PYTHONWARNINGS": "error",
        }
        self.folder.mkdir()
        (folder / "home").mkdir()

    def run(self) -> None:
        """Run every example, and fail at the first whose output differs from the page."""
        for block in blocks_in(self.path.read_text()):
            if block.is_run:
                self._run(block)

    def _run(self, block: Block) -> None:
        kind, _, argument = block.mark.partition(": ")
        if kind == "file":
            self._write(argument, block.text)
        elif kind == "on the path":
            self._put_on_path(argument)
        elif kind == "output":
            self._compare(block, block.text, self._printed)
        elif block.language == "python":
            self._printed = self._execute(block)
        elif block.language == "console":
            for command, shown in block.commands():
                self._call(block, command, shown)

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def _put_on_path(self, folder: str) -> None:
        root = self.folder / folder
        project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
        sources = root / "src" if (root / "src").exists() else root
        metadata = sources / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        )
        lines = []
        for group, entries in project["entry-points"].items():
            lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
        (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
        known = self._environ["PYTHONPATH"]
        self._environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(sources), known]))

    def _call(self, block: Block, command: str, shown: str) -> None:
        known = re.sub(_RUN_ID, lambda found: self.ids.get(found[0], found[0]), command)
        done = subprocess.run(
            ["sh", "-c", known],
            cwd=self.folder,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
        )
        where = f"{self._place(block)}: $ {command}"
        assert done.returncode == 0, f"{where}\nended with {done.returncode}:\n{done.stdout}"
        if shown.strip():
            self._compare(block, shown, done.stdout, where)

    def _execute(self, block: Block) -> str:
        if self._python is None:
            self._python = subprocess.Popen(
                [sys.executable, "-c", _INTERPRETER],
                cwd=self.folder,
                env=self._environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._python.stdin is not None
        assert self._python.stdout is not None
        request = json.dumps([str(self.path), block.line, block.text])
        self._python.stdin.write(request + "\n")
        self._python.stdin.flush()
        printed, error = json.loads(self._python.stdout.readline())
        assert error is None, f"{self._place(block)}:\n{error}"
        return str(printed)

    def _compare(self, block: Block, shown: str, printed: str, where: str = "") -> None:
        shown, printed = _trimmed(shown), _trimmed(printed)
        assert match(shown, printed, self.ids), (
            f"{where or self._place(block)}\nis shown with\n{shown}\nand printed\n{printed}"
        )

    def _place(self, block: Block) -> str:
        return f"{self.path.name}:{block.line}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._python is not None:
            self._python.communicate()


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())
