"""The documents of a run: what of them is read, and which passages a question is answered from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from kando.recall import candidates, joined
from kando.text.portions import Placed, Portion, parts_of, placed_passages, within_budget
from kando.text.relevance import BM25, Ranked, most_relevant
from kando.world.graph import World, WorldObject
from kits.research._found import goal_of
from kits.research._types import SOURCE, Settings

__all__ = [
    "in_parts",
    "parts_at",
    "paths_in",
    "portion_of",
    "ranking_of",
    "relevant_sources",
    "unread_in",
]

DOCUMENT, SKIPPED = "Document", "SkippedDocument"

_PLACES_PER_DOCUMENT = 2


def paths_in(world: World) -> list[str]:
    """Return the paths of the input documents, in order."""
    paths = (each.data.get("path") for each in world.objects_of(DOCUMENT))
    return list(dict.fromkeys(path for path in paths if isinstance(path, str)))


def parts_at(path: Any, world: World) -> list[WorldObject]:
    """Return the parts of the document at a path that have text, in order."""
    found = (each for each in world.objects_of(DOCUMENT) if each.data.get("path") == path)
    return [each for each in found if isinstance(each.data.get("text"), str)]


def portion_of(parts: Sequence[Mapping[str, Any]], goal: str, settings: Settings) -> Portion:
    """Return the passages of a document that are read: all, or those that are relevant to the goal.

    Args:
        parts: data of the parts of the document.
        goal: text of the goal.
        settings: of the run.
    """
    found = [*_placed(parts)]
    chars, languages = settings.document_chars, settings.languages
    return within_budget(found, goal, chars, languages=languages)


def ranking_of(question: WorldObject, world: World) -> dict[str, Any] | None:
    """Return the arguments of ``rank_passages`` for the sources; None if the words alone decide."""
    settings, sources = world.settings(Settings), world.objects_of(SOURCE)
    if settings.recall == BM25 or len(sources) <= settings.depth:
        return None
    texts = [each.data["excerpt"] for each in sources]
    places = candidates(_about(question, world), texts, languages=settings.languages)
    # Questions about the same sources have the same text, which their store keeps once.
    text, spans = joined([texts[n] for n in places])
    asked = {"recall": settings.recall, "query": question.data["text"], "text": text}
    return {**asked, "names": [sources[n].id for n in places], "spans": spans}


def relevant_sources(
    question: WorldObject, world: World, order: Sequence[Any] = ()
) -> list[WorldObject]:
    """Return the sources that are most relevant to a question and its goal, in their order.

    So questions with the same sources have prompts that begin alike, which many servers cache. One
    document cannot crowd out the others: it gets two places, and more only if some remain.

    Args:
        question: of a goal.
        world: that holds the sources.
        order: as ``rank_passages`` has returned it, if it was called.
    """
    settings, sources = world.settings(Settings), world.objects_of(SOURCE)
    texts = [each.data["excerpt"] for each in sources]
    place_of = {each.id: index for index, each in enumerate(sources)}
    ranked = most_relevant(
        _about(question, world),
        texts,
        len(sources) or 1,
        languages=settings.languages,
        recall=Ranked([place_of[id] for id in order if id in place_of]) if order else None,
    )
    first: list[int] = []
    places: dict[str, int] = {}
    for index in ranked:
        path = sources[index].data["path"]
        places[path] = places.get(path, 0) + 1
        if places[path] <= _PLACES_PER_DOCUMENT:
            first.append(index)
    in_order = dict.fromkeys([*first, *ranked])
    chosen = set(islice(in_order, max(settings.depth, 1)))
    return [sources[index] for index in sorted(chosen)]


def _about(question: WorldObject, world: World) -> str:
    """Return the words that relevant sources contain."""
    goal = goal_of(question.id, world)
    return f"{question.data['text']} {goal.data['text'] if goal else ''}"


def in_parts(sources: Sequence[Mapping[str, Any]], settings: Settings) -> list[tuple[int, int]]:
    """Return the sources of a question in parts, as ranges; each overlaps the one before."""
    return parts_of([len(each["excerpt"]) for each in sources], settings.part_chars)


def unread_in(world: World, goal: str) -> Iterator[tuple[str, str]]:
    """Yield the path of each input that was not read as a whole, and why."""
    for each in world.objects_of(SKIPPED):
        yield str(each.data.get("path", "")), str(each.data.get("reason") or "not readable")
    settings = world.settings(Settings)
    for path in paths_in(world):
        parts = [each.data for each in parts_at(path, world)]
        for note in [str(note) for each in parts for note in each.get("notes") or ()]:
            yield path, note
        if sum(len(each["text"]) for each in parts) > settings.document_chars:
            portion = portion_of(parts, goal, settings)
            if portion.unread:
                yield path, _beyond(portion)


def _beyond(portion: Portion) -> str:
    return (
        f"{portion.unread:,} of {portion.chars:,} characters are beyond document_chars, and less "
        "relevant to the goal"
    )


def _placed(parts: Sequence[Mapping[str, Any]]) -> Iterator[Placed]:
    """Yield the passages of a document from its parts."""
    lines = 0
    for each in parts:
        text, number = each["text"], each.get("part", 1)
        yield from placed_passages(
            text,
            part=number if each.get("parts", 1) > 1 else 0,
            lines_before=lines,
            pages=each.get("pages") or (),
        )
        lines += text.count("\n")
