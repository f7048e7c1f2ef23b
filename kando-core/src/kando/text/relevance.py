"""Rank texts by their relevance to a question, with a deterministic keyword score."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["most_relevant", "words_in"]

# Letters of every script stay together with their marks; white space and punctuation separate words.
_BETWEEN_WORDS = re.compile(r"[\s!-/:-@\[-`{-~“”‘’«»…–—।॥、。，？！：；]+")  # noqa: RUF001

_ENDINGS = ("ing", "ed", "es", "s")

_STOP_WORDS = frozenset(
    _BETWEEN_WORDS.split(
        "a about all also an and are as at be been but by can could did do does for from had has "
        "have how if in into is it its may more no not of on or our should so such than that the "
        "their then there these they this to was we were what when where whether which who why "
        "will with would you your"
    )
)

#: Keeps the scores integers, so that they are equal on every machine.
_SCALE = 1_000_000


def most_relevant(query: str, texts: Sequence[str], limit: int) -> list[int]:
    """Return the indexes of the texts that are most relevant to a query, best first.

    A text scores for each distinct word that it shares with the query, more for a word that few
    texts have. Of equal scores the earlier text comes first. If no text shares a word, the result is
    the first text.

    Args:
        query: words in any order.
        texts: to choose from.
        limit: how many to return at most, at least 1.
    """
    wanted = words_in(query)
    shared = [wanted & words_in(text) for text in texts]
    having = dict.fromkeys(wanted, 0)
    for words in shared:
        for word in words:
            having[word] += 1
    scores = [sum(_SCALE // having[word] for word in words) for words in shared]
    ranked = sorted(range(len(texts)), key=lambda index: -scores[index])
    return [index for index in ranked if scores[index]][:limit] or ranked[:1]


def words_in(text: str) -> set[str]:
    """Return the distinct significant words of a text, without their endings."""
    words = {word for word in _BETWEEN_WORDS.split(text.casefold()) if word}
    return {_stem(word) for word in words - _STOP_WORDS}


def _stem(word: str) -> str:
    """Return a word without its English ending: "claims" and "claimed" both become "claim"."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word.removesuffix(ending)
    return word
