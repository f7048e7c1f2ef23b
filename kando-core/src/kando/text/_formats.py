"""Extract text from the bytes of a document, whose type its content decides.

The module and what it imports use the standard library only, except the library of a format, so that
the process that parses documents starts quickly.
"""

# long: one reader per format, and the steps that they share.

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import accumulate
from typing import NamedTuple

from kando.text._encodings import Binary, decode

__all__ = [
    "DOCX",
    "EML",
    "EPUB",
    "HTML",
    "MARKDOWN",
    "NOTEBOOK",
    "PDF",
    "PLAIN",
    "PPTX",
    "XLSX",
    "Extracted",
    "Late",
    "Limits",
    "Piece",
    "Unreadable",
    "clean",
    "extract",
    "is_utf_8",
    "load_library",
    "media_type_of",
]

HTML, MARKDOWN, PDF, PLAIN = "text/html", "text/markdown", "application/pdf", "text/plain"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
EPUB, EML, NOTEBOOK = "application/epub+zip", "message/rfc822", "application/x-ipynb+json"
_ZIP = "application/zip"

# Which type a text has if its content does not say.
_SUFFIXES = {
    **dict.fromkeys((".html", ".htm", ".xhtml"), HTML),
    **dict.fromkeys((".md", ".markdown"), MARKDOWN),
    ".eml": EML,
    ".ipynb": NOTEBOOK,
}
_ZIPPED_SUFFIXES = {".docx": DOCX, ".pptx": PPTX, ".xlsx": XLSX, ".epub": EPUB}
_LIBRARIES = {
    PDF: ("pypdf", "PDF"),
    DOCX: ("docx", "Office"),
    PPTX: ("pptx", "Office"),
    XLSX: ("openpyxl", "Office"),
}
_COMPRESSED = frozenset({PDF, DOCX, PPTX, XLSX, EPUB})
_NAMES = {
    PDF: "PDF",
    DOCX: "Word document",
    PPTX: "PowerPoint presentation",
    XLSX: "Excel workbook",
}
_NAMES |= {EPUB: "EPUB", EML: "email", NOTEBOOK: "notebook", HTML: "HTML", _ZIP: "ZIP archive"}

