"""Read a long document in portions: its most relevant passages, in parts that overlap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from kando.text.passages import passages
from kando.text.relevance import Recall, most_relevant

__all__ = ["Placed", "Portion", "parts_of", "placed_passages", "within_budget"]

_PASSAGE_CHARS = 1200


@attrs.frozen
class Placed:
    """A passage and its place in a document.

    Attributes:
        start: offset of its first character in its part of the document.
        end: offset after its last character.
        excerpt: its text.
        part: number of the part of a long document, from 1; 0 if the document is not split.
        line: number of its first line in the whole document, from 1.
        page: number of its page, from 1; 0 if the document has no pages.
    """

    start: int
    end: int
    excerpt: str
    part: int = 0
    line: int = 1
    page: int = 0


@attrs.frozen
class Portion:
    """The passages of a document that are read.

    Attributes:
        passages: in the order of the document.
        chars: length of all its passages, in characters.
        unread: length of the passages that are left out.
    """

    passages: list[Placed]
    chars: int
    unread: int


def placed_passages(
    text: str,
    *,
    part: int = 0,
    lines_before: int = 0,
    pages: Sequence[Sequence[int]] = (),
    max_chars: int = _PASSAGE_CHARS,
) -> Iterator[Placed]:
    """Yield the passages of a text with their places; none of them extends over two pages.

    Args:
        text: of a document, or of a part of one.
        part: number of the part.
        lines_before: number of lines of the document before this part.
        pages: offset and number of each page in the text, in order.
        max_chars: length of the longest passage, in characters.
    """
    line, at = lines_before + 1, 0
    begins = [(start, page) for start, page in pages] or [(0, 0)]
    ends = [*(start for start, _ in begins[1:]), len(text)]
    for (begin, page), end in zip(begins, ends, strict=True):
        for each in passages(text[begin:end], max_chars):
            start = begin + each.start
            line += text.count("\n", at, start)
            at = start
            yield Placed(start, begin + each.end, each.text, part, line, page)


def within_budget(
    found: Sequence[Placed],
    about: str,
    chars: int,
    *,
    languages: Sequence[str] = (),
    recall: Recall | None = None,
) -> Portion:
    """Return the passages of a document to read: all, or the most relevant within a budget.

    If the words match few passages, the beginning of the document fills the budget.

    Args:
        found: the passages of the document.
        about: words that relevant passages contain.
        chars: the budget, in characters; at least one passage is read.
        languages: as for `kando.text.relevance.most_relevant`.
        recall: as for `kando.text.relevance.most_relevant`.
    """
    sizes = [len(each.excerpt) for each in found]
    total = left = sum(sizes)
    if total <= chars:
        return Portion([*found], total, 0)
    texts = [each.excerpt for each in found]
    ranked = most_relevant(about, texts, len(texts), languages=languages, recall=recall)
    chosen: set[int] = set()
    for index in dict.fromkeys([*ranked, *range(len(found))]):
        if not chosen or sizes[index] <= chars:
            chosen.add(index)
            chars -= sizes[index]
            left -= sizes[index]
    return Portion([found[n] for n in sorted(chosen)], total, left)


def parts_of(sizes: Sequence[int], chars: int) -> list[tuple[int, int]]:
    """Return passages in parts, as ranges: each part begins with the last passage of the one before.

    Args:
        sizes: lengths of the passages, in characters.
        chars: length of the longest part; a part has at least two passages, if there are two.
    """
    parts, start, size = [], 0, 0
    for index, each in enumerate(sizes):
        if size + each > chars and index - start > 1:
            parts.append((start, index))
            start, size = index - 1, sizes[index - 1]
        size += each
    return [*parts, (start, len(sizes))]
