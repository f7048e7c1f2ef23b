"""Read files and folders as the input of a run."""

from __future__ import annotations

import codecs
import errno
import hashlib
import logging
import os
import re
import stat
import warnings
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path

import attrs
import msgspec

from kando.text.html import visible_text
from kando.text.passages import Passage, passages

__all__ = [
    "MAX_PART_CHARS",
    "Document",
    "Passage",
    "Skipped",
    "passages",
    "read_documents",
    "text_of",
]

#: Length of the longest part of a document, in characters.
MAX_PART_CHARS = 200_000

# Size as JSON, so that a part and its metadata fit into one event (1 MiB).
_MAX_PART_BYTES = 700 * 1024
_MAX_FILE_BYTES = 50 * 1024 * 1024
_SNIFFED_BYTES = 8 * 1024

_HTML, _MARKDOWN, _PDF, _PLAIN = "text/html", "text/markdown", "application/pdf", "text/plain"
_MEDIA_TYPES = {
    **dict.fromkeys((".html", ".htm", ".xhtml"), _HTML),
    **dict.fromkeys((".md", ".markdown"), _MARKDOWN),
    **dict.fromkeys((".txt", ".text", ".rst", ".csv", ".tsv", ".json", ".jsonl"), _PLAIN),
    **dict.fromkeys((".yaml", ".yml", ".toml", ".log", ".py"), _PLAIN),
    ".pdf": _PDF,
}
_PASSED_OVER_FOLDERS = frozenset({"__pycache__", "node_modules"})

