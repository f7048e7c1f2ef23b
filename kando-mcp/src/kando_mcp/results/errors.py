"""Error messages for models: what happened, to what, and which tool call resolves it."""

from __future__ import annotations

import difflib
import re
from itertools import islice

from kando.app.demo import DEMO_ID
from kando.app.store import Store
from kando.errors import EventNotFound, KandoError, LedgerNotFound
from kando.plugins.errors import UnknownPlugin
from kando_mcp.results.paging import truncate, without_surrogates

__all__ = ["error_text", "event_not_found"]

#: Maximum length of an error message, in characters.
_MAX_CHARS = 4_000

_MAX_CANDIDATES = 2_000
_SHOWN = 3

# Hints for the command line, and their equivalents for tools.
_REPLACEMENTS = {
    r"`kando runs`": "list_runs",
    r"`kando workspace[^`]*`": "list_workspace",
    r"`kando events[^`]*`": "explain_trace or the events resource of the run",
    r"`kando (?:status|approvals)[^`]*`": "get_run",
    r"`kando run KIT --goal TEXT`": "start_run",
    r"`kando cancel ([^`]*)`": r"cancel_run(run_id=\1)",
    r"`kando branches [^`]*` shows": "parent_id in list_runs shows",
    # The command deletes what a client may not.
    r"`kando delete ([^`]*)` deletes": r"delete_run(run_id=\1) deletes",
    r"`kando resume BRANCH --llm [^`]*`": "give it to resume_run",
    r"\w+ one with --kit\.": "A person must resume it: `kando resume RUN --kit KIT`.",
    r"(?:either )?--at N(?:,| or) --before EVENT(?:, or RUN@N)?": "fork_at or before",
    r"--goal and --input": "a goal",
    r"--(demo|goal|llm)\b": r"\1",
}


def error_text(store: Store, error: KandoError) -> str:
    """Return the message of an error, with the nearest valid ids if it is about an id.

    Args:
        store: the store that raised the error.
        error: the error.
    """
    hint, message = error.hint or "", error.message
    if isinstance(error, LedgerNotFound) and "demo run" not in message:
        named = re.search(r"'(.*)'", message)
        hint = f"{_nearest_runs(store, named.group(1) if named else '')}list_runs lists them all."
    elif isinstance(error, UnknownPlugin):
        hint = f"{hint} list_kits lists kits and providers."
    for terminal, tool in _REPLACEMENTS.items():
        hint, message = re.sub(terminal, tool, hint), re.sub(terminal, tool, message)
    return without_surrogates(truncate(f"{message} {hint}".strip(), _MAX_CHARS))


def event_not_found(store: Store, run: str, id: str) -> EventNotFound:
    """Return the error for an unknown event, object or relation, with the nearest valid ids."""
    named, end = store.run_at(run)
    known: dict[str, None] = {}
    for event in islice(named.events(at=end), _MAX_CANDIDATES):
        known[event.id] = None
        if isinstance(event.data.get("id"), str):
            known[event.data["id"]] = None
    near = difflib.get_close_matches(id[:200], known, _SHOWN, 0.3) or list(known)[:_SHOWN]
    msg = f"{named.source} has no event, object or relation {truncate(id, 200)!r}."
    return EventNotFound(msg, hint=f"The nearest are {', '.join(near)}." if near else None)


def _nearest_runs(store: Store, name: str) -> str:
    known = [info.id for info in islice(store.context.substrate().ledgers(), _MAX_CANDIDATES)]
    near = difflib.get_close_matches(name[:200], [*known, DEMO_ID], _SHOWN, 0.3)
    near = near or known[:_SHOWN]
    return f"The nearest ids are {', '.join(near)}. " if near else "The substrate has no runs yet. "
