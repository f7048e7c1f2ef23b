"""Rank texts by their relevance to a question: BM25 over stemmed words, or a plugin's vectors.

BM25 is that of SQLite's FTS5, which Python brings: packages for it need numpy, which takes longer to
import than most runs take to rank. Words are stemmed by Snowball in the language of their text.
"""

from __future__ import annotations

import re
import sqlite3
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from functools import lru_cache
from itertools import chain, zip_longest

__all__ = ["BM25", "Ranked", "Recall", "holder_of", "languages_of", "most_relevant", "words_in"]

# Letters of every script stay together with their marks; white space and punctuation separate words.
_BETWEEN_WORDS = re.compile(r"[\s!-/:-@\[-`{-~“”‘’«»…–—।॥、。，？！：；]+")  # noqa: RUF001

# Scripts that put no space between words: Chinese, Japanese, Thai, Lao, Khmer, Burmese.
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]{2,}")

#: The most frequent words of a language, by which it is recognized and which no query is about.
_FREQUENT = {
    "english": "a about all also an and are as at be been but by can could did do does for from had "
    "has have how if in into is it its may more no not of on or our should so such than that the "
    "their then there these they this to was we were what when where whether which who why will "
    "with would you your",
    "german": "als am auch auf aus bei das dem den der des die durch ein eine einen einer es für hat "
    "ich im ist mit nach nicht noch oder seit sich sie sind über um und von war wer was wie wird "
    "wurde zu zum zur",
    "french": "au aux avec ce cette dans de des du elle en est et il la le les leur mais ne nous ou "
    "par pas plus pour qu que qui sa se ses son sont sur un une était",
    "spanish": "al como con de del el ella en entre era es esta este fue ha la las lo los más no o "
    "para pero por que se ser sin sobre su sus un una y ya",
    "italian": "al alla anche che come con da dal dei del della delle di è e gli ha i il in la le lo "
    "ma nel nella non per più sono su un una",
    "portuguese": "ao as até com como da das de do dos e em entre era foi há mais mas na não nas no "
    "nos o os ou para pela pelo por que se sem ser sua um uma",
    "dutch": "aan als bij dat de die dit door een en er het hij in is maar met naar niet of om ook "
    "op te tot uit van voor was wat werd wordt ze zijn",
    "swedish": "att av den det där en ett för från har i inte med men och om på på som till var vi är",
    "danish": "af at de den der det en er et for fra har i ikke med men og om på som til var",
    "norwegian": "av at de den det en er et for fra har i ikke med men og om på som til var være",
    "finnish": "ei että hän ja joka kun mutta myös niin oli on ovat se sekä tai",
    "polish": "a ale co czy dla do i jak jest na nie o od po się są to w z za że",
    "russian": "а в во и из к как на не но о он она от по с что это был была для же",  # noqa: RUF001
    "turkish": "bir bu da de en ile için ne olan olarak ve",
}
_STOP_WORDS = {language: frozenset(words.split()) for language, words in _FREQUENT.items()}
_DEFAULT = "english"
# The least number of significant words of a statement, and the share of them that a text has to hold.
_LEAST_WORDS = 3
_LEAST_SHARE = 0.6
# How much of a text is looked at to recognize its language, in words.
_SAMPLE = 500


#: The name of the measure by words alone, which needs no plugin.
BM25 = "bm25"


class Recall(ABC):
    """Ranks texts by another measure than words: the interface for vectors."""

    @abstractmethod
    def rank(self, query: str, texts: Sequence[str]) -> list[int]:
        """Return the indexes of texts, best first; texts that do not fit may be left out."""


class Ranked(Recall):
    """An order that is known: that of a recorded call.

    Args:
        order: indexes of the texts, best first; those that no text has are left out.
    """

    def __init__(self, order: Sequence[int]) -> None:
        self._order = order

    def rank(self, query: str, texts: Sequence[str]) -> list[int]:
        """Return the order."""
        return [index for index in self._order if index in range(len(texts))]


