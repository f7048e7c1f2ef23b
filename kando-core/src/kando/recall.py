"""Open recalls by name, and rank the passages of documents by one: for the tools of kits.

A recall computes outside the run, with a model that another machine may lack. So a kit asks for an
order with a tool call: the ledger holds the order, and replay needs no recall.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from kando.text.relevance import Recall, most_relevant

__all__ = ["candidates", "joined", "open_recall", "rank_passages"]


# The limits of one call: its event has at most 1 MiB, and a vector takes tenths of a second.
_MAX_CHARS = 200_000
_MAX_PASSAGES = 2_000


def open_recall(named: str, environ: Mapping[str, str] | None = None) -> Recall:
    """Return an installed recall.

    Args:
        named: its name, or ``distribution/name``.
        environ: keys and settings; those of the process if None.

    Raises:
        UnknownPlugin: no installed plugin offers the recall.
        PluginBroken: it cannot be imported, or its target does not return a `Recall`.
        KandoError: the recall cannot be opened.
    """
    # Not at the top: the tools of a kit are declared in every process that imports the kit.
    from kando.app.builtin import installed_plugins
    from kando.plugins import PluginBroken

    settings = os.environ if environ is None else environ
    plugins = installed_plugins(settings)
    offered = plugins.recall(named)
    opener = plugins.resolve(offered)
    recall = opener(settings) if callable(opener) else opener
    if not isinstance(recall, Recall):
        msg = f"Recall {named!r} of {offered.origin} returned a {type(recall).__name__}."
        hint = "Let the target of its RecallSpec return a kando.text.relevance.Recall."
        raise PluginBroken(msg, hint=hint)
    return recall


def rank_passages(
    recall: str, query: str, text: str, names: list[str], spans: list[list[int]]
) -> list[str]:
    """Return the names of passages in the order of an installed recall, best first.

    A kit offers it as a tool: ``kit.tool("rank_passages", effect="read")(rank_passages)``. A long
    text in the arguments is stored once, however many calls and documents hold it.

    Args:
        recall: name of the recall.
        query: words in any order.
        text: that holds the passages.
        names: of the passages.
        spans: offset of the first character of each passage, and the offset after its last.
    """
    texts = [text[start:end] for start, end in spans]
    return [names[index] for index in ranked_by(recall, query, texts)]


def candidates(query: str, texts: Sequence[str], *, languages: Sequence[str] = ()) -> list[int]:
    """Return the indexes of the texts that one call ranks, in order.

    These are all, or the most relevant by their words: at most 2,000 with 200,000 characters.

    Args:
        query: words in any order.
        texts: to choose from.
        languages: as for `kando.text.relevance.most_relevant`.
    """
    if len(texts) <= _MAX_PASSAGES and sum(map(len, texts)) <= _MAX_CHARS:
        return [*range(len(texts))]
    ranked = most_relevant(query, texts, len(texts), languages=languages)
    chosen: list[int] = []
    left = _MAX_CHARS
    for index in dict.fromkeys([*ranked, *range(len(texts))]):
        if len(texts[index]) <= left and len(chosen) < _MAX_PASSAGES:
            chosen.append(index)
            left -= len(texts[index])
    return sorted(chosen)


def joined(texts: Sequence[str]) -> tuple[str, list[list[int]]]:
    """Return one text that holds these texts, and the span of each, as `rank_passages` takes them."""
    spans, end = [], 0
    for each in texts:
        spans.append([end, end + len(each)])
        end += len(each) + 1
    return "\n".join(texts), spans


def ranked_by(named: str, query: str, texts: Sequence[str]) -> list[int]:
    """Return the indexes of texts in the order of an installed recall.

    Raises:
        PluginBroken: the recall returns an index that no text has, or one twice.
        Exception: the error of the recall.
    """
    found = [int(index) for index in open_recall(named).rank(query, texts)]
    if len({*found}) < len(found) or not {*found} <= {*range(len(texts))}:
        from kando.plugins import PluginBroken

        msg = (
            f"Recall {named!r} returned indexes that {len(texts)} texts do not have, or one twice."
        )
        raise PluginBroken(msg, hint="Report this to its authors.")
    return found
