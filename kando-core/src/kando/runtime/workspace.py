"""The workspace of a run: a folder whose content belongs to positions of the ledger.

Before a call that uses it, the folder is brought to the last tree that the ledger names; after the
call its files are stored as blobs, and the answer names the new tree. So a call that was killed
midway is repeated from the tree before it, and each branch has a folder of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import attrs

from kando.errors import StoreError
from kando.ledger.interface import LedgerStore
from kando.ledger.trees import read_tree
from kando.responders.cancellation import abandonment_of_call
from kando.runtime.folders import FolderLimits, KnownFiles, read_folder, write_folder
from kando.schema.trees import Entry, Tree, encode_tree
from kando.views.workspace import WorkspaceView

__all__ = ["Workspace", "store_folder"]

#: Bytes that are stored in one step.
_AT_ONCE_BYTES = 16 * 1024 * 1024

_POLL_SECONDS = 0.02

#: Folders of which a process remembers the files.
_MOST_FOLDERS = 200


@attrs.define
class _Folder:
    """A folder in this process: its files as read last, and whether a call uses it."""

    known: KnownFiles = attrs.field(factory=KnownFiles)
    #: Whether the call that uses the folder was given up; None if no call uses it.
    is_abandoned: Callable[[], bool] | None = None


# Folders of this process, by path: several runtimes may open the same run one after the other.
_lock = threading.Lock()
_folders: dict[Path, _Folder] = {}


class Workspace:
    """The workspace of one run or branch.

    Args:
        ledger: of the run or branch.
        folder: returns the folder that holds the workspace; asked at the first use.
        limits: of the workspace.
    """

    def __init__(
        self,
        ledger: LedgerStore,
        folder: Callable[[], Path],
        limits: FolderLimits | None = None,
    ) -> None:
        self._ledger, self._folder = ledger, folder
        self._limits = limits or FolderLimits()
        self._view = WorkspaceView()
        # Digests of the contents that the store has.
        self._stored: set[bytes] = set()

    @contextmanager
    def opened(self) -> Iterator[tuple[Path, Callable[[], str]]]:
        """Yield the folder as the last answer left it, and a function that stores its files.

        The function returns the digest of the tree, in hexadecimal, when everything is durable. One
        call at a time uses a folder: a second one waits, unless the first was given up.

        Raises:
            StoreError: the store keeps no blobs, or the folder cannot be written.
            StoreDamaged: a recorded file is missing or damaged.
            InvalidData: the recorded tree exceeds a limit, or leaves the folder.
        """
        if not self._ledger.keeps_blobs:
            # Says that the store keeps no blobs.
            self._ledger.store_blobs([])
        with _taken(self._folder()) as (path, folder):
            try:
                self._restore(path, folder.known)
            except OSError as error:
                raise _unusable(path, error) from error
            yield path, lambda: self._store(path, folder.known)

    def _restore(self, path: Path, known: KnownFiles) -> None:
        named = self._view.catch_up(self._ledger)
        tree = read_tree(self._ledger, named) if named is not None else Tree()
        write_folder(self._ledger, tree, path, self._limits, known)
        self._stored.update(tree.digests())
        if named is not None:
            self._stored.add(named)

    def _store(self, path: Path, known: KnownFiles) -> str:
        try:
            return store_folder(self._ledger, path, self._limits, known, self._stored).hex()
        except OSError as error:
            raise _unusable(path, error) from error


def store_folder(
    ledger: LedgerStore,
    folder: Path,
    limits: FolderLimits,
    known: KnownFiles | None = None,
    stored: set[bytes] | None = None,
) -> bytes:
    """Store the files of a folder in the store of a ledger, and return the digest of their tree.

    Args:
        ledger: of whose store they become blobs.
        folder: that is read.
        limits: of the folder.
        known: files that were read before.
        stored: digests of the contents that the store has; updated.

    Raises:
        StoreError: the store keeps no blobs.
        InvalidData: as for `kando.runtime.folders.read_folder`.
        OSError: a file cannot be read.
    """
    has = stored if stored is not None else set()
    waiting: list[bytes] = []

    def save() -> None:
        if waiting:
            ledger.store_blobs(waiting)
            waiting.clear()

    def found(entry: Entry, content: bytes) -> None:
        digest = bytes.fromhex(entry.digest)
        if content and digest not in has:
            has.add(digest)
            waiting.append(content)
            if sum(map(len, waiting)) >= _AT_ONCE_BYTES:
                save()

    def is_missing(entry: Entry) -> bool:
        return entry.size > 0 and bytes.fromhex(entry.digest) not in has

    try:
        tree = read_folder(folder, limits, found, known, is_missing)
        body = encode_tree(tree.entries)
        digest = sha256(body).digest()
        if digest not in has:
            has.add(digest)
            waiting.append(body)
        save()
    except BaseException:
        # Contents that were not saved must be read again.
        has.clear()
        raise
    return digest


@contextmanager
def _taken(base: Path) -> Iterator[tuple[Path, _Folder]]:
    """Take a folder for a call; another one if a call that was given up may still write into it."""
    is_abandoned = abandonment_of_call()
    while (taken := _take(base, is_abandoned)) is None:
        time.sleep(_POLL_SECONDS)
    try:
        yield taken
    finally:
        with _lock:
            taken[1].is_abandoned = None


def _take(base: Path, is_abandoned: Callable[[], bool]) -> tuple[Path, _Folder] | None:
    with _lock:
        number = 1
        while True:
            path = base / ("files" if number == 1 else f"files-{number}")
            if path not in _folders and len(_folders) >= _MOST_FOLDERS:
                _forget()
            folder = _folders.setdefault(path, _Folder())
            if folder.is_abandoned is None:
                folder.is_abandoned = is_abandoned
                return path, folder
            if not folder.is_abandoned():
                return None
            number += 1


def _forget() -> None:
    """Forget what is known of the folders that no call uses."""
    for path in [path for path, folder in _folders.items() if folder.is_abandoned is None]:
        del _folders[path]


def _unusable(path: Path, error: OSError) -> StoreError:
    msg = f"The workspace {path} cannot be used: {error.strerror or error}."
    return StoreError(msg, hint="Free the folder, or set KANDO_WORKSPACES to another one.")