_ESCAPE_SEQUENCE = re.compile(
    r"\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)"  # titles and links
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours and cursor movements
    r"|\x1b[ -/][0-~]"  # character sets
)
_NEWLINE = re.compile(r"\r\n|[\r\v\f\x85]")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_UNPRINTABLE_IN_PATH = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# Characters that texts, even overstruck or coloured ones, rarely contain.
_BINARY = [chr(code) for code in range(32) if chr(code) not in "\b\t\n\v\f\r\x1b"]

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
        media_type: ``text/plain``, ``text/markdown``, ``text/html`` or ``application/pdf``.
        text: without control characters other than newline and tab.
        part: number of this part, from 1.
        parts: number of parts that the text was split into.
    """

    path: str
    sha256: str
    media_type: str
    text: str
    part: int = 1
    parts: int = 1


@attrs.frozen
class Skipped:
    """An input that was not read.

    Attributes:
        path: as in `Document`.
        reason: why, on one line.
    """

    path: str
    reason: str


class _Unreadable(ValueError):
    """A file that cannot be read; its text is the reason."""


def read_documents(paths: Iterable[str | Path]) -> Iterator[Document | Skipped]:
    """Read files, and folders with their files and subfolders.

    Inputs are read in the given order, the files of a folder in the order of their paths. A file
    that is reached twice is read once. Inside a folder, hidden files, ``node_modules``,
    ``__pycache__`` and texts of an unknown type are skipped silently; a file that is given
    explicitly is always read. No input makes this raise an exception.

    Args:
        paths: of files and folders.
    """
    seen: set[str] = set()
    for path in paths:
        named = os.fspath(path)
        for found in _files_in(named) if os.path.isdir(named) else [named]:
            if isinstance(found, Skipped):
                yield found
            else:
                yield from _read_once(found, seen)


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
            yield from _known_type(found)
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
    paths = [
        os.path.join(folder, name)
        for name in names
        if not name.startswith(".") and name not in _PASSED_OVER_FOLDERS
    ]
    # With a trailing separator, a folder sorts like the paths of its files.
    yield from sorted(paths, key=lambda path: path + "/" if os.path.isdir(path) else path)


def _known_type(path: str) -> Iterator[str | Skipped]:
    """Yield a file that was found in a folder if its type is known."""
    if _suffix(path) in _MEDIA_TYPES:
        yield path
        return
    try:
        _decode(_read(path, _SNIFFED_BYTES), final=False)
    except (OSError, _Unreadable) as error:
        yield Skipped(_shown(path), _reason(error))


def _read_once(path: str, seen: set[str]) -> Iterator[Document | Skipped]:
    shown = _shown(path)
    try:
        real = os.path.realpath(path)
        if real in seen:
            return
        seen.add(real)
        data = _read(path, _MAX_FILE_BYTES + 1)
        media_type = _MEDIA_TYPES.get(_suffix(path), _PLAIN)
        parts = _parts(text_of(data, media_type))
    except (OSError, ValueError) as error:
        yield Skipped(shown, _reason(error))
        return
    sha256 = hashlib.sha256(data).hexdigest()
    for number, text in enumerate(parts, start=1):
        yield Document(shown, sha256, media_type, text, number, len(parts))


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
        raise _Unreadable(f"larger than {_MAX_FILE_BYTES // 1024**2} MiB")
    return data


def _check_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _Unreadable("not a regular file")


def text_of(data: bytes, media_type: str) -> str:
    """Return the text in the bytes of a document, without control characters.

    Args:
        data: in UTF-8, or UTF-16 with a byte order mark; a PDF as it is.
        media_type: of the data; any type but HTML and PDF is read as plain text.

    Raises:
        ValueError: it contains no text; the message says why, on one line.
    """
    if media_type == _PDF:
        text = _clean(_pdf_text(data))
        nothing = "PDF without text: scanned pages need text recognition first"
    elif media_type == _HTML:
        text = _clean(visible_text(_decode(data)))
        nothing = "HTML without visible text"
    else:
        text = _clean(_decode(data))
        nothing = "empty"
    if not text.strip():
        raise _Unreadable(nothing if data.strip() else "empty")
    return text


def _decode(data: bytes, *, final: bool = True) -> str:
    """Return the text in `data`; with `final` false, a character cut off at its end is left out."""
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    decoder = codecs.getincrementaldecoder("utf-16" if is_utf16 else "utf-8-sig")()
    try:
        text = decoder.decode(data, final=final)
    except UnicodeDecodeError:
        is_binary = b"\0" in data[:_SNIFFED_BYTES]
        raise _Unreadable("binary file" if is_binary else "not UTF-8 text") from None
    if sum(map(text.count, _BINARY)) > len(text) / 3:
        raise _Unreadable("binary file")
    return text


def _clean(text: str) -> str:
    text = _NEWLINE.sub("\n", _ESCAPE_SEQUENCE.sub("", text))
    return _UNPRINTABLE.sub("", text)


def _pdf_text(data: bytes) -> str:
    if not data:
        raise _Unreadable("empty")
    try:
        from pypdf import PdfReader
        from pypdf.errors import DependencyError, FileNotDecryptedError
    except ImportError:
        msg = "PDF support is not installed: pip install 'kando-core[pdf]'"
        raise _Unreadable(msg) from None
    # Messages of pypdf about a damaged file must not appear on the user's terminal.
    log, silence = logging.getLogger("pypdf"), logging.NullHandler()
    log.addHandler(silence)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pages = [page.extract_text() for page in PdfReader(BytesIO(data)).pages]
    except (DependencyError, FileNotDecryptedError):
        raise _Unreadable("encrypted PDF") from None
    except Exception as error:  # a damaged file raises nearly anything, RecursionError included
        raise _Unreadable(f"damaged PDF ({type(error).__name__})") from None
    finally:
        log.removeHandler(silence)
    # Characters outside the basic plane may come as two surrogates.
    halves = "\n\n".join(pages).encode("utf-16", "surrogatepass")
    return halves.decode("utf-16", "replace")


def _parts(text: str) -> list[str]:
    """Split a text into parts, after a paragraph, a line or a word if possible."""
    parts = []
    start = 0
    while start < len(text):
        end = start + MAX_PART_CHARS
        while (size := len(msgspec.json.encode(text[start:end]))) > _MAX_PART_BYTES:
            end = start + (end - start) * _MAX_PART_BYTES // size
        if end < len(text):
            end = _boundary(text, start, end)
        parts.append(text[start:end])
        start = end
    return [part for part in parts if part.strip()]


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
    return str(error) if isinstance(error, _Unreadable) else "no such file"
