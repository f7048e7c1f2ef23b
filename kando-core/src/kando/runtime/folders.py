"""Folders of files: read as a tree, and brought to the state of a tree.

Nothing outside a folder is read or written: links are not followed, and those that lead out are
refused.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path

import attrs

from kando.errors import InvalidData
from kando.ledger.interface import LedgerStore
from kando.ledger.trees import contents_of
from kando.schema.trees import (
    EXECUTABLE,
    FILE,
    LINK,
    NEVER_STORED,
    Entry,
    Tree,
    link_problem,
    path_problem,
)
from kando.settings import WORKSPACE_IGNORE, WORKSPACE_MAX_BYTES, WORKSPACE_MAX_FILES

__all__ = ["FolderLimits", "KnownFiles", "read_folder", "write_folder"]

#: A file that changed less than this many nanoseconds ago may change again within the same tick of
#: its clock.
_SETTLED_NS = 2_000_000_000

# Folders of compiled modules, whose sources may have changed since.
_STALE = "__pycache__"


@attrs.frozen
class FolderLimits:
    """The limits of a workspace.

    Attributes:
        ignored: names of files and folders that are left out, with ``*`` and ``?``.
        max_files: how many files it may have.
        max_bytes: how many bytes its files may have together.
    """

    ignored: tuple[str, ...] = WORKSPACE_IGNORE.default
    max_files: int = int(WORKSPACE_MAX_FILES.default)
    max_bytes: int = int(WORKSPACE_MAX_BYTES.default)

    def ignores(self, name: str) -> bool:
        """Whether files and folders of a name are left out."""
        return name.lower() == NEVER_STORED or any(fnmatchcase(name, each) for each in self.ignored)

    def check(self, files: int, size: int, what: str) -> None:
        """Refuse a folder that has too many files, or too much in them.

        Raises:
            InvalidData: it exceeds a limit.
        """
        if files > self.max_files:
            msg = f"{what} has more than {self.max_files:,} files."
            raise InvalidData(msg, hint="Remove some, or set KANDO_WORKSPACE_MAX_FILES.")
        if size > self.max_bytes:
            msg = f"The files of {what} have more than {self.max_bytes:,} bytes."
            raise InvalidData(msg, hint="Remove some, or set KANDO_WORKSPACE_MAX_BYTES.")


@attrs.define
class KnownFiles:
    """The files of a folder as they were read last, so that only those that changed are read again."""

    _found: dict[str, tuple[tuple[int, ...], Entry]] = attrs.field(factory=dict)

    def get(self, path: str, state: os.stat_result) -> Entry | None:
        """Return the entry of a file that has not changed since it was read, or None."""
        signature, entry = self._found.get(path, (None, None))
        return entry if signature == _signature(state) else None

    def put(self, state: os.stat_result, entry: Entry) -> None:
        """Remember the entry of a file that was just read."""
        if time.time_ns() - max(state.st_ctime_ns, state.st_mtime_ns) > _SETTLED_NS:
            self._found[entry.path] = _signature(state), entry


def _signature(state: os.stat_result) -> tuple[int, ...]:
    return (state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_size, state.st_mode)


def read_folder(
    folder: Path,
    limits: FolderLimits,
    found: Callable[[Entry, bytes], None] = lambda entry, content: None,
    known: KnownFiles | None = None,
    is_needed: Callable[[Entry], bool] = lambda entry: False,
) -> Tree:
    """Return the tree of a folder.

    Args:
        folder: whose files are read; links are not followed.
        limits: of the folder.
        found: called with each file that was read, and its content.
        known: files that were read before.
        is_needed: whether a known file is read nevertheless.

    Raises:
        InvalidData: it exceeds a limit, or holds something that no tree can: a link that leads out
            of it, a name that is not UTF-8, a device.
        OSError: a file cannot be read.
    """
    known = known if known is not None else KnownFiles()
    entries: list[Entry] = []
    size = 0
    for each, path in _walk(folder, "", limits):
        problem = path_problem(path)
        if problem is not None:
            raise _refused(path, problem)
        state = each.stat(follow_symlinks=False)
        entry = known.get(path, state)
        if entry is None or is_needed(entry):
            limits.check(len(entries) + 1, size + state.st_size, "The workspace")
            entry, content = _read(each, path, state)
            found(entry, content)
            known.put(state, entry)
        entries.append(entry)
        size += entry.size
        limits.check(len(entries), size, "The workspace")
    return Tree(tuple(sorted(entries, key=lambda each: each.path)))


def _walk(
    folder: Path, prefix: str, limits: FolderLimits
) -> Iterator[tuple[os.DirEntry[str], str]]:
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda each: each.name)
    for each in ordered:
        if limits.ignores(each.name):
            continue
        path = f"{prefix}{each.name}"
        if each.is_dir(follow_symlinks=False):
            yield from _walk(folder / each.name, f"{path}/", limits)
        else:
            yield each, path


def _read(each: os.DirEntry[str], path: str, state: os.stat_result) -> tuple[Entry, bytes]:
    if stat.S_ISLNK(state.st_mode):
        target = os.readlink(each.path)
        problem = link_problem(path, target)
        if problem is not None:
            raise _refused(path, problem)
        kind, content = LINK, os.fsencode(target)
    elif stat.S_ISREG(state.st_mode):
        kind = EXECUTABLE if state.st_mode & stat.S_IXUSR and os.name == "posix" else FILE
        content = Path(each.path).read_bytes()
    else:
        raise _refused(path, "is neither a file nor a folder nor a link")
    return Entry(path, kind, sha256(content).hexdigest(), len(content)), content


def _refused(path: str, problem: str) -> InvalidData:
    msg = f"The workspace cannot be recorded: {path!r:.120} {problem}."
    return InvalidData(msg, hint="Remove or rename it.")


def write_folder(
    ledger: LedgerStore,
    tree: Tree,
    folder: Path,
    limits: FolderLimits,
    known: KnownFiles | None = None,
) -> None:
    """Bring a folder to the state of a tree; what the limits ignore stays as it is.

    Args:
        ledger: that holds the contents.
        tree: the files that the folder has afterwards.
        folder: created if it does not exist.
        limits: of the folder.
        known: files that were read before.

    Raises:
        StoreDamaged: a content is missing or damaged.
        InvalidData: the tree exceeds a limit, or leaves the folder.
        OSError: a file cannot be written.
    """
    known = known if known is not None else KnownFiles()
    limits.check(len(tree), tree.size, "The recorded workspace")
    folder.mkdir(parents=True, exist_ok=True)
    wanted = tree.by_path()
    folders = {parent for path in wanted for parent in _parents(path)}
    kept: set[str] = set()
    is_changed = _remove_others(folder, "", wanted, folders, limits, kept, known)
    missing = [each for each in tree.entries if each.path not in kept]
    if is_changed or missing:
        _remove_stale(folder)
    for entry, content in contents_of(ledger, missing):
        _write(folder, entry, content)


def _parents(path: str) -> Iterator[str]:
    parent = path.rpartition("/")[0]
    while parent:
        yield parent
        parent = parent.rpartition("/")[0]


def _remove_others(
    folder: Path,
    prefix: str,
    wanted: dict[str, Entry],
    folders: set[str],
    limits: FolderLimits,
    kept: set[str],
    known: KnownFiles,
) -> bool:
    """Remove what is not as wanted, put the paths that are into `kept`; return whether any was removed."""
    is_changed = False
    with os.scandir(folder) as entries:
        found = [*entries]
    for each in found:
        path = f"{prefix}{each.name}"
        is_folder = each.is_dir(follow_symlinks=False)
        if path in folders and is_folder:
            inside = Path(each.path)
            is_changed |= _remove_others(inside, f"{path}/", wanted, folders, limits, kept, known)
        elif not is_folder and path in wanted and _is(each, wanted[path], known):
            kept.add(path)
        elif path not in wanted and path not in folders and limits.ignores(each.name):
            continue
        elif is_folder:
            _remove_folder(each.path)
            is_changed = True
        else:
            os.unlink(each.path)
            is_changed = True
    return is_changed


def _remove_folder(folder: str) -> None:
    """Remove a folder with all that is in it, also if a tool has made it read-only."""
    # Not at the top: it takes long to import, and most runs have no workspace.
    import shutil

    os.chmod(folder, stat.S_IRWXU)
    for path, names, _ in os.walk(folder):
        for inside in (os.path.join(path, name) for name in names):
            if not os.path.islink(inside):
                os.chmod(inside, stat.S_IRWXU)
    shutil.rmtree(folder)


def _is(each: os.DirEntry[str], wanted: Entry, known: KnownFiles) -> bool:
    """Whether a file is as wanted already."""
    state = each.stat(follow_symlinks=False)
    if stat.S_ISLNK(state.st_mode) != (wanted.kind == LINK) or state.st_size != wanted.size:
        return False
    found = known.get(wanted.path, state)
    if found is None:
        try:
            found, _ = _read(each, wanted.path, state)
        except (InvalidData, OSError):
            return False
        known.put(state, found)
    return found == wanted


def _remove_stale(folder: Path) -> None:
    """Remove compiled modules: they may seem to belong to the files that replace theirs."""
    for path, names, _ in os.walk(folder):
        if _STALE in names and not os.path.islink(os.path.join(path, _STALE)):
            _remove_folder(os.path.join(path, _STALE))
            names.remove(_STALE)


def _write(folder: Path, entry: Entry, content: bytes) -> None:
    path = folder.joinpath(*entry.path.split("/"))
    # No link is on the way: all that is not in the tree was removed, and no path leads through one.
    path.parent.mkdir(parents=True, exist_ok=True)
    if entry.kind == LINK:
        path.symlink_to(os.fsdecode(content))
        return
    path.write_bytes(content)
    path.chmod(0o755 if entry.kind == EXECUTABLE else 0o644)
