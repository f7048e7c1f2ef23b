"""Extract the visible text of an HTML page."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser

from kando.text._hidden import Look, is_styled_block, look_of

__all__ = ["VisibleText", "visible_text"]

_IN_HEAD = frozenset({"base", "link", "meta", "noscript", "script", "style", "template", "title"})
# fmt: off
_VOID = frozenset({
    "area", "base", "basefont", "bgsound", "br", "col", "embed", "hr", "img", "input",
    "link", "meta", "param", "source", "track", "wbr",
})
_LINES = frozenset({
    "caption", "center", "dd", "div", "dt", "figcaption", "frame", "hr", "legend", "li", "optgroup",
    "option", "summary", "tbody", "tfoot", "thead", "tr",
})
_PARAGRAPHS = frozenset({
    "address", "article", "aside", "blockquote", "body", "details", "dialog", "dl",
    "dir", "fieldset", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header",
    "hgroup", "listing", "main", "menu", "nav", "ol", "p", "plaintext", "pre", "search", "section",
    "table", "title", "ul", "xmp",
})
# Elements that stand apart from the words around them in the same line.
_APART = frozenset({
    "audio", "button", "canvas", "embed", "iframe", "img", "input", "meter", "object", "progress",
    "rt", "select", "svg", "textarea", "video",
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
_STYLE_SHEET = re.compile(r"<style|stylesheet", re.IGNORECASE)
_SEPARATORS = ["", " ", "\t", "\n", "\n\n"]
_LINE, _PARAGRAPH = 3, 4
# The gap before and after an element, as an index of `_SEPARATORS`; the widest one counts.
_GAPS = {
    **dict.fromkeys(_APART, 1),
    **dict.fromkeys(("td", "th"), 2),
    **dict.fromkeys((*_LINES, "br"), _LINE),
    **dict.fromkeys(_PARAGRAPHS, _PARAGRAPH),
}


def visible_text(markup: str) -> str:
    """Return the text that a reader of the page sees, without images.

    Each block is on its own line, paragraphs are separated by a blank line, and the cells of a
    table row by a tab. The page's title comes first. An unclosed comment or tag hides the rest of
    the page, as it does in a browser. Text is hidden by elements, attributes and inline styles;
    style sheets are not read.
    """
    page = VisibleText(markup)
    page.read()
    return page.text()


class _Open:
    """An open element.

    Attributes:
        tag: of the element.
        look: of the text in it.
        shown_in_summary: the look of a summary in closed details that has not come yet.
        is_block: whether an inline style puts it on lines of its own.
    """

    __slots__ = ("is_block", "look", "shown_in_summary", "tag")

    def __init__(self, tag: str, look: Look, shown_in_summary: Look | None, is_block: bool) -> None:
        self.tag, self.look = tag, look
        self.shown_in_summary, self.is_block = shown_in_summary, is_block


class VisibleText(HTMLParser):
    """A page whose text can be taken even if reading it was interrupted."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self._markup = markup
        self._pieces: list[str] = []
        self._gap = 0
        self._page = Look(has_style_sheet=_STYLE_SHEET.search(markup) is not None)
        self._open: list[_Open] = []  # outermost first
        self._open_tags: Counter[str] = Counter()
        self._has_title = False

    def read(self) -> None:
        """Read the whole page."""
        # Browsers read "<![" as a comment; the standard parser raises for some. The paragraph
        # flushes the text before it. The parser is not closed: it would search for the end of each
        # unclosed tag again from every later one, which takes hours for a small malicious file.
        self.feed(self._markup.replace("<![", "<?[") + "<p>")

    def text(self) -> str:
        """Return the text that was read so far."""
        return "".join(self._pieces).strip()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._open:
            innermost = self._open[-1].tag
            if tag in _ENDED_BY.get(innermost, ()) or (innermost == "head" and tag not in _IN_HEAD):
                self._leave(innermost)
        # The first attribute of a name counts.
        attributes = {name: value or "" for name, value in reversed(attrs)} if attrs else {}
        is_block = bool(attrs) and is_styled_block(attributes)
        self._separate("div" if is_block and tag not in _BLOCKS else tag)
        if tag in _VOID:
            return
        outer = self._look_around(tag)
        look = look_of(tag, attributes, outer)
        if tag == "title" and not self._has_title and self._is_in_head():
            # The title of the page is visible although the head around it is not.
            self._has_title = True
            look = self._page
        shown = None
        if tag == "details" and "open" not in attributes and not look.is_gone:
            look, shown = look.within(), look
            look.is_gone = True
        self._open.append(_Open(tag, look, shown, is_block))
        self._open_tags[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        # Without the count, each unmatched end tag would cost a search of all open elements.
        is_block = False
        if self._open_tags[tag]:
            is_block = self._open[-1].is_block
            self._leave(tag)
        if is_block or tag in _BLOCKS or tag in _APART:
            self._separate(tag if tag in _BLOCKS or tag in _APART else "div")

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1].tag == "head" and data.strip():
            self._leave("head")
        if not self._is_seen():
            return
        if not self._open_tags["pre"]:
            data = _SPACE.sub(" ", data)
            if self._gap or not self._pieces or self._pieces[-1].endswith((" ", "\n")):
                data = data.removeprefix(" ")
        if not data:
            return
        if self._gap and self._pieces:
            self._pieces[-1] = self._pieces[-1].rstrip()
            self._pieces.append(_SEPARATORS[self._gap])
        self._gap = 0
        self._pieces.append(data)

    def _is_seen(self) -> bool:
        return (self._open[-1].look if self._open else self._page).is_seen()

    def _is_in_head(self) -> bool:
        return all(each.tag in ("html", "head") for each in self._open)

    def _look_around(self, tag: str) -> Look:
        if not self._open:
            return self._page
        innermost = self._open[-1]
        if tag == "summary" and innermost.shown_in_summary is not None:
            # The first summary of closed details is what a reader clicks on.
            look, innermost.shown_in_summary = innermost.shown_in_summary, None
            return look
        return innermost.look

    def _leave(self, tag: str) -> None:
        left = ""
        while left != tag:
            left = self._open.pop().tag
            self._open_tags[left] -= 1

    def _separate(self, tag: str) -> None:
        rank = _GAPS.get(tag)
        if rank is None or (self._open and self._open[-1].look.is_gone and tag != "title"):
            return
        if tag == "br" and self._gap >= _LINE:
            rank = _PARAGRAPH
        self._gap = max(rank, self._gap)
