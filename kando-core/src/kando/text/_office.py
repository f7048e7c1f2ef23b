"""The text of Word documents, PowerPoint presentations and Excel workbooks that a reader sees."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any
from xml.etree import ElementTree

from kando.text._bundles import opened_zip
from kando.text._formats import Limits, Piece, Unreadable

__all__ = ["blocks", "sheets", "slides"]

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_X = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_ON = (None, "1", "true", "on")
_NOTES_PARTS = ("footnotes", "endnotes")


def _damaged(what: str, error: Exception) -> Unreadable:
    return Unreadable(f"damaged {what} ({type(error).__name__})")


def blocks(data: bytes, limits: Limits, notes: list[str]) -> Iterator[Piece]:
    """Yield the paragraphs and tables of a Word document, then its foot and end notes."""
    import docx  # only if needed: each of the three libraries takes long to import

    opened_zip(data).close()
    try:
        document = docx.Document(BytesIO(data))
        body = document.element.body
        related = {part.reltype.rpartition("/")[2]: part for part in document.part.rels.values()}
        hidden = _hidden_styles(document)
    except MemoryError:
        raise
    except Exception as error:
        raise _damaged("Word document", error) from None
    yield from (Piece(text) for text in _paragraphs(body, hidden))
    for name in _NOTES_PARTS:
        if name in related:
            try:
                root = ElementTree.fromstring(related[name].target_part.blob)
            except Exception as error:
                notes.append(f"damaged: {name} ({type(error).__name__})")
                continue
            yield from (Piece(text) for text in _paragraphs(root, hidden))
    if "comments" in related:
        notes.append("comments are not read")


def _hidden_styles(document: Any) -> set[str]:
    """Return the ids of the styles whose text is hidden, by themselves or by what they rest on."""
    based: dict[str, str] = {}
    hidden = set()
    for style in document.styles.element.iter(f"{_W}style"):
        id = style.get(f"{_W}styleId", "")
        base = style.find(f"{_W}basedOn")
        based[id] = base.get(f"{_W}val", "") if base is not None else ""
        if _is_vanished(style.find(f"{_W}rPr")):
            hidden.add(id)
    return {id for id in based if hidden & set(_line_of(id, based))}


def _line_of(id: str, based: dict[str, str]) -> list[str]:
    """Return a style and those that it rests on, also if they rest on each other."""
    line = [id]
    while (base := based.get(line[-1], "")) and base not in line:
        line.append(base)
    return line


def _is_vanished(properties: Any) -> bool:
    if properties is None:
        return False
    vanish = properties.find(f"{_W}vanish")
    return vanish is not None and vanish.get(f"{_W}val") in _ON


def _paragraphs(root: Any, hidden: set[str]) -> Iterator[str]:
    """Yield the texts of paragraphs, each with the gap after it."""
    in_row = 0
    for event, element in _walk(root):
        tag = element.tag
        if tag == f"{_W}tr":
            in_row += 1 if event == "start" else -1
            if event == "end":
                yield "\n" if in_row else "\n\n"
        elif tag == f"{_W}tc" and event == "end":
            yield "\t"
        elif tag == f"{_W}p" and event == "start":
            text = _paragraph(element, hidden)
            if text:
                yield text + (" " if in_row else "\n\n")


def _walk(root: Any) -> Iterator[tuple[str, Any]]:
    """Visit elements without recursion, and without the old form of what has a new one."""
    stack: list[tuple[str, Any]] = [("start", root)]
    while stack:
        event, element = stack.pop()
        if event == "start" and element.tag == _FALLBACK:
            continue
        yield event, element
        if event == "start":
            stack.append(("end", element))
            stack += [("start", child) for child in reversed(list(element))]


def _paragraph(paragraph: Any, hidden: set[str]) -> str:
    """Return the visible text of a paragraph, without that of paragraphs in its text boxes."""
    style = paragraph.find(f"{_W}pPr/{_W}pStyle")
    if style is not None and style.get(f"{_W}val") in hidden:
        return ""
    pieces: list[str] = []
    stack = list(reversed(list(paragraph)))
    while stack:
        element = stack.pop()
        tag = element.tag
        if tag in (f"{_W}p", f"{_W}del", f"{_W}moveFrom", _FALLBACK):
            continue
        if tag == f"{_W}r":
            properties = element.find(f"{_W}rPr")
            named = element.find(f"{_W}rPr/{_W}rStyle")
            if _is_vanished(properties) or (named is not None and named.get(f"{_W}val") in hidden):
                continue
        if tag == f"{_W}t":
            pieces.append(element.text or "")
        elif tag == f"{_W}tab":
            pieces.append("\t")
        elif tag in (f"{_W}br", f"{_W}cr"):
            pieces.append("\n")
        elif tag == f"{_W}noBreakHyphen":
            pieces.append("-")
        if tag != f"{_W}pPr":
            stack += reversed(list(element))
    return "".join(pieces).strip()


def slides(data: bytes, limits: Limits, notes: list[str]) -> Iterator[Piece]:
    """Yield the texts of the slides of a presentation; hidden slides and notes are noted."""
    import pptx

    opened_zip(data).close()
    try:
        found = list(pptx.Presentation(BytesIO(data)).slides)
    except MemoryError:
        raise
    except Exception as error:
        raise _damaged("PowerPoint presentation", error) from None
    unseen, annotated = [], []
    for number, slide in enumerate(found[: limits.pages], 1):
        place = f"slide {number:,} of {len(found):,}"
        if slide.element.get("show") in ("0", "false"):
            unseen.append(number)
            continue
        try:
            text = "\n\n".join(filter(None, _shape_texts(slide.element)))
            annotated += [number] if slide.has_notes_slide else []
        except MemoryError:
            raise
        except Exception as error:
            notes.append(f"damaged: {place} ({type(error).__name__})")
            text = ""
        yield Piece(text + "\n\n", place)
    if unseen:
        notes.append(f"hidden slides are not read: {', '.join(map(str, unseen[:20]))}")
    if annotated:
        notes.append(f"speaker notes are not read: slides {', '.join(map(str, annotated[:20]))}")
    if len(found) > limits.pages:
        notes.append(f"cut after slide {limits.pages:,} of {len(found):,}")


def _shape_texts(root: Any) -> Iterator[str]:
    """Yield the paragraphs of the shapes and tables of a slide, without hidden shapes."""
    stack = [root]
    while stack:
        element = stack.pop()
        if element.tag == _FALLBACK or _is_hidden_shape(element):
            continue
        if element.tag == f"{_A}tr":
            yield "\t".join(" ".join(_lines(cell)) for cell in element.iter(f"{_A}tc"))
        elif element.tag == f"{_A}p":
            yield "".join(_runs(element)).strip()
        else:
            stack += reversed(list(element))


def _is_hidden_shape(element: Any) -> bool:
    for child in element:
        if str(child.tag).rpartition("}")[2].startswith("nv"):
            return any(each.get("hidden") in ("1", "true") for each in child)
    return False


def _lines(cell: Any) -> Iterator[str]:
    for paragraph in cell.iter(f"{_A}p"):
        yield "".join(_runs(paragraph)).strip()


def _runs(paragraph: Any) -> Iterator[str]:
    for element in paragraph.iter(f"{_A}t", f"{_A}br"):
        yield "\n" if element.tag == f"{_A}br" else element.text or ""


def sheets(data: bytes, limits: Limits, notes: list[str]) -> Iterator[Piece]:
    """Yield the rows of the visible sheets of a workbook, with tabs between the cells."""
    import openpyxl

    archive = opened_zip(data)
    try:
        book = openpyxl.load_workbook(BytesIO(data), read_only=True, data_only=True)
        found = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
        unseen = [sheet.title for sheet in book.worksheets if sheet.sheet_state != "visible"]
    except MemoryError:
        raise
    except Exception as error:
        raise _damaged("Excel workbook", error) from None
    for number, sheet in enumerate(found[: limits.pages], 1):
        place = f"sheet {number:,} of {len(found):,}"
        yield Piece("\n" * (number > 1) + f"{sheet.title}\n\n", place)
        try:
            rows, columns = _hidden_cells(archive, sheet)
            if rows or columns:
                notes.append(f"hidden rows and columns of {place} are not read")
            for index, row in enumerate(sheet.iter_rows(), 1):
                cells = [_shown(cell.value) for cell in row if _column(cell) not in columns]
                line = "\t".join(cells).rstrip("\t")
                if line and index not in rows:
                    yield Piece(line + "\n", "")
        except MemoryError:
            raise
        except Exception as error:
            notes.append(f"damaged: {place} ({type(error).__name__})")
    if unseen:
        notes.append(f"hidden sheets are not read: {', '.join(map(repr, unseen[:20]))}")
    if len(found) > limits.pages:
        notes.append(f"cut after sheet {limits.pages:,} of {len(found):,}")


def _column(cell: Any) -> int:
    return getattr(cell, "column", 0) or 0


def _shown(value: Any) -> str:
    return "" if value is None else " ".join(str(value).split())


def _hidden_cells(archive: Any, sheet: Any) -> tuple[set[int], set[int]]:
    """Return the numbers of the hidden rows and columns, which openpyxl does not read by row."""
    rows: set[int] = set()
    columns: set[int] = set()
    number = 0
    with archive.open(sheet._worksheet_path) as file:
        for event, element in ElementTree.iterparse(file, ("start", "end")):
            if event == "start" and element.tag == f"{_X}row":
                number = int(element.get("r") or number + 1)
                if element.get("hidden") in ("1", "true"):
                    rows.add(number)
            elif event == "start" and element.tag == f"{_X}col":
                if element.get("hidden") in ("1", "true"):
                    first, last = int(element.get("min", 0)), int(element.get("max", 0))
                    columns |= {*range(first, min(last, 16_384) + 1)}
            elif event == "end" and element.tag == f"{_X}row":
                element.clear()
    return rows, columns
