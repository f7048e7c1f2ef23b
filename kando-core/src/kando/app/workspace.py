"""The workspaces of runs: where their folders are, and the files at a position."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import attrs

from kando.app.context import Context, id_of
from kando.app.opened import OpenedRun
from kando.errors import ConfigurationError, NotFoundError, StoreError
from kando.ledger.interface import LedgerStore
from kando.ledger.trees import read_content, read_tree
from kando.runtime.folders import FolderLimits, write_folder
from kando.runtime.workspace import Workspace, store_folder
from kando.schema.events import WORKSPACE_LOADED, KandoEvent, make_event
from kando.schema.trees import WORKSPACE, Entry, Tree
from kando.settings import (
    WORKSPACE_IGNORE,
    WORKSPACE_MAX_BYTES,
    WORKSPACE_MAX_FILES,
    WORKSPACES,
    value_of,
)
from kando.views.workspace import tree_at

__all__ = [
    "FileChange",
    "diff_files",
    "file_of",
    "files_of",
    "folder_of",
    "limits_of",
    "loaded_event",
    "workspace_of",
    "write_files",
]

#: Bytes of a file of which no differences of lines are shown.
_MOST_DIFF_BYTES = 1024 * 1024


@attrs.frozen
class FileChange:
    """A file that differs between two workspaces.

    Attributes:
        path: of the file.
        before: the file in the first workspace; None if it is new.
        after: the file in the second; None if it is gone.
        diff: its lines that differ, as a unified diff; empty if one of the two is not text.
    """

    path: str
    before: Entry | None
    after: Entry | None
    diff: str = ""

    @property
    def kind(self) -> str:
        """``added``, ``removed`` or ``changed``."""
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"


def limits_of(context: Context) -> FolderLimits:
    """Return what a workspace may hold, from the settings."""
    environ = context.environ
    return FolderLimits(
        value_of(WORKSPACE_IGNORE, environ),
        int(value_of(WORKSPACE_MAX_FILES, environ)),
        int(value_of(WORKSPACE_MAX_BYTES, environ)),
    )


def folder_of(context: Context, ledger_id: str) -> Path:
    """Return the folder for the workspace of a run, below that of the user's data.

    Runs of one id in two stores have different folders.
    """
    named = value_of(WORKSPACES, context.environ)
    if named:
        base = Path(named).expanduser()
    elif context.url.startswith("memory:"):
        base = context.temporary_folder()
    else:
        import platformdirs

        base = Path(platformdirs.user_data_dir("kando", appauthor=False), "workspaces")
    folder = base.absolute() / _name_of_store(context) / ledger_id
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _name_of_store(context: Context) -> str:
    from hashlib import sha256

    from kando.app.substrates import sqlite_path

    url = context.url
    if url.lower().startswith("sqlite:"):
        url = f"sqlite:{os.path.realpath(sqlite_path(url))}"
    return sha256(url.encode()).hexdigest()[:16]


def workspace_of(context: Context, ledger: LedgerStore) -> Workspace:
    """Return the workspace of a run or branch; no folder is made before its first use."""
    return Workspace(ledger, lambda: folder_of(context, id_of(ledger)), limits_of(context))


def loaded_event(context: Context, ledger: LedgerStore, folder: Path, actor: str) -> KandoEvent:
    """Store the files of a folder, and return the event that makes them the workspace of a run.

    Args:
        context: with the settings.
        ledger: of the run.
        folder: whose content is copied.
        actor: of the event.

    Raises:
        ConfigurationError: the folder cannot be read.
        InvalidData: it exceeds a limit, or holds something that no workspace can.
        StoreError: the store keeps no blobs.
    """
    try:
        digest = store_folder(ledger, folder, limits_of(context))
    except OSError as error:
        msg = f"The folder {folder} cannot be read: {error.strerror or error}."
        raise ConfigurationError(msg, hint="Name a folder of files.") from error
    return make_event(WORKSPACE_LOADED, "", actor, [], {WORKSPACE: digest.hex()})


def files_of(run: OpenedRun, end: int) -> Tree:
    """Return the files of a run after its first `end` events; none if it used no workspace.

    Raises:
        StoreDamaged: the tree is missing or damaged.
    """
    named = tree_at(run.ledger, end)
    return Tree() if named is None else read_tree(run.ledger, named)


def file_of(run: OpenedRun, end: int, path: str) -> bytes:
    """Return the content of a file of a run after its first `end` events.

    Raises:
        NotFoundError: the run has no such file.
        StoreDamaged: the file is missing or damaged.
    """
    entry = files_of(run, end).by_path().get(path)
    if entry is None:
        msg = f"{run.ledger.stream_name()} has no file {path!r:.120} at {end}."
        raise NotFoundError(msg, hint=f"`kando workspace {run.id}` lists them.")
    return read_content(run.ledger, entry)


def write_files(run: OpenedRun, end: int, folder: Path) -> Tree:
    """Write the files of a run after its first `end` events into a new or empty folder.

    Raises:
        ConfigurationError: the folder is not empty.
        StoreError: it cannot be written.
        StoreDamaged: a file is missing or damaged.
    """
    tree = files_of(run, end)
    try:
        if folder.exists() and any(folder.iterdir()):
            msg = f"{folder} is not an empty folder."
            raise ConfigurationError(msg, hint="Name a new folder.")
        write_folder(run.ledger, tree, folder, limits_of(run.context))
    except OSError as error:
        msg = f"The folder {folder} cannot be written: {error.strerror or error}."
        raise StoreError(msg, hint="Choose another folder.") from error
    return tree


def diff_files(a: OpenedRun, end_a: int, b: OpenedRun, end_b: int) -> list[FileChange]:
    """Return the files that differ between two runs, sorted by path.

    Args:
        a: the first run.
        end_a: how many of its events count.
        b: the second run.
        end_b: how many of its events count.

    Raises:
        StoreDamaged: a file is missing or damaged.
    """
    before, after = files_of(a, end_a).by_path(), files_of(b, end_b).by_path()
    found = []
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old == new:
            continue
        lines = "".join(_lines(path, _text(a.ledger, old), _text(b.ledger, new)))
        found.append(FileChange(path, old, new, lines))
    return found


def _text(ledger: LedgerStore, entry: Entry | None) -> str | None:
    """Return the content of a file as text; None if it is not text, or too long."""
    if entry is None:
        return ""
    if entry.size > _MOST_DIFF_BYTES:
        return None
    content = read_content(ledger, entry)
    try:
        return None if b"\0" in content else content.decode()
    except UnicodeDecodeError:
        return None


def _lines(path: str, old: str | None, new: str | None) -> Iterator[str]:
    if old is None or new is None:
        return
    # Not at the top: every command that works on a run imports this module.
    from difflib import unified_diff

    for line in unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), f"a/{path}", f"b/{path}"
    ):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
