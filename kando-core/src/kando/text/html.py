"""Extract the visible text of an HTML page."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser

__all__ = ["visible_text"]

_HIDDEN = frozenset({"datalist", "head", "iframe", "script", "style", "template"})
_IN_HEAD = frozenset({"base", "link", "meta", "noscript", "script", "style", "template", "title"})
# fmt: off
_VOID = frozenset({
    "area", "base", "basefont", "bgsound", "br", "col", "embed", "hr", "img", "input",
    "link", "meta", "param", "source", "track", "wbr",
})
_LINES = frozenset({
    "caption", "dd", "div", "dt", "figcaption", "hr", "legend", "li", "option", "summary",
    "tr",
})
_PARAGRAPHS = frozenset({
    "address", "article", "aside", "blockquote", "body", "details", "dialog", "dl",
    "fieldset", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header",
    "main", "nav", "ol", "p", "pre", "section", "table", "title", "ul",
})
# fmt: on
_BLOCKS = _LINES | _PARAGRAPHS
# Elements whose end tag is optional: the element ends where one of these starts.
_ENDED_BY = {
    "p": _BLOCKS,
    "li": frozenset({"li"}),
    "dd": frozenset({"dd", "dt"}),
    "dt": frozenset({"dd", "dt"}),
    "option": frozenset({"option"}),
    "tr": frozenset({"tr"}),
    "td": frozenset({"td", "th", "tr"}),
    "th": frozenset({"td", "th", "tr"}),
}
_SPACE = re.compile(r"[ \t\n\r\f]+")


def visible_text(markup: str) -> str:
    """Return the text that a reader of the page sees, without styles and images.

    Each block is on its own line, paragraphs are separated by a blank line, and the cells of a
    table row by a tab. The page's title comes first. An unclosed comment or tag hides the rest of
    the page, as it does in a browser.
    """
    parser = _VisibleText()
    # Browsers read "<![" as a comment; the standard parser raises for some. The paragraph flushes
    # the text before it. The parser is not closed: it would search for the end of each unclosed tag
    # again from every later one, which takes hours for a small malicious file.
    parser.feed(markup.replace("<![", "<?[") + "<p>")
    return "".join(parser.pieces).strip()


class _VisibleText(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._gap = ""
        self._open: list[tuple[str, bool]] = []  # (tag, is_hidden), outermost first
        self._open_tags: Counter[str] = Counter()
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._open:
            innermost = self._open[-1][0]
            if tag in _ENDED_BY.get(innermost, ()) or (innermost == "head" and tag not in _IN_HEAD):
                self._leave(innermost)
        self._separate(tag)
        if tag not in _VOID:
            is_hidden = tag in _HIDDEN or any(name == "hidden" for name, _ in attrs)
            self._open.append((tag, is_hidden))
            self._open_tags[tag] += 1
            self._hidden += is_hidden

    def handle_endtag(self, tag: str) -> None:
        # Without the count, each unmatched end tag would cost a search of all open elements.
        if self._open_tags[tag]:
            self._leave(tag)
        if tag in _BLOCKS:
            self._separate(tag)

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1][0] == "head" and data.strip():
            self._leave("head")
        # A title is visible although the head around it is not.
        in_title = self._hidden == 1 and [tag for tag, _ in self._open[-2:]] == ["head", "title"]
        if self._hidden and not in_title:
            return
        if not self._open_tags["pre"]:
            data = _SPACE.sub(" ", data)
            if self._gap or not self.pieces or self.pieces[-1].endswith((" ", "\n")):
                data = data.removeprefix(" ")
        if not data:
            return
        if self._gap and self.pieces:
            self.pieces[-1] = self.pieces[-1].rstrip()
            self.pieces.append(self._gap)
        self._gap = ""
        self.pieces.append(data)

    def _leave(self, tag: str) -> None:
        left = ""
        while left != tag:
            left, is_hidden = self._open.pop()
            self._open_tags[left] -= 1
            self._hidden -= is_hidden

    def _separate(self, tag: str) -> None:
        if self._hidden and tag != "title":
            return
        if tag in _PARAGRAPHS:
            self._gap = "\n\n"
        elif tag == "br":
            self._gap = "\n\n" if "\n" in self._gap else "\n"
        elif tag in _LINES and self._gap != "\n\n":
            self._gap = "\n"
        elif tag in ("td", "th") and not self._gap:
            self._gap = "\t"
