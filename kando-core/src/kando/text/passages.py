"""Split a text into passages that are short enough to be quoted."""

from __future__ import annotations

import re
from collections.abc import Iterator

import attrs

__all__ = ["Passage", "passages"]

_HEADING = re.compile(r" {0,3}#{1,6}(?:\s|$)")
_UNDERLINE = re.compile(r" {0,3}(?:=+|-+)\s*")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)", re.DOTALL)

# Where a text that is too long may be split, best first. The pattern matches the spaces after a
# sentence instead of its end, so that a long row of full stops costs no more than other text.
_STOP = r"[.!?\u2026\u0964\u0965\u061f\u06d4]"  # Latin, danda, Arabic
_WIDE_STOP = r"[\u3002\uff01\uff1f]"  # Chinese and Japanese, which put no space after it
_CLOSING = r"[\"')\]\u201d\u2019\u00bb\u300d\u300f\uff09]"
_SENTENCE = re.compile(
    rf"(?<={_STOP})\s+|(?<={_STOP}{_CLOSING})\s+"
    rf"|(?<={_WIDE_STOP})(?!{_CLOSING})|(?<={_WIDE_STOP}{_CLOSING})"
)
_LINE = re.compile(r"\n\s*")
_WORD = re.compile(r"\s+")
_CUTS = (_SENTENCE, _LINE, _WORD)


@attrs.frozen
class Passage:
    """A part of a text.

    Attributes:
        start: index of its first character.
        end: index after its last character.
        text: between these; neither begins nor ends with white space.
    """

    start: int
    end: int
    text: str


@attrs.frozen
class _Piece:
    """A part of a text that is not split further."""

    start: int
    end: int
    is_heading: bool = False


def passages(text: str, max_chars: int = 1200) -> list[Passage]:
    """Split a text into passages, each as long as the limit allows.

    A text is split between paragraphs; a paragraph that is too long is split after a sentence,
    else after a line, else after a word, else at the limit. A Markdown heading begins a new
    passage. Every character that is not white space is in exactly one passage.

    Args:
        text: plain text or Markdown.
        max_chars: length of the longest passage, in characters.

    Raises:
        ValueError: `max_chars` is less than 1.
    """
    if max_chars < 1:
        msg = f"max_chars must be at least 1, not {max_chars}."
        raise ValueError(msg)
    found: list[Passage] = []
    start = end = 0
    for paragraph in _paragraphs(text):
        for piece in _pieces(text, paragraph, max_chars, _CUTS):
            if piece.is_heading or piece.end - start > max_chars:
                found += _passage(text, start, end)
                start = piece.start
            end = piece.end
    return [*found, *_passage(text, start, end)]


def _passage(text: str, start: int, end: int) -> list[Passage]:
    trimmed = _trimmed(text, start, end)
    return [Passage(*trimmed, text[slice(*trimmed)])] if trimmed else []


def _trimmed(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Return the span without the white space at its ends, or None if it is blank."""
    stretch = text[start:end]
    length = len(stretch.strip())
    start += len(stretch) - len(stretch.lstrip())
    return (start, start + length) if length else None


def _paragraphs(text: str) -> Iterator[_Piece]:
    """Find the paragraphs between blank lines; a heading begins one even without a blank line."""
    position = start = end = lines = 0
    is_heading = False
    fence = ""
    for line in text.split("\n"):
        # A "#" in a fenced block of code is a comment.
        starts_section = not fence and _HEADING.match(line) is not None
        if lines and (starts_section or not line.strip()):
            yield _Piece(start, end, is_heading)
            lines = 0
        if line.strip():
            if not lines:
                start, is_heading = position, starts_section
            elif lines == 1 and not fence and _UNDERLINE.fullmatch(line):
                is_heading = True
            lines += 1
            end = position + len(line)
            fence = _fence_after(line, fence)
        position += len(line) + 1
    if lines:
        yield _Piece(start, end, is_heading)


def _fence_after(line: str, fence: str) -> str:
    """Return the mark of the fenced code block that contains the next line, or an empty string."""
    match = _FENCE.match(line)
    if match is None:
        return fence
    mark, rest = match.groups()
    if not fence:
        return "" if mark[0] == "`" and "`" in rest else mark
    closes = mark.startswith(fence) and not rest.strip()
    return "" if closes else fence


def _pieces(
    text: str, whole: _Piece, max_chars: int, cuts: tuple[re.Pattern[str], ...]
) -> Iterator[_Piece]:
    """Split `whole` by the first of `cuts`, and parts that are still too long by the next one."""
    trimmed = _trimmed(text, whole.start, whole.end)
    if trimmed is None:
        return
    start, end = trimmed
    is_heading = whole.is_heading
    if end - start <= max_chars:
        yield _Piece(start, end, is_heading)
        return
    if cuts:
        stops = [match.end() for match in cuts[0].finditer(text, start, end)]
    else:
        stops = list(range(start + max_chars, end, max_chars))
    for stop in (*stops, end):
        for piece in _pieces(text, _Piece(start, stop, is_heading), max_chars, cuts[1:]):
            yield piece
            is_heading = False
        start = stop
