"""Small documents of every format that Kando reads, made in memory."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from io import BytesIO

__all__ = ["corpus", "docx", "email", "epub", "notebook", "pdf", "pptx", "xlsx", "zipped"]


def pdf(*pages: str) -> bytes:
    """Return a PDF with a line of text on each page."""
    kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for i, line in enumerate(pages):
        content = f"BT /F1 12 Tf 72 720 Td ({line}) Tj ET"
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * i} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>",
            f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
        ]
    data = b"%PDF-1.4\n"
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(data))
        data += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    return (
        data
        + (
            f"xref\n0 {size}\n0000000000 65535 f \n{table}"
            f"trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{len(data)}\n%%EOF\n"
        ).encode()
    )


def zipped(parts: Mapping[str, str]) -> bytes:
    """Return a ZIP archive of these parts."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return file.getvalue()


def docx() -> bytes:
    """Return a Word document with a paragraph, a hidden one, a deletion and a table."""
    from docx import Document

    document = Document()
    document.add_heading("Report", 1)
    document.add_paragraph("Seen.").add_run(" HIDDEN").font.hidden = True
    table = document.add_table(2, 2)
    for row, cells in zip(table.rows, [("a", "b"), ("c", "d")], strict=True):
        for cell, text in zip(row.cells, cells, strict=True):
            cell.text = text
    document.add_paragraph("End.")
    file = BytesIO()
    document.save(file)
    return file.getvalue()


def pptx() -> bytes:
    """Return a presentation with a slide, a hidden slide and speaker notes."""
    from pptx import Presentation

    presentation = Presentation()
    for title, body in [("First", "One point."), ("HIDDEN", "HIDDEN")]:
        slide = presentation.slides.add_slide(presentation.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = body
    slide.element.set("show", "0")
    presentation.slides[0].notes_slide.notes_text_frame.text = "HIDDEN"
    file = BytesIO()
    presentation.save(file)
    return file.getvalue()


def xlsx() -> bytes:
    """Return a workbook with a sheet, a hidden row, a hidden column and a hidden sheet."""
    from openpyxl import Workbook

    book = Workbook()
    sheet = book.active
    sheet.title = "Sales"
    for row in (
        ["Year", "HIDDEN", "Sum"],
        [2024, "HIDDEN", 7],
        ["HIDDEN"] * 3,
        [2025, "HIDDEN", 9],
    ):
        sheet.append(row)
    sheet.row_dimensions[3].hidden = True
    sheet.column_dimensions["B"].hidden = True
    other = book.create_sheet("Notes")
    other.append(["HIDDEN"])
    other.sheet_state = "hidden"
    file = BytesIO()
    book.save(file)
    return file.getvalue()


def epub() -> bytes:
    """Return a book of two chapters, the second with hidden text."""
    rootfile = '<rootfile full-path="OEBPS/book.opf"/>'
    items = "".join(f'<item id="c{n}" href="text/c{n}.xhtml"/>' for n in (1, 2))
    spine = '<itemref idref="c1"/><itemref idref="c2"/>'
    return zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": f"<container><rootfiles>{rootfile}</rootfiles></container>",
            "OEBPS/book.opf": f"<package><manifest>{items}</manifest><spine>{spine}</spine></package>",
            "OEBPS/text/c1.xhtml": "<html><body><h1>One</h1><p>First words.</p></body></html>",
            "OEBPS/text/c2.xhtml": "<html><body><p>Second.</p><p hidden=''>HIDDEN</p></body></html>",
        }
    )


def email() -> bytes:
    """Return a message in text and HTML, with an attachment."""
    from email.message import EmailMessage

    message = EmailMessage()
    message["From"] = "Ann <ann@example.org>"
    message["To"] = "ben@example.org"
    message["Subject"] = "Größe"
    message["Received"] = "from HIDDEN"
    message.set_content("The size is 5 µm.\n")
    message.add_alternative("<p>The size is <b>5 µm</b>.</p>", subtype="html")
    message.add_attachment(b"HIDDEN", maintype="image", subtype="png", filename="plan.png")
    return message.as_bytes()


def notebook() -> bytes:
    """Return a notebook with a text, a program and its output."""
    printed = {"output_type": "stream", "text": ["42\n"]}
    picture = {"output_type": "display_data", "data": {"image/png": "HIDDEN"}}
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "Words."]},
        {"cell_type": "code", "source": "print(42)", "outputs": [printed, picture]},
    ]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}).encode()


def corpus() -> dict[str, bytes]:
    """Return a document of each format whose library is installed, by file name."""
    page = "<!doctype html><html><head><meta charset=windows-1252><title>T</title></head><body>"
    page += (
        "<p style='color:red'>Caf\xe9</p><details><summary>S</summary>no</details></body></html>"
    )
    found = {
        "page.html": page.encode("cp1252"),
        "note.md": "# Plan\n\nShip in spring: 5 €.".encode(),
        "latin.txt": "Der Preis f\xfcr das Grundst\xfcck".encode("cp1252"),
        "wide.txt": "text with a mark".encode("utf-16"),
        "table.csv": b"a,b\n1,2\n",
        "book.epub": epub(),
        "mail.eml": email(),
        "book.ipynb": notebook(),
    }
    for name, make in [("a.docx", docx), ("a.pptx", pptx), ("a.xlsx", xlsx)]:
        try:
            found[name] = make()
        except ImportError:
            continue
    try:
        import pypdf  # noqa: F401
    except ImportError:
        return found
    return found | {"a.pdf": pdf("First page.", "Second page.")}
