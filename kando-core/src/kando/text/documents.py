"""Read files and folders as the input of a run."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import attrs
import msgspec

from kando.text._formats import Extracted, Limits, Unreadable
from kando.text._parser import Parser
from kando.text.passages import Passage, passages

__all__ = [
    "MAX_PART_CHARS",
    "Document",
    "Extracted",
    "Limits",
    "Passage",
    "Skipped",
    "Unreadable",
    "extract_text",
    "passages",
    "read_documents",
    "text_of",
]

#: Length of the longest part of a document, in characters.
MAX_PART_CHARS = 200_000

# Size as JSON, so that a part and its metadata fit into one event (1 MiB).
_MAX_PART_BYTES = 700 * 1024
_MAX_FILE_BYTES = 50 * 1024 * 1024

_PASSED_OVER_FOLDERS = frozenset({"__pycache__", "node_modules"})

_UNPRINTABLE_IN_PATH = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

_REASONS = {
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENOENT: "no such file",
    errno.ENOTDIR: "no such file",
    errno.ELOOP: "symlink loop",
    errno.ENAMETOOLONG: "path is too long",
}


@attrs.frozen
class Document:
    """The text of an input file, or a part of it.

    Attributes:
        path: as given by the user, or for a file in a folder, the given folder and the path in it;
            separated by ``/``, with unprintable characters escaped.
        sha256: of the file's bytes, in hexadecimal.
        media_type: of the file, as its content shows it.
        text: without control characters other than newline and tab.
        part: number of this part, from 1.
        parts: number of parts that the text was split into.
        notes: what was guessed, cut or lost when the file was read; only in the first part.
        pages: of a PDF, the offset and the number of each page in this part: first the page on which
            the part begins.
    """

    path: str
    sha256: str
    media_type: str
    text: str
    part: int = 1
    parts: int = 1
    notes: list[str] = attrs.field(factory=list)
    pages: list[list[int]] = attrs.field(factory=list)


@attrs.frozen
class Skipped:
    """An input that was not read.

    Attributes:
        path: as in `Document`.
        reason: why, on one line.
    """

    path: str
    reason: str


def read_documents(
    paths: Iterable[str | Path], limits: Limits | None = None
) -> Iterator[Document | Skipped]:
    """Read files, and folders with their files and subfolders.

    Inputs are read in the given order, the files of a folder in the order of their paths. A file
    that is reached twice is read once. Inside a folder, hidden files, ``node_modules`` and
    ``__pycache__`` are skipped; a file that is given explicitly is always read. Formats other than
    plain text are parsed in another process, within limits. No input makes this raise an exception.

    Args:
        paths: of files and folders.
        limits: of each file.
    """
    seen: set[str] = set()
    with Parser() as parser:
        for path in paths:
            named = os.fspath(path)
            for found in _files_in(named) if os.path.isdir(named) else [named]:
                if isinstance(found, Skipped):
                    yield found
                else:
                    yield from _read_once(found, seen, parser, limits)


def _files_in(top: str) -> Iterator[str | Skipped]:
    """Find the files to read in a folder, sorted by path."""
    real_top = os.path.realpath(top)
    visited = {real_top}
    # A stack instead of recursion: folders may be nested deeper than the recursion limit.
    trail = [(real_top, _entries(top))]
    while trail:
        found = next(trail[-1][1], None)
        if found is None:
            trail.pop()
            continue
        if isinstance(found, Skipped):
            yield found
            continue
        real = os.path.join(trail[-1][0], os.path.basename(found))
        if os.path.islink(found):
            real = os.path.realpath(found)
        if real != real_top and not real.startswith(os.path.join(real_top, "")):
            yield Skipped(_shown(found), "symlink that leaves the folder")
        elif not os.path.isdir(found):
            yield found
        elif any(real == folder for folder, _ in trail):
            yield Skipped(_shown(found), "symlink loop")
        elif real not in visited:
            visited.add(real)
            trail.append((real, _entries(found)))


def _entries(folder: str) -> Iterator[str | Skipped]:
    try:
        names = os.listdir(folder)
    except OSError as error:
        yield Skipped(_shown(folder), _reason(error))
        return
    paths = [os.path.join(folder, name) for name in names]
    # With a trailing separator, a folder sorts like the paths of its files.
    for path in sorted(paths, key=lambda path: path + "/" if os.path.isdir(path) else path):
        name = os.path.basename(path)
        if name.startswith(".") or name in _PASSED_OVER_FOLDERS:
            kind = "folder" if os.path.isdir(path) else "file"
            hidden = "hidden " if name.startswith(".") else ""
            yield Skipped(_shown(path), f"{hidden}{kind}, read only if it is named")
        else:
            yield path


def _read_once(
    path: str, seen: set[str], parser: Parser, limits: Limits | None
) -> Iterator[Document | Skipped]:
    shown = _shown(path)
    try:
        real = os.path.realpath(path)
        if real in seen:
            return
        seen.add(real)
        data = _read(path, _MAX_FILE_BYTES + 1)
        found = parser.parse(data, suffix=_suffix(path), limits=limits)
        parts = _parts(found.text)
    except (OSError, ValueError) as error:
        yield Skipped(shown, _reason(error))
        return
    sha256 = hashlib.sha256(data).hexdigest()
    for number, (start, text) in enumerate(parts, start=1):
        notes = found.notes if number == 1 else []
        pages = _pages(found.pages, start, len(text))
        yield Document(shown, sha256, found.media_type, text, number, len(parts), notes, pages)


def _pages(starts: Sequence[int], start: int, length: int) -> list[list[int]]:
    """Return the pages in a part of a document, with offsets in this part."""
    numbered = [[at - start, number] for number, at in enumerate(starts, 1) if at < start + length]
    before = [[0, number] for at, number in numbered if at <= 0]
    return [*before[-1:], *(each for each in numbered if each[0] > 0)]


def _read(path: str, limit: int) -> bytes:
    """Return the first `limit` bytes of a regular file."""
    # Checked before the file is opened, since opening a device can have effects, and again
    # afterwards, since it may be another file by then. O_NONBLOCK: do not wait for a pipe's writer.
    _check_regular(os.stat(path))
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(os.open(path, flags), "rb") as file:
        _check_regular(os.fstat(file.fileno()))
        data = file.read(limit)
    if len(data) > _MAX_FILE_BYTES:
        raise Unreadable(f"larger than {_MAX_FILE_BYTES // 1024**2} MiB")
    return data


def _check_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Unreadable("not a regular file")


def extract_text(
    data: bytes,
    *,
    media_type: str | None = None,
    charset: str | None = None,
    limits: Limits | None = None,
) -> Extracted:
    """Return the text in the bytes of a document, and notes on what was guessed, cut or lost.

    Formats other than plain text in UTF-8 are parsed in another process.

    Args:
        data: of the document.
        media_type: as a server declared it; the content counts more.
        charset: as a server declared it.
        limits: of this document.

    Raises:
        Unreadable: it contains no text, or cannot be read within the limits; the message says why.
    """
    with Parser() as parser:
        return parser.parse(data, media_type=media_type, charset=charset, limits=limits)


def text_of(data: bytes, media_type: str) -> str:
    """Return the text in the bytes of a document; `extract_text` without its notes.

    Args:
        data: of the document.
        media_type: as for `extract_text`.

    Raises:
        Unreadable: as for `extract_text`.
    """
    return extract_text(data, media_type=media_type).text


def _parts(text: str) -> list[tuple[int, str]]:
    """Split a text into parts with their offsets, after a paragraph, a line or a word if possible."""
    parts = []
    start = 0
    while start < len(text):
        end = start + MAX_PART_CHARS
        while (size := len(msgspec.json.encode(text[start:end]))) > _MAX_PART_BYTES:
            end = start + (end - start) * _MAX_PART_BYTES // size
        if end < len(text):
            end = _boundary(text, start, end)
        parts.append((start, text[start:end]))
        start = end
    return [part for part in parts if part[1].strip()]


def _boundary(text: str, start: int, end: int) -> int:
    middle = (start + end) // 2
    for mark, earliest in (("\n\n", middle), ("\n", start), (" ", start)):
        position = text.rfind(mark, earliest, end)
        if position >= 0:
            return position + len(mark)
    return end


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _shown(path: str) -> str:
    """Return a path that can be recorded and printed, since file names can contain any byte."""
    posix = path.replace(os.sep, "/")
    return _UNPRINTABLE_IN_PATH.sub(lambda match: f"\\x{ord(match[0]) & 0xFF:02x}", posix)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return _REASONS.get(error.errno or 0, error.strerror or "cannot be read")
    # Any other ValueError comes from a path that no file can have.
    return str(error) if isinstance(error, Unreadable) else "no such file"
