"""The text of a PDF, page by page."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from io import BytesIO

from pypdf import PdfReader
from pypdf.errors import DependencyError, FileNotDecryptedError

from kando.text._formats import Limits, Piece, Unreadable

__all__ = ["pdf_pages"]


def pdf_pages(data: bytes, limits: Limits, notes: list[str]) -> Iterator[Piece]:
    """Yield the pages of a PDF, separated by blank lines, and note those without text.

    Raises:
        Unreadable: it is encrypted or damaged.
    """
    # Messages of pypdf about a damaged file are for its developers.
    logging.getLogger("pypdf").addHandler(logging.NullHandler())
    warnings.simplefilter("ignore")
    try:
        reader = PdfReader(BytesIO(data))
        total = len(reader.pages)
    except (DependencyError, FileNotDecryptedError):
        raise Unreadable("encrypted PDF") from None
    except Exception as error:  # a damaged file raises nearly anything, RecursionError included
        if isinstance(error, MemoryError):
            raise
        raise Unreadable(f"damaged PDF ({type(error).__name__})") from None
    blank: list[int] = []
    damaged: list[int] = []
    try:
        for number in range(1, min(total, limits.pages) + 1):
            text = _text_of(reader, number, damaged)
            if not text.strip():
                blank.append(number)
            yield Piece("\n\n" * (number > 1) + text, f"page {number:,} of {total:,}")
    finally:
        if len(blank) + len(damaged) < total:
            notes += [f"no text on {pages_in(blank)}"] if blank else []
        if damaged:
            notes.append(f"damaged: {pages_in(damaged)}")
    if total > limits.pages:
        notes.append(f"cut after page {limits.pages:,} of {total:,}")


def _text_of(reader: PdfReader, number: int, damaged: list[int]) -> str:
    try:
        text = reader.pages[number - 1].extract_text()
    except (DependencyError, FileNotDecryptedError):
        raise Unreadable("encrypted PDF") from None
    except MemoryError:
        raise
    except Exception:
        damaged.append(number)
        return ""
    # Characters outside the basic plane may come as two surrogates.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def pages_in(numbers: list[int]) -> str:
    """Return page numbers as a reader writes them, such as ``pages 1, 3-5``."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    shown = [str(a) if a == b else f"{a}-{b}" for a, b in ranges[:20]]
    more = f" and {len(ranges) - 20} more" if len(ranges) > 20 else ""
    return f"page{'s' * (len(numbers) > 1)} {', '.join(shown)}{more}"
