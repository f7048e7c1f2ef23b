"""Artifacts as HTML and PDF: their text is untrusted, so none of it acts as markup, link or script."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from kando.errors import ConfigurationError

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

    from kando.app.artifacts import Artifact

__all__ = ["FORMATS", "rendered"]

#: Formats of artifacts; ``md`` is the text as it is.
FORMATS = ("md", "html", "pdf")

_PAGE = """<!doctype html>
<html>
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 sans-serif; max-width: 46em; margin: 2em auto; padding: 0 1em }}
pre {{ white-space: pre-wrap }}
</style>
</head>
<body>
{body}
</body>
</html>
"""

# The fonts that every reader of PDF has know Latin-1 only.
_SIMPLER = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "–": "-", "—": "-", "…": "..."})  # noqa: RUF001
_SIZES = {"h1": 18, "h2": 14, "h3": 12}
_TEXT_SIZE = 10


def rendered(artifact: Artifact, format: str) -> bytes:
    """Return an artifact in a format of `FORMATS`.

    Markdown is rendered without raw HTML, images and links; any other text is shown as it is.

    Args:
        artifact: to render.
        format: ``md``, ``html`` or ``pdf``.

    Raises:
        ConfigurationError: the format is unknown, or the package for PDF is not installed.
    """
    # A lone surrogate has no UTF-8 form.
    text = artifact.text.encode("utf-8", "replace").decode()
    if format == "md":
        return text.encode()
    if format == "html":
        body = _markdown().render(text) if _is_markdown(artifact) else f"<pre>{escape(text)}</pre>"
        return _PAGE.format(title=escape(artifact.name), body=body.rstrip()).encode()
    if format == "pdf":
        return _pdf(_blocks(text) if _is_markdown(artifact) else iter([("", text)]))
    msg = f"{format!r:.40} is not a format of artifacts."
    raise ConfigurationError(msg, hint=f"Use one of: {', '.join(FORMATS)}.")


def _is_markdown(artifact: Artifact) -> bool:
    return artifact.media_type == "text/markdown"


def _markdown() -> MarkdownIt:
    # Only these formats need it.
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).disable(["image", "link", "autolink"])


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield the blocks of a Markdown text: its tag, such as ``h1``, and its text with a bullet."""
    tag, bullet = "", ""
    for token in _markdown().parse(text):
        if token.type == "list_item_open":
            bullet = f"{token.info}. " if token.info else "- "
        elif token.type == "inline":
            inline = "".join(
                "\n" if each.type in ("softbreak", "hardbreak") else each.content
                for each in token.children or ()
            )
            yield tag, bullet + inline
            bullet = ""
        elif token.type in ("fence", "code_block"):
            yield "", token.content
        elif token.nesting == 1:
            tag = token.tag


def _pdf(blocks: Iterator[tuple[str, str]]) -> bytes:
    try:
        from fpdf import FPDF
    except ModuleNotFoundError as error:
        msg = "PDF needs the package fpdf2, which is not installed."
        raise ConfigurationError(msg, hint="pip install 'kando-core[report]'") from error
    document = FPDF()
    document.add_page()
    lost = 0
    for tag, text in blocks:
        size = _SIZES.get(tag, _TEXT_SIZE)
        known = text.translate(_SIMPLER).encode("latin-1", "replace").decode("latin-1")
        lost += known.count("?") - text.count("?")
        document.set_font("Helvetica", "B" if tag in _SIZES else "", size)
        document.multi_cell(0, size * 0.5, known, align="L", new_x="LMARGIN", new_y="NEXT")
        document.ln(2)
    if lost:
        document.set_font("Helvetica", "I", _TEXT_SIZE)
        note = f"{lost} characters that the font lacks are shown as ?: the HTML has them."
        document.multi_cell(0, 5, note, align="L", new_x="LMARGIN", new_y="NEXT")
    return bytes(document.output())