_UNKNOWN = (
    (b"\x89PNG\r\n", "PNG image"),
    (b"\xff\xd8\xff", "JPEG image"),
    (b"GIF8", "GIF image"),
    (b"II*\0", "TIFF image"),
    (b"MM\0*", "TIFF image"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Office document in the old or an encrypted format"),
    (b"{\\rtf", "RTF"),
    (b"%!PS", "PostScript"),
    (b"\x1f\x8b", "gzip archive"),
    (b"BZh", "bzip2 archive"),
    (b"\xfd7zXZ\0", "xz archive"),
    (b"7z\xbc\xaf\x27\x1c", "7z archive"),
    (b"Rar!\x1a\x07", "RAR archive"),
    (b"\x7fELF", "program"),
    (b"SQLite format 3\0", "SQLite database"),
    (b"ID3", "audio"),
    (b"OggS", "audio or video"),
    (b"fLaC", "audio"),
    (b"RIFF", "image, audio or video"),
    (b"wOF", "font"),
)
_SNIFFED_BYTES = 8 * 1024
_PDF_WITHIN = 1024
_PAGE_WITHIN = 64 * 1024
# An element that only a whole page begins with.
_ROOT = re.compile(rb"<(?:!doctype\s+html|html|head|body)[\s>/]", re.IGNORECASE)
_SPACE_OR_MARK = re.compile(rb"(?:\xef\xbb\xbf)?\s*")
_SKIPPED = ((b"<!--", b"-->"), (b"<?", b">"))
_FIELD = re.compile(rb"([!-9;-~]+):[ \t]?.*\r?\n(?:[ \t].*\r?\n)*")
_MAIL_FIELDS = frozenset(
    {b"from", b"to", b"subject", b"date", b"message-id", b"mime-version", b"received", b"cc"}
    | {b"return-path", b"delivered-to", b"reply-to", b"content-type", b"sender"}
)

_ESCAPE_SEQUENCE = re.compile(
    r"\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)"  # titles and links
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours and cursor movements
    r"|\x1b[ -/][0-~]"  # character sets
)
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
# Characters that show nothing and can carry a hidden text: tags, except those of flags, and the
# selectors of variants, except one after a character.
_INVISIBLE = re.compile("[\ufe00-\ufe0f\U000e0000-\U000e01ef]")
_SMUGGLED = re.compile(
    "(\U0001f3f4[\U000e0030-\U000e007a]{3,6}\U000e007f)|[\U000e0000-\U000e007f]"
    "|(?<=[\U000e0100-\U000e01ef])[\U000e0100-\U000e01ef]|(?<=[\ufe00-\ufe0f])[\ufe00-\ufe0f]"
)
# Characters that texts, even overstruck or coloured ones, rarely contain.
_BINARY = [chr(code) for code in range(32) if chr(code) not in "\b\t\n\v\f\r\x1b"]

_MAX_NOTES = 20

# A few kilobytes can hold megabytes of text, which no author has written.
_MIN_CHARS, _CHARS_PER_BYTE = 1_000_000, 20


class Limits(NamedTuple):
    """Limits of the text of one document.

    Attributes:
        seconds: time to parse it.
        memory: bytes that the process that parses it may use.
        pages: pages, sheets, slides or chapters to read.
        chars: characters of text to keep; of a compressed format at most 20 for each byte of the
            file, but a million.
    """

    seconds: float = 8.0
    memory: int = 1024**3
    pages: int = 2_000
    chars: int = 50 * 1024**2


class Piece(NamedTuple):
    """A part of the text of a document.

    Attributes:
        text: of this part.
        place: where it is, for notes; empty if the document has no pages.
    """

    text: str
    place: str = ""


class Extracted(NamedTuple):
    """The text of a document.

    Attributes:
        media_type: of the document.
        text: without control characters other than newline and tab.
        notes: what was guessed, cut or lost, each on one line.
        pages: of a PDF, the offset of each page in the text, in order.
    """

    media_type: str
    text: str
    notes: list[str]
    pages: list[int] = []  # noqa: RUF012 (a tuple would not equal what comes from JSON)


class Unreadable(ValueError):
    """A document without text that can be read; its text is the reason."""


class Late(BaseException):
    """Raised in the middle of parsing when its time is over.

    It derives from BaseException, so that libraries which catch every Exception do not stop it.
    """


#: Yields the pieces of a document, and appends notes about what is left out.
Reader = Callable[[bytes, Limits, list[str]], Iterator[Piece]]


def media_type_of(data: bytes, suffix: str = "", declared: str | None = None) -> str:
    """Return the type of a document: by its content, and between kinds of text by its name.

    Args:
        data: of the document.
        suffix: of its name, in lower case.
        declared: media type that a server declared.

    Raises:
        Unreadable: a type that is not read; the reason names it.
    """
    if b"%PDF-" in data[:_PDF_WITHIN] or (suffix == ".pdf" and not is_utf_8(data)):
        return PDF
    from kando.text._bundles import zipped_type

    if data.startswith((b"PK\3\4", b"PK\5\6", b"PK\7\x08")):
        return zipped_type(data) or _ZIPPED_SUFFIXES.get(suffix) or _unknown("ZIP archive")
    for magic, name in _UNKNOWN:
        if data.startswith(magic):
            _unknown(name)
    if data[257:262] == b"ustar":
        _unknown("tar archive")
    if data[4:8] == b"ftyp":
        _unknown("audio, video or image")
    if _is_page(_ascii_start(data)):
        return HTML
    if _is_notebook(data):
        return NOTEBOOK
    hint = _SUFFIXES.get(suffix) or (declared if declared in (HTML, MARKDOWN, EML) else PLAIN)
    if hint in (EML, PLAIN) and _mail_fields(data) >= (1 if hint == EML else 3):
        return EML
    if hint == NOTEBOOK and not data.lstrip().startswith(b"{"):
        return PLAIN
    return PLAIN if hint == EML else hint


def _unknown(name: str) -> str:
    raise Unreadable(f"unknown type: {name}")


def is_utf_8(data: bytes) -> bool:
    """Whether data is text in UTF-8, which is decoded in time that its length limits."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _is_page(text: bytes) -> bool:
    """Whether a text begins as a page does, after what a browser skips."""
    position = 0
    while found := _SPACE_OR_MARK.match(text, position):
        position = found.end()
        opening = next((each for each in _SKIPPED if text.startswith(each[0], position)), None)
        if opening is None:
            break
        end = text.find(opening[1], position + len(opening[0]))
        if end < 0:
            return False
        position = end + len(opening[1])
    return _ROOT.match(text, position) is not None


def _ascii_start(data: bytes) -> bytes:
    """Return the beginning of a text, with characters of one byte."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data[:16]:
        return data[:_PAGE_WITHIN].strip(b"\xff\xfe").replace(b"\0", b"")
    return data[:_PAGE_WITHIN]


def _is_notebook(data: bytes) -> bool:
    start = data[:_SNIFFED_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip()
    return start.startswith(b"{") and b'"nbformat"' in data and b'"cells"' in data


def _mail_fields(data: bytes) -> int:
    """Return how many different fields of an email a text begins with."""
    found: set[bytes] = set()
    position = 0
    start = data[:_SNIFFED_BYTES]
    while match := _FIELD.match(start, position):
        found.add(match[1].lower())
        position = match.end()
    return len(found & _MAIL_FIELDS)


def clean(text: str) -> str:
    """Return a text without control characters and characters that show nothing."""
    # Each search is preceded by a fast one: a text may have 50 MB.
    if "\x1b" in text or "\x9b" in text:
        text = _ESCAPE_SEQUENCE.sub("", text)
    text = text.replace("\r\n", "\n")
    for newline in "\r\v\f\x85":
        text = text.replace(newline, "\n")
    text = _UNPRINTABLE.sub("", text)
    if text.isascii() or not _INVISIBLE.search(text):
        return text
    return _SMUGGLED.sub(lambda found: found[1] or "", text)


def extract(data: bytes, media_type: str, limits: Limits, charset: str | None = None) -> Extracted:
    """Extract the text of a document within limits of time, pages and text.

    Args:
        data: of the document.
        media_type: as `media_type_of` returns it.
        limits: of this document; that of memory is not enforced here.
        charset: declared outside the document.

    Raises:
        Unreadable: it contains no text; the message says why, on one line.
    """
    notes: list[str] = []
    if media_type in _COMPRESSED:
        chars = max(_MIN_CHARS, _CHARS_PER_BYTE * len(data))
        limits = limits._replace(chars=min(limits.chars, chars))
    texts = _gathered(_pieces(data, media_type, limits, charset, notes), limits, notes)
    pages: list[int] = []
    if media_type == PDF:
        texts = [clean(each) for each in texts]
        pages = [*accumulate(map(len, texts), initial=0)][: len(texts)]
        text = "".join(texts)
    else:
        text = clean("".join(texts))
    if not text.strip():
        cut = [note.removeprefix("cut ") for note in notes if note.startswith("cut")]
        raise Unreadable(f"no text found {cut[0]}" if cut else _nothing(data, media_type))
    notes = [clean(note).replace("\n", " ")[:300] for note in dict.fromkeys(notes)]
    if len(notes) > _MAX_NOTES:
        notes = [*notes[:_MAX_NOTES], f"and {len(notes) - _MAX_NOTES} more notes"]
    return Extracted(media_type, text, notes, pages)


def _nothing(data: bytes, media_type: str) -> str:
    if not data.strip():
        return "empty"
    if media_type == PDF:
        return "PDF without text: scanned pages need text recognition first"
    if media_type == HTML:
        return "HTML without visible text"
    return f"{_NAMES[media_type]} without text" if media_type in _NAMES else "empty"


def _pieces(
    data: bytes, media_type: str, limits: Limits, charset: str | None, notes: list[str]
) -> Iterator[Piece]:
    if not data:
        raise Unreadable("empty")
    reader = _reader(media_type)
    if reader is not None:
        yield from reader(data, limits, notes)
        return
    try:
        text, found = decode(data, charset=charset, is_markup=_is_markup(data, media_type))
    except Binary as error:
        raise Unreadable(str(error)) from None
    notes += found
    if sum(map(text.count, _BINARY)) > len(text) / 3:
        raise Unreadable("binary file")
    if media_type != HTML:
        yield Piece(text)
        return
    from kando.text.html import VisibleText

    page = VisibleText(text)
    try:
        page.read()
    except Late:
        yield Piece(page.text())
        raise
    yield Piece(page.text())


def _is_markup(data: bytes, media_type: str) -> bool:
    return media_type == HTML or data[:100].lstrip().startswith(b"<?xml")


def load_library(media_type: str) -> None:
    """Import the library of a format, which can take longer than parsing.

    Raises:
        Unreadable: the library is not installed.
    """
    library, extra = _LIBRARIES.get(media_type, ("", ""))
    try:
        if library:
            import_module(library)
    except ModuleNotFoundError:
        msg = f"{extra} support is not installed: pip install 'kando-core[{extra.lower()}]'"
        raise Unreadable(msg) from None


def _reader(media_type: str) -> Reader | None:
    """Return the reader of a type; None for text and HTML.

    Raises:
        Unreadable: its library is not installed.
    """
    from kando.text import _bundles

    load_library(media_type)
    if media_type == PDF:
        from kando.text._pdf import pdf_pages

        return pdf_pages
    if media_type in _LIBRARIES:
        from kando.text import _office

        return {DOCX: _office.blocks, PPTX: _office.slides, XLSX: _office.sheets}[media_type]
    readers = {EPUB: _bundles.chapters, EML: _bundles.mail_parts, NOTEBOOK: _bundles.cells}
    return readers.get(media_type)


def _gathered(pieces: Iterator[Piece], limits: Limits, notes: list[str]) -> list[str]:
    """Return the texts of pieces until a limit is reached, which is noted."""
    deadline = time.monotonic() + limits.seconds
    texts: list[str] = []
    chars = pages = 0
    place = ""
    try:
        for piece in pieces:
            place = piece.place
            pages += bool(place)
            texts.append(piece.text)
            chars += len(piece.text)
            if chars > limits.chars:
                texts[-1] = piece.text[: limits.chars - chars]
                notes.append(f"cut{_at(place)} after {limits.chars:,} characters")
                break
            if time.monotonic() > deadline:
                raise Late
    except Late:
        notes.append(f"cut{_at(place)} after {limits.seconds:g} s")
    return texts


def _at(place: str) -> str:
    return f" at {place}" if place else ""
