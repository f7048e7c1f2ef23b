"""Documents made of documents: EPUB, email and notebooks, all read with the standard library."""

from __future__ import annotations

import json
import posixpath
import zipfile
from collections.abc import Iterator
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from io import BytesIO
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

from kando.text._encodings import Binary, decode
from kando.text._formats import DOCX, EPUB, PPTX, XLSX, Limits, Piece, Unreadable
from kando.text.html import visible_text

__all__ = ["cells", "chapters", "mail_parts", "opened_zip", "zipped_type"]

_MAX_UNPACKED_BYTES = 512 * 1024**2
_MAX_MEMBERS = 10_000
_MAIN_PARTS = {"word/document.xml": DOCX, "ppt/presentation.xml": PPTX, "xl/workbook.xml": XLSX}
_MAIL_FIELDS = ("From", "To", "Cc", "Date", "Subject")


def zipped_type(data: bytes) -> str | None:
    """Return the type of a document that is a ZIP archive; None if it is another archive.

    Raises:
        Unreadable: it is in a format that is not read.
    """
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            names = set(archive.namelist()[:_MAX_MEMBERS])
            for part, media_type in _MAIN_PARTS.items():
                if part in names:
                    return media_type
            if "META-INF/container.xml" in names:
                return EPUB
            is_open = "mimetype" in names and b"opendocument" in archive.read("mimetype")
    except Exception:  # a damaged archive: its name decides, and the library reports the damage
        return None
    if is_open:
        raise Unreadable("unknown type: OpenDocument")
    return None


def opened_zip(data: bytes) -> zipfile.ZipFile:
    """Open the archive of a document.

    Raises:
        Unreadable: it is damaged, or would take too much space.
    """
    try:
        archive = zipfile.ZipFile(BytesIO(data))
        sizes = [each.file_size for each in archive.infolist()]
    except Exception as error:
        raise Unreadable(f"damaged ({type(error).__name__})") from None
    if sum(sizes) > _MAX_UNPACKED_BYTES or len(sizes) > _MAX_MEMBERS:
        msg = f"unpacks to {len(sizes):,} files with {sum(sizes) // 1024**2:,} MiB"
        raise Unreadable(msg)
    return archive


def chapters(data: bytes, limits: Limits, notes: list[str]) -> Iterator[Piece]:
    """Yield the visible text of the chapters of an EPUB, in the order of its spine."""
    archive = opened_zip(data)
    try:
        paths = _spine(archive)
    except MemoryError:
        raise
    except Exception as error:
        raise Unreadable(f"damaged EPUB ({type(error).__name__})") from None
    for number, path in enumerate(paths[: limits.pages], 1):
        place = f"chapter {number:,} of {len(paths):,}"
        try:
            text = visible_text(_decoded(archive.read(path), notes))
        except MemoryError:
            raise
        except Exception as error:
            notes.append(f"damaged: {place} ({type(error).__name__})")
            text = ""
        yield Piece("\n\n" * (number > 1) + text, place)
    if len(paths) > limits.pages:
        notes.append(f"cut after chapter {limits.pages:,} of {len(paths):,}")


def _spine(archive: zipfile.ZipFile) -> list[str]:
    """Return the paths of the chapters in the archive."""
    container = ElementTree.fromstring(archive.read("META-INF/container.xml"))
    package = next(e.attrib["full-path"] for e in container.iter() if _local(e.tag) == "rootfile")
    root = ElementTree.fromstring(archive.read(package))
    items = {
        e.attrib.get("id", ""): e.attrib.get("href", "")
        for e in root.iter()
        if _local(e.tag) == "item"
    }
    named = [e.attrib.get("idref", "") for e in root.iter() if _local(e.tag) == "itemref"]
    folder = posixpath.dirname(package)
    return [posixpath.normpath(posixpath.join(folder, unquote(items.get(id, id)))) for id in named]


def _local(tag: Any) -> str:
    return str(tag).rpartition("}")[2]


def _decoded(data: bytes, notes: list[str], charset: str | None = None) -> str:
    text, found = decode(data, charset=charset, is_markup=True)
    notes += found
    return text


def mail_parts(data: bytes, limits: Limits, notes: list[str]) -> Iterator[Piece]:
    """Yield the fields of an email that a reader sees, then its text; attachments are noted."""
    try:
        mail = BytesParser(policy=policy.default).parsebytes(data)
        fields = [f"{name}: {mail[name]}" for name in _MAIL_FIELDS if mail[name]]
        body = mail.get_body(("plain", "html"))
        attached = [_named(part) for part in mail.walk() if _is_attached(part, body)]
    except MemoryError:
        raise
    except Exception as error:
        raise Unreadable(f"damaged email ({type(error).__name__})") from None
    yield Piece("\n".join(" ".join(field.split()) for field in fields) + "\n\n")
    if body is not None:
        yield Piece(_body(body, notes))
    for name in attached[:10]:
        notes.append(f"attachment {name!r} is not read")
    if len(attached) > 10:
        notes.append(f"{len(attached) - 10:,} more attachments are not read")


def _body(part: Any, notes: list[str]) -> str:
    try:
        data = part.get_payload(decode=True) or b""
        declared = part.get_content_charset()
        text = _decoded(data, notes, declared) if data else ""
    except (Binary, LookupError, ValueError) as error:
        notes.append(f"damaged: the text of the email ({type(error).__name__})")
        return ""
    return visible_text(text) if part.get_content_type() == "text/html" else text


def _is_attached(part: Any, body: Any) -> bool:
    if part is body or part.is_multipart():
        return False
    # The same text as HTML is the other form of the body.
    is_other_form = part.get_content_type() == "text/html" and not part.get_filename()
    return not is_other_form


def _named(part: EmailMessage | Any) -> str:
    return " ".join(str(part.get_filename() or part.get_content_type()).split())[:80]


def cells(data: bytes, limits: Limits, notes: list[str]) -> Iterator[Piece]:
    """Yield the cells of a notebook and the texts that they have printed."""
    try:
        notebook = json.loads(data)
        sheets = notebook.get("worksheets") or [notebook]
        found = [cell for sheet in sheets for cell in sheet["cells"]]
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise Unreadable(f"damaged notebook ({type(error).__name__})") from None
    left_out = 0
    for number, cell in enumerate(found[: limits.pages], 1):
        place = f"cell {number:,} of {len(found):,}"
        if not isinstance(cell, dict):
            notes.append(f"damaged: {place}")
            continue
        texts = [_joined(cell.get("source", cell.get("input")))]
        outputs = cell.get("outputs")
        for output in outputs if isinstance(outputs, list) else ():
            text = _output(output)
            left_out += not text
            texts.append(text)
        joined = "\n\n".join(text for text in texts if text.strip())
        yield Piece("\n\n" * (number > 1) + joined, place)
    if left_out:
        notes.append(f"{left_out:,} outputs without text are not read")
    if len(found) > limits.pages:
        notes.append(f"cut after cell {limits.pages:,} of {len(found):,}")


def _output(output: Any) -> str:
    if not isinstance(output, dict):
        return ""
    if output.get("output_type") == "error" or "evalue" in output:
        return f"{output.get('ename', 'Error')}: {output.get('evalue', '')}"
    data = output.get("data")
    plain = data.get("text/plain") if isinstance(data, dict) else None
    return _joined(output.get("text") or plain)


def _joined(text: Any) -> str:
    if isinstance(text, list):
        return "".join(each for each in text if isinstance(each, str))
    return text if isinstance(text, str) else ""
