"""Documents of other formats: their visible text, and notes on what is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

import documents
from kando.text._parser import Parser
from kando.text.documents import Extracted, Limits, Unreadable, extract_text
from kando.text.hostile import pdf

Read = Callable[..., Extracted]


@pytest.fixture(scope="module")
def parser() -> Iterator[Parser]:
    """One process for all, since libraries of formats take long to import."""
    with Parser() as parser:
        yield parser


@pytest.fixture
def read(parser: Parser) -> Callable[..., Extracted]:
    return parser.parse


def test_an_epub_is_read_in_the_order_of_its_spine(read: Read) -> None:
    found = read(documents.epub())

    assert found == Extracted("application/epub+zip", "One\n\nFirst words.\n\nSecond.", [])


def test_an_email_is_read_without_its_attachments_which_are_noted(read: Read) -> None:
    found = read(documents.email())

    assert found.media_type == "message/rfc822"
    assert found.text.split("\n") == [
        "From: Ann <ann@example.org>",
        "To: ben@example.org",
        "Subject: Größe",
        "",
        "The size is 5 µm.",
        "",
    ]
    assert found.notes == ["attachment 'plan.png' is not read"]


def test_the_hidden_text_of_an_email_in_html_is_not_read(read: Read) -> None:
    mail = "From: a@b.c\nSubject: s\nContent-Type: text/html; charset=iso-8859-1\n\n"
    mail += "<p style='display:none'>no</p><p>Caf\xe9"

    assert read(mail.encode("latin1")).text == "From: a@b.c\nSubject: s\n\nCafé"


def test_a_notebook_is_read_with_the_texts_that_it_printed(read: Read) -> None:
    found = read(documents.notebook())

    assert found == Extracted(
        "application/x-ipynb+json",
        "# Title\nWords.\n\nprint(42)\n\n42\n",
        ["1 outputs without text are not read"],
    )


def test_the_visible_text_of_a_word_document_is_read(read: Read) -> None:
    pytest.importorskip("docx")

    found = read(documents.docx())

    assert found.text == "Report\n\nSeen.\n\na \tb \t\n\nc \td \t\n\nEnd.\n\n"
    assert found.notes == []


def test_hidden_slides_and_speaker_notes_are_noted_and_not_read(read: Read) -> None:
    pytest.importorskip("pptx")

    found = read(documents.pptx())

    assert found.text == "First\n\nOne point.\n\n"
    assert found.notes == ["hidden slides are not read: 2", "speaker notes are not read: slides 1"]


def test_hidden_rows_columns_and_sheets_are_noted_and_not_read(read: Read) -> None:
    pytest.importorskip("openpyxl")

    found = read(documents.xlsx())

    assert found.text == "Sales\n\nYear\tSum\n2024\t7\n2025\t9\n"
    assert found.notes == [
        "hidden rows and columns of sheet 1 of 1 are not read",
        "hidden sheets are not read: 'Notes'",
    ]


@pytest.mark.parametrize("name", sorted(documents.corpus()))
def test_the_content_and_not_the_name_decides_about_the_format(read: Read, name: str) -> None:
    data = documents.corpus()[name]

    found = read(data, media_type="application/octet-stream")

    assert "HIDDEN" not in found.text
    if name.rpartition(".")[2] not in ("md", "txt", "csv"):
        assert found.media_type != "text/plain"


@pytest.mark.parametrize("name", ["a.docx", "a.pptx", "a.xlsx", "book.epub", "a.pdf", "book.ipynb"])
def test_a_document_that_is_cut_off_is_refused_or_noted(read: Read, name: str) -> None:
    data = documents.corpus().get(name)
    if data is None:
        pytest.skip("its library is not installed")

    try:
        found = read(data[: len(data) // 2])
        told = found.notes if found.media_type != "text/plain" else ["plain text"]
    except Unreadable as error:
        told = [str(error)]

    assert any(told)


def test_an_archive_that_unpacks_to_too_much_is_refused(read: Read) -> None:
    parts = {"META-INF/container.xml": "", **{f"{n}.xhtml": "" for n in range(10_000)}}

    with pytest.raises(Unreadable, match=r"unpacks to 10,001 files with 0 MiB"):
        read(documents.zipped(parts))


def test_pages_beyond_the_limit_are_cut_and_named(read: Read) -> None:
    pytest.importorskip("pypdf")
    data = documents.pdf(*"abcde")

    found = read(data, limits=Limits(pages=3))

    assert found.text == "a\n\nb\n\nc"
    assert found.notes == ["cut after page 3 of 5"]


def test_text_beyond_the_limit_is_cut_and_named(read: Read) -> None:
    found = read(b"a" * 100, limits=Limits(chars=10))

    assert (found.text, found.notes) == ("a" * 10, ["cut after 10 characters"])


def test_a_small_archive_gives_at_most_a_million_characters(read: Read) -> None:
    page = f"<html><body><p>{'word ' * 400_000}</p></body></html>"
    parts = {
        "META-INF/container.xml": "<c><rootfile full-path='b.opf'/></c>",
        "b.opf": "<p><item id='c' href='c.xhtml'/><itemref idref='c'/></p>",
        "c.xhtml": page,
    }

    found = read(documents.zipped(parts))

    assert len(found.text) == 1_000_000
    assert found.notes == ["cut at chapter 1 of 1 after 1,000,000 characters"]


def test_a_pdf_says_where_its_pages_begin() -> None:
    pytest.importorskip("pypdf")

    found = extract_text(pdf(["One."], [], ["Three.", "More."]))

    texts = [found.text[at:].strip().partition("\n")[0] for at in found.pages]
    assert texts == ["One.", "Three.", "Three."]
