"""Trees: the files of a workspace at one position of a ledger, by their digests.

A tree is stored as a blob: JSON with the single key ``tree``, whose value is the list of its entries,
sorted by path: ``[path, kind, digest, size]``. The content of each entry is a blob as well, unless it
is empty. A digest is the SHA-256 of a content, in hexadecimal.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from posixpath import dirname
from typing import TypeGuard

import attrs
import msgspec

from kando.errors import InvalidData
from kando.schema.events import TOOL_RETURNED, WORKSPACE_LOADED, KandoEvent

__all__ = [
    "EXECUTABLE",
    "FILE",
    "LINK",
    "NEVER_STORED",
    "WORKSPACE",
    "Entry",
    "Tree",
    "decode_tree",
    "encode_tree",
    "link_problem",
    "path_problem",
    "tree_named_by",
]

#: Field of an event: the digest of the tree after it.
WORKSPACE = "workspace"

#: Kinds of entries. The content of a link is its target.
FILE, EXECUTABLE, LINK = "file", "executable", "link"

#: Name of a folder that no tree holds: programs that find it run what is in it.
NEVER_STORED = ".git"

_MAX_PATH_BYTES = 4096
_MAX_NAME_BYTES = 255
_MAX_LINK_BYTES = 4096


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    tree: list[tuple[str, str, str, int]]


_decode = msgspec.json.Decoder(_Body).decode
_encode = msgspec.json.Encoder().encode


@attrs.frozen
class Entry:
    """A file or link of a tree.

    Attributes:
        path: relative, with ``/`` between its parts.
        kind: ``file``, ``executable`` (a file that may be run) or ``link``.
        digest: SHA-256 of its content, in hexadecimal.
        size: of its content, in bytes.
    """

    path: str
    kind: str
    digest: str
    size: int


@attrs.frozen
class Tree:
    """The files of a workspace.

    Attributes:
        entries: sorted by path.
    """

    entries: tuple[Entry, ...] = ()

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def size(self) -> int:
        """The bytes of all files together."""
        return sum(each.size for each in self.entries)

    def by_path(self) -> dict[str, Entry]:
        """Return the entries by path."""
        return {each.path: each for each in self.entries}

    def digests(self) -> list[bytes]:
        """Return the digests of the contents that are stored as blobs, each once."""
        return list(dict.fromkeys(bytes.fromhex(e.digest) for e in self.entries if e.size))


def encode_tree(entries: Iterable[Entry]) -> bytes:
    """Return the body of the blob of a tree."""
    ordered = sorted(entries, key=lambda each: each.path)
    return _encode(_Body([(e.path, e.kind, e.digest, e.size) for e in ordered]))


def decode_tree(body: bytes) -> Tree:
    """Return the tree in a blob, which may come from a stranger.

    Raises:
        InvalidData: it is malformed, or a path or link in it leaves the folder.
    """
    try:
        rows = _decode(body).tree
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        msg = f"A tree of files is malformed: {error}."
        raise InvalidData(msg, hint="Export the run again.") from error
    tree = Tree(tuple(Entry(*row) for row in rows))
    problem = _problem(tree)
    if problem is None and encode_tree(tree.entries) != body:
        problem = "it is not encoded as Kando encodes it"
    if problem is not None:
        msg = f"A tree of files is refused: {problem}."
        raise InvalidData(msg, hint="Export the run again.")
    return tree


def _problem(tree: Tree) -> str | None:
    paths = {each.path for each in tree.entries}
    if len(paths) != len(tree.entries):
        return "a path is in it twice"
    for each in tree.entries:
        problem = path_problem(each.path)
        if problem is not None:
            return f"{each.path!r:.120} {problem}"
        if each.kind not in (FILE, EXECUTABLE, LINK) or each.size < 0:
            return f"{each.path!r:.120} is not a file"
        if not _is_digest(each.digest) or (not each.size and each.digest != _EMPTY):
            return f"the digest of {each.path!r:.120} is malformed"
        if each.kind == LINK and not 0 < each.size <= _MAX_LINK_BYTES:
            return f"the target of {each.path!r:.120} is malformed"
        folder = dirname(each.path)
        while folder:
            if folder in paths:
                return f"{folder!r:.120} is both a file and a folder"
            folder = dirname(folder)
    return None


_EMPTY = sha256(b"").hexdigest()


def path_problem(path: str) -> str | None:
    """Return why a path cannot be in a tree, or None."""
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        return "is not UTF-8"
    parts = path.split("/")
    if "" in parts or "." in parts or ".." in parts:
        return "leaves the folder, or is not a plain path"
    if "\0" in path or "\\" in path or ":" in parts[0][:2]:
        return "has a character that no path may have"
    if size > _MAX_PATH_BYTES or any(len(part.encode()) > _MAX_NAME_BYTES for part in parts):
        return "is too long"
    if any(part.lower() == NEVER_STORED for part in parts):
        return f"is in {NEVER_STORED}, which no tree holds"
    return None


def link_problem(path: str, target: str) -> str | None:
    """Return why a link cannot be in a tree, or None.

    A ``..`` may only be at the beginning of its target: after the name of another link it would
    leave the folder that the name suggests.

    Args:
        path: of the link.
        target: where it leads to.
    """
    parts = target.split("/")
    up = 0
    while up < len(parts) and parts[up] == "..":
        up += 1
    is_plain = not target.startswith("/") and ".." not in parts[up:]
    if not is_plain or "\0" in target or "\\" in target or up > path.count("/"):
        return f"leads out of the folder, to {target!r:.120}"
    if any(part.lower() == NEVER_STORED for part in parts):
        return f"leads into {NEVER_STORED}, which no tree holds"
    return None


def tree_named_by(event: KandoEvent) -> bytes | None:
    """Return the digest of the tree that an event leaves, or None if it changes no file.

    The answer of a call says so, and the start of a run. An answer by hand comes from no call, and an
    event of a bystander answers nothing.
    """
    if event.type not in (TOOL_RETURNED, WORKSPACE_LOADED):
        return None
    data = event.data
    if data.get("answers") is False or "by" in data:
        return None
    digest = data.get(WORKSPACE)
    return bytes.fromhex(digest) if _is_digest(digest) else None


def _is_digest(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")