def most_relevant(
    query: str,
    texts: Sequence[str],
    limit: int,
    *,
    languages: Sequence[str] = (),
    recall: Recall | None = None,
) -> list[int]:
    """Return the indexes of the texts that are most relevant to a query, best first.

    A text scores for the words that it shares with the query, more for one that few texts have. Of
    equal scores the earlier text comes first. If no text shares a word, the result is the first text.

    Args:
        query: words in any order.
        texts: to choose from.
        limit: how many to return at most, at least 1.
        languages: of the texts, as in `languages_of`; found for each text if omitted.
        recall: ranks by another measure, too: the two orders alternate.
    """
    if not texts:
        return []
    ranked = _by_words(query, texts, languages)
    if recall is not None:
        pairs = zip_longest(ranked, recall.rank(query, texts))
        ranked = [*dict.fromkeys(each for each in chain.from_iterable(pairs) if each is not None)]
    return ranked[:limit] or [0]


def _by_words(query: str, texts: Sequence[str], languages: Sequence[str]) -> list[int]:
    known = [_language(text, languages) for text in texts]
    words = [_stems(text, language) for text, language in zip(texts, known, strict=True)]
    wanted = {word for language in dict.fromkeys(known) for word in _stems(query, language)}
    # FTS5 gets numbers in place of words, so that it splits and folds none of them.
    numbers = {word: f"w{n}" for n, word in enumerate(sorted(wanted))}
    if not numbers:
        return []
    with closing(sqlite3.connect(":memory:")) as index:
        index.execute("CREATE VIRTUAL TABLE texts USING fts5(words, tokenize = 'ascii')")
        rows = (
            (n, " ".join(numbers.get(each, "other") for each in found))
            for n, found in enumerate(words)
        )
        index.executemany("INSERT INTO texts (rowid, words) VALUES (?, ?)", rows)
        found = index.execute(
            "SELECT rowid FROM texts WHERE texts MATCH ? ORDER BY round(bm25(texts), 9), rowid",
            (" OR ".join(numbers.values()),),
        )
        return [row[0] for row in found]


def words_in(text: str, languages: Sequence[str] = ()) -> set[str]:
    """Return the distinct significant words of a text, as their stems.

    Args:
        text: of one language.
        languages: that it may have, as in `languages_of`; any if omitted.
    """
    return set(_stems(text, _language(text, languages)))


def holder_of(statement: str, texts: Sequence[str], *, languages: Sequence[str] = ()) -> int | None:
    """Return the index of the text that holds the words of a statement; None if none does.

    A text holds them if it has most of its significant words, and all of its figures. Of several,
    the one with the most words is returned, and of those the first. A statement with fewer than three
    significant words has no holder: such words may stand anywhere.

    Args:
        statement: in one sentence.
        texts: to choose from.
        languages: of the texts, as in `languages_of`; found for each text if omitted.
    """
    found = None
    most = 0.0
    for index, text in enumerate(texts):
        language = _language(text, languages)
        wanted, held = set(_stems(statement, language)), set(_stems(text, language))
        if len(wanted) < _LEAST_WORDS or any(w.isdigit() and w not in held for w in wanted):
            continue
        share = len(wanted & held) / len(wanted)
        if share >= _LEAST_SHARE and share > most:
            found, most = index, share
    return found


def languages_of(texts: Iterable[str]) -> list[str]:
    """Return the languages of texts, such as ``german``, the most frequent first.

    A text in another language than those that Kando recognizes counts as English.
    """
    return [language for language, _ in Counter(map(_language, texts)).most_common()]


def _language(text: str, among: Sequence[str] = ()) -> str:
    """Return the language whose frequent words make up most of the beginning of a text."""
    names = [each for each in among if each in _STOP_WORDS] or [*_STOP_WORDS]
    if len(names) == 1:
        return names[0]
    words = _split(text)[:_SAMPLE]
    counts = {each: sum(word in _STOP_WORDS[each] for word in words) for each in names}
    best = max(names, key=lambda each: counts[each])
    return best if counts[best] else (_DEFAULT if _DEFAULT in names else names[0])


def _split(text: str) -> list[str]:
    return [word for word in _BETWEEN_WORDS.split(text.casefold()) if word]


def _stems(text: str, language: str) -> list[str]:
    """Return the stems of the significant words of a text, in order."""
    found: list[str] = []
    for word in _split(text):
        if word in _STOP_WORDS[language]:
            continue
        run = _UNSPACED.search(word)
        if run is not None:
            found += [run[0][n : n + 2] for n in range(len(run[0]) - 1)]
        else:
            found.append(_stem(word, language))
    return found


@lru_cache(maxsize=65_536)
def _stem(word: str, language: str) -> str:
    if word.isdigit():
        return word
    # Not at the top: it imports a module for each of its languages.
    import snowballstemmer

    stem: str = snowballstemmer.stemmer(language).stemWord(word)
    return stem
