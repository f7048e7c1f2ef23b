"""The tools of the kit: they return the passages of a document or a web page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from kando.responders.policies import Ask
from kando.schema.events import KandoEvent as Event
from kando.text.portions import Placed, placed_passages, within_budget
from kando.world.graph import World
from kits.diligence._types import READING, Claim, Settings, kit

__all__ = ["paths_in"]

_DOCUMENT = "Document"


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
    parts = [each.data for each in world.objects_of(_DOCUMENT) if each.data.get("path") == path]
    if not parts:
        msg = f"The run has no document {path!r}."
        raise LookupError(msg)
    sha256 = str(parts[0].get("sha256", ""))
    return {"path": path, "sha256": sha256, **_portion(_placed(parts), about, settings)}


@kit.tool("fetch_url", timeout=30.0, max_parallel=4, effect="read")
def fetch_url(settings: Settings, url: str, about: str) -> dict[str, Any]:
    """Return the passages of a public web page, in order; of a long one, the relevant ones.

    Args:
        settings: of the run.
        url: ``http`` or ``https`` URL of the page.
        about: words that relevant passages contain.

    Raises:
        FetchRefused: the page must not be fetched, or is too large, too slow or not text.
    """
    # Not at the top: the modules of HTTP and TLS are slow to import, and few runs fetch a page.
    from kits.diligence._fetch import fetch

    page = fetch(url)
    read = {"path": url, "sha256": page.sha256}
    read |= _portion(placed_passages(page.text), about, settings)
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


def _portion(found: Iterator[Placed], about: str, settings: Settings) -> dict[str, Any]:
    """Return the passages to read of a source, as a tool returns them."""
    languages = settings.languages
    portion = within_budget([*found], about, settings.document_chars, languages=languages)
    return attrs.asdict(portion)
