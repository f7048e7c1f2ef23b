"""A recall for tests, installed as a plugin: the share of trigrams of letters that two texts share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plugin_installation import Installation

_PLUGIN = """
    from kando.plugins import RecallSpec, hookimpl

    @hookimpl
    def kando_recalls():
        return [RecallSpec("trigrams", "trigram_recall:open_trigrams", "Trigrams of letters.")]
"""

_RECALL = """
    from kando.text.relevance import Recall


    def open_trigrams(environ):
        return Trigrams()


    class Trigrams(Recall):
        def rank(self, query, texts):
            wanted = trigrams(query)
            shares = [len(wanted & found) / (len(found) or 1) for found in map(trigrams, texts)]
            return sorted(range(len(texts)), key=lambda index: (-shares[index], index))


    def trigrams(text):
        letters = "".join(each for each in text.casefold() if each.isalpha())
        return {letters[n : n + 3] for n in range(len(letters) - 2)}
"""


@contextmanager
def trigrams_installed(folder: Path, source: str = _RECALL) -> Iterator[Installation]:
    """Install the recall ``trigrams`` into a folder; it is gone after the block.

    Args:
        folder: for its files.
        source: of the module with ``open_trigrams(environ)``.
    """
    with pytest.MonkeyPatch.context() as patched:
        installed = Installation(folder, patched)
        installed.add("kando-trigrams", _PLUGIN, modules={"trigram_recall": source})
        try:
            yield installed
        finally:
            for module in installed.modules:
                sys.modules.pop(module, None)
