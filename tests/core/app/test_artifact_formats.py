"""Artifacts as HTML and PDF: nothing in an untrusted text acts as markup, link or script."""

from io import BytesIO

import pytest

from kando.app.artifact_formats import FORMATS
from kando.app.artifacts import Artifact
from kando.errors import ConfigurationError

HOSTILE = """# A <script>alert(1)</script> title

- one <img src=x onerror=alert(1)> [click](javascript:alert(1)) ![pixel](http://x.test/p.png)
- <http://x.test/> \ud800

1. first “quoted”
2. second
"""


def artifact(text: str, media_type: str = "text/markdown") -> Artifact:
    return Artifact("report<b>.md", media_type, text, "report-1", "Report")


@pytest.mark.parametrize("media_type", ["text/markdown", "text/plain"])
def test_html_has_no_markup_link_or_image_of_the_text(media_type: str) -> None:
    page = artifact(HOSTILE, media_type).rendered("html").decode()

    body = page.partition("<body>")[2]
    assert "<title>report&lt;b&gt;.md</title>" in page
    assert "default-src 'none'" in page
    for each in ("<script", "<img", "<a ", "href="):
        assert each not in body
    assert "&lt;script&gt;" in body


def test_markdown_becomes_headings_and_lists() -> None:
    page = artifact("# Title\n\n1. one\n2. **two**\n").rendered("html").decode()

    assert "<h1>Title</h1>" in page
    assert "<li><strong>two</strong></li>" in page


def test_md_is_the_text_as_it_is() -> None:
    assert artifact("a  \n\tb").rendered("md") == b"a  \n\tb"


@pytest.mark.parametrize("media_type", ["text/markdown", "text/plain"])
def test_a_pdf_has_the_text_and_counts_what_its_font_lacks(media_type: str) -> None:
    pytest.importorskip("fpdf")
    pypdf = pytest.importorskip("pypdf")

    made = artifact(f"{HOSTILE}\n会社", media_type).rendered("pdf")

    text = "\n".join(page.extract_text() for page in pypdf.PdfReader(BytesIO(made)).pages)
    assert "<script>alert(1)</script>" in text
    assert '1. first "quoted"' in text
    assert "characters that the font lacks are shown as ?" in text


def test_another_format_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'docx' is not a format") as caught:
        artifact("").rendered("docx")

    assert all(each in str(caught.value.hint) for each in FORMATS)
