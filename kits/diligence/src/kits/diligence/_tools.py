"""The tools of the kit: they return the passages of a document or a web page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from kando.recall import candidates, joined, open_recall, rank_passages
from kando.responders.policies import Ask
from kando.schema.events import KandoEvent as Event
from kando.text.documents import MAX_PART_CHARS
from kando.text.portions import Placed, placed_passages, within_budget
from kando.text.relevance import BM25, Ranked, Recall
from kando.world.graph import World
from kits.diligence._types import READING, Claim, Settings, kit

__all__ = ["call_that_reads", "paths_in", "ranked_document"]

_DOCUMENT = "Document"

kit.tool("rank_passages", timeout=600.0, effect="read")(rank_passages)


@kit.tool("read_document", effect="read")
def read_document(world: World, settings: Settings, path: str, about: str) -> dict[str, Any]:
    """Return the passages of an input document, in document order; of a long one, the relevant ones.

    Args:
        world: the world that holds the documents.
        settings: of the run.
        path: path of the document.
        about: words that relevant passages contain.

    Raises:
        LookupError: the run has no such document.
    """
    parts = _parts_of(path, world)
    if not parts:
        msg = f"The run has no document {path!r}."
        raise LookupError(msg)
    return _read(path, parts, about, settings)


def call_that_reads(source: str, about: str, world: World) -> tuple[str, dict[str, Any]]:
    """Return the tool that reads a source, and its arguments.

    Args:
        source: path of a document, or URL of a web page.
        about: words that relevant passages contain.
        world: that holds the documents.
    """
    recall, parts = world.settings(Settings).recall, _parts_of(source, world)
    if not parts:
        chosen = {} if recall == BM25 else {"recall": recall}
        return "fetch_url", {"url": source, "about": about, **chosen}
    ranking = None if recall == BM25 else _ranking(parts, about, world.settings(Settings))
    if ranking is not None:
        return "rank_passages", ranking
    return "read_document", {"path": source, "about": about}


def _ranking(
    parts: Sequence[Mapping[str, Any]], about: str, settings: Settings
) -> dict[str, Any] | None:
    """Return the arguments of ``rank_passages`` for a document; None if it is read as a whole."""
    found = [*_placed(parts)]
    if sum(len(each.excerpt) for each in found) <= settings.document_chars:
        return None
    texts = [each.excerpt for each in found]
    places = candidates(about, texts, languages=settings.languages)
    ranked = [found[n] for n in places]
    if len(parts) == 1 and len(parts[0]["text"]) <= MAX_PART_CHARS:
        # The text of the document, which its store does not keep twice.
        text, spans = parts[0]["text"], [[each.start, each.end] for each in ranked]
    else:
        text, spans = joined([texts[n] for n in places])
    asked = {"recall": settings.recall, "query": about, "text": text}
    return {**asked, "names": [*map(str, places)], "spans": spans}


def ranked_document(path: str, about: str, order: Sequence[Any], world: World) -> dict[str, Any]:
    """Return what `read_document` does, by the order that ``rank_passages`` has returned.

    Args:
        path: path of the document.
        about: words that relevant passages contain.
        order: as it was returned.
        world: that holds the documents.
    """
    places = [int(each) for each in order if isinstance(each, str) and each.isdecimal()]
    return _read(path, _parts_of(path, world), about, world.settings(Settings), Ranked(places))


@kit.tool("fetch_url", timeout=30.0, max_parallel=4, effect="read")
def fetch_url(settings: Settings, url: str, about: str, recall: str = BM25) -> dict[str, Any]:
    """Return the passages of a public web page, in order; of a long one, the relevant ones.

    Args:
        settings: of the run.
        url: ``http`` or ``https`` URL of the page.
        about: words that relevant passages contain.
        recall: as in the settings.

    Raises:
        FetchRefused: the page must not be fetched, or is too large, too slow or not text.
    """
    # Not at the top: the modules of HTTP and TLS are slow to import, and few runs fetch a page.
    from kits.diligence._fetch import fetch

    page = fetch(url)
    read = {"path": url, "sha256": page.sha256}
    measure = None if recall == BM25 else open_recall(recall)
    read |= _portion(placed_passages(page.text), about, settings, measure)
    return read | ({"notes": page.notes} if page.notes else {})


@kit.policy
def on_fetch(intent: Event, world: World) -> Ask | None:
    """Have a person decide about each web page beyond the limit of the settings."""
    if intent.data["tool"] != "fetch_url":
        return None
    limit, paths = world.settings(Settings).fetch_limit, set(paths_in(world))
    claims = ((id, world.objects[id].data) for id in world.ids(Claim))
    pages = [id for id, c in claims if c["kind"] == READING and c["source"] not in paths]
    if intent.data.get("cause_object_id") in pages[:limit]:
        return None
    return Ask(f"It fetches more than {limit} web pages.")


def paths_in(world: World) -> list[str]:
    """Return the paths of the documents of a run."""
    paths = (each.data.get("path") for each in world.objects_of(_DOCUMENT))
    return list(dict.fromkeys(path for path in paths if isinstance(path, str)))


def _parts_of(path: str, world: World) -> list[Mapping[str, Any]]:
    return [each.data for each in world.objects_of(_DOCUMENT) if each.data.get("path") == path]


def _placed(parts: Sequence[Mapping[str, Any]]) -> Iterator[Placed]:
    """Yield the passages of a document from its parts."""
    lines = 0
    for each in parts:
        text, number = str(each.get("text", "")), each.get("part", 1)
        yield from placed_passages(
            text,
            part=number if each.get("parts", 1) > 1 else 0,
            lines_before=lines,
            pages=each.get("pages") or (),
        )
        lines += text.count("\n")


def _read(
    path: str,
    parts: Sequence[Mapping[str, Any]],
    about: str,
    settings: Settings,
    recall: Recall | None = None,
) -> dict[str, Any]:
    sha256 = str(parts[0].get("sha256", "")) if parts else ""
    return {"path": path, "sha256": sha256, **_portion(_placed(parts), about, settings, recall)}


def _portion(
    found: Iterator[Placed], about: str, settings: Settings, recall: Recall | None = None
) -> dict[str, Any]:
    """Return the passages to read of a source, as a tool returns them."""
    languages = settings.languages
    portion = within_budget(
        [*found], about, settings.document_chars, languages=languages, recall=recall
    )
    return attrs.asdict(portion)
