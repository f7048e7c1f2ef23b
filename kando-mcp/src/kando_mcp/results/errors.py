"""What an error says to a model: what happened, to what, and which tool call mends it."""

from __future__ import annotations

import difflib
import re
from itertools import islice

from kando.app.demo import DEMO_ID
from kando.app.store import Store
from kando.errors import EventNotFound, KandoError, LedgerNotFound
from kando.plugins.errors import UnknownPlugin
from kando_mcp.results.paging import clip

__all__ = ["explained", "no_such_event"]

#: Longest text of an error, in characters.
MAX_ERROR_CHARS = 4_000

_LOOKED_AT = 2_000
_SHOWN = 3

# What a hint for a terminal calls a thing, and what the tools call it.
_WORDS = {
    r"`kando runs` lists them\.": "list_runs lists them.",
    r"`kando events [^`]*`": "explain_trace or the events resource of the run",
    r"`kando plugins`": "list_kits",
    r"(?:Give )?--at N, or RUN@N": "Give fork_at",
    r"`kando status [^`]*`": "get_run",
    r"`kando approvals [^`]*`": "get_run",
    r"Start a run with: kando run KIT --goal TEXT": "start_run starts one that can be worked on.",
    r"without --demo, with --goal and --input": "without demo, with a goal",
    r"Name one with --kit\.": "A person names one: `kando resume RUN --kit KIT`.",
    r"--llm(?= |,)": "llm",
}


def explained(app: Store, error: KandoError) -> str:
    """Return the text of an error, with the nearest valid ids where it is about an id.

    Args:
        app: where it happened.
        error: what happened.
    """
    hint, message = error.hint or "", error.message
    if isinstance(error, LedgerNotFound) and "demo run" not in message:
        named = re.search(r"'(.*)'", message)
        hint = f"{_nearest_runs(app, named.group(1) if named else '')}list_runs lists them all."
    elif isinstance(error, UnknownPlugin):
        hint = f"{hint} list_kits lists kits and providers."
    for terminal, tool in _WORDS.items():
        hint, message = re.sub(terminal, tool, hint), re.sub(terminal, tool, message)
    return clip(f"{message} {hint}".strip(), MAX_ERROR_CHARS)


def no_such_event(app: Store, run: str, id: str) -> EventNotFound:
    """Return the error for an id that no event, object or relation of a run has."""
    named, end = app.run_at(run)
    known: dict[str, None] = {}
    for event in islice(named.events(at=end), _LOOKED_AT):
        known[event.id] = None
        if isinstance(event.data.get("id"), str):
            known[event.data["id"]] = None
    near = difflib.get_close_matches(id[:200], known, _SHOWN, 0.3) or list(known)[:_SHOWN]
    msg = f"{named.source} has no event, object or relation {clip(id, 200)!r}."
    return EventNotFound(msg, hint=f"The nearest are {', '.join(near)}." if near else None)


def _nearest_runs(app: Store, name: str) -> str:
    known = [info.id for info in islice(app.context.substrate().ledgers(), _LOOKED_AT)]
    near = difflib.get_close_matches(name[:200], [*known, DEMO_ID], _SHOWN, 0.3)
    near = near or known[:_SHOWN]
    return f"The nearest ids are {', '.join(near)}. " if near else "There are no runs yet. "
