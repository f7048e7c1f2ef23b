"""Runs for tests of the page: one of any length, and one in which every text is hostile.

``python tests/helpers/large_runs.py sqlite:PATH 100000`` adds a run of that many events to a store.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from kando.app.store import Store, open_store
from kando.kit import Kit
from kando.schema.events import KandoEvent, make_event

__all__ = ["HOSTILE", "MARKER", "add_hostile_run", "add_large_run"]

_BATCH = 5000

#: Set on ``window`` by every script of a hostile run that runs.
MARKER = "__ledger_script_ran"

_RUN = f"window.{MARKER}=1"

#: Texts that act if they are taken as markup, script, address, style or part of a file.
HOSTILE = (
    f"<script>{_RUN}</script><img src=x onerror='{_RUN}'>",
    f"</script></style></textarea></title><svg onload='{_RUN}'><!--<script>",
    f"javascript:{_RUN}",
    "https://example.invalid/request.png",
    f"[link](javascript:{_RUN}) ![image](https://example.invalid/image.png) <https://example.invalid>",
    "&lt;b&gt; &#x3c;script&#x3e; \\u003cscript\\u003e ${1} {{7*7}} %3Cscript%3E",
    "right \u202e left \u2066 isolated \u2069 zero\u200bwidth \ufeff \u2028 \u2029 \x00 \x1b[31m \ud7ff",
    "'\"`;}*/ @import url(https://example.invalid/style.css); body{display:none}",
)


def add_large_run(store: Store, events: int) -> str:
    """Add a run with one object for ten events; return its id, ``large-`` and the number.

    Args:
        store: that receives it.
        events: number of its events.
    """
    run_id = f"large-{events}"
    _append(store, run_id, islice(_steps(f"run:{run_id}"), events))
    # Its kit has nothing to do: the run gets the snapshot that a run has in the end.
    store.run(run_id).resume(kit=Kit("load", version="1"))
    return run_id


def _append(store: Store, run_id: str, events: Iterator[KandoEvent]) -> None:
    ledger = store.context.substrate(read_only=False).create(run_id)
    while batch := list(islice(events, _BATCH)):
        ledger.append(batch)


class _Writer:
    """Makes the events of a run, with ids, causes and times that follow each other."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.length = 0
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def event(
        self, type: str, actor: str, data: dict[str, Any], *cause: str, seconds: float = 0.02
    ) -> KandoEvent:
        """Return the next event, so many seconds after the last one."""
        self.at += timedelta(seconds=seconds)
        made = make_event(type, self.source, actor, [*cause], data)
        id = f"{type}-{self.length}"
        self.length += 1
        return KandoEvent(id, made.type, made.source, made.actor, made.cause, self.at, made.data)


def _steps(source: str) -> Iterator[KandoEvent]:
    """Yield events for ever: for each claim, what finds it, asks about it, and links it."""
    new = _Writer(source).event
    yield new("kit.loaded", "kit:load", {"name": "load", "version": "1"})
    goal = {"id": "goal", "type": "Goal", "data": {"text": "Read a library"}}
    last = new("object.created", "cli", goal)
    yield last
    n = 0
    while True:
        call = new(
            "tool.called", "load.reader", {"tool": "read", "arguments": {"page": n}}, last.id
        )
        yield call
        page = {"result": {"text": f"Page {n} says that {n} is a number."}}
        found = new("tool.returned", "executor", page, call.id, seconds=0.4)
        yield found
        id = f"claim-{n}"
        data = {"statement": f"Claim {n} of the library", "status": "pending", "score": n % 10 / 10}
        claim = new(
            "object.created", "load.reader", {"id": id, "type": "Claim", "data": data}, found.id
        )
        yield claim
        relation = {"id": f"about-{n}", "type": "about", "source_id": id, "target_id": "goal"}
        yield new("relation.created", "load.reader", relation, claim.id)
        messages = [{"role": "user", "content": f"Is claim {n} true?"}]
        asked = {"messages": messages, "model": "default", "max_tokens": 100}
        request = new("llm.request", "load.judge", asked | {"cause_object_id": id}, claim.id)
        yield request
        answer = {"text": f"Claim {n} holds.", "model": "parrot", "cost_usd": 0.0001}
        said = new(
            "llm.response", "executor", answer | {"cause_object_id": id}, request.id, seconds=1.5
        )
        yield said
        yield new("object.patched", "load.judge", {"id": id, "patch": {"status": "done"}}, said.id)
        for number in range(3):
            note = {"claim": id, "number": number}
            last = new("load.noted", "load.notes", note, said.id)
            yield last
        n += 1
        # A pause every thousand claims, as of a run that waited for a person.
        if n % 1000 == 0:
            last = new("load.noted", "load.notes", {"pause": n}, last.id, seconds=7200)
            yield last


def add_hostile_run(store: Store, *, long: int = 5_000_000) -> str:
    """Add a run with a hostile text in each field of each type of event; return its id.

    Args:
        store: that receives it.
        long: number of characters of its long texts.
    """
    _append(store, "hostile", iter([*_hostile_events("run:hostile", long)]))
    return "hostile"


def _hostile_events(source: str, long: int) -> Iterator[KandoEvent]:
    new = _Writer(source).event
    n = len(HOSTILE)

    def bad(number: int) -> str:
        return HOSTILE[number % n]

    everything = " ".join(HOSTILE)
    lengthy = (HOSTILE[0] * (long // len(HOSTILE[0]) + 1))[:long]
    yield new("kit.loaded", bad(0), {"name": "hostile", "version": bad(0)})
    yield from _hostile_world(new, bad, everything, lengthy)
    yield from _hostile_calls(new, bad, everything, lengthy)
    yield from _hostile_people(new, bad, everything, lengthy)


_Bad = Callable[[int], str]
_New = Callable[..., KandoEvent]


def _hostile_world(new: _New, bad: _Bad, everything: str, lengthy: str) -> Iterator[KandoEvent]:
    goal = {"id": "goal", "type": "Goal", "data": {"text": everything, "name": everything}}
    yield new("object.created", bad(1), goal)
    for number in range(len(HOSTILE)):
        data = {
            bad(number): bad(number),
            "title": bad(number),
            "url": bad(2),
            "list": [bad(number)],
        }
        made = {"id": f"o-{number}-{bad(number)}", "type": bad(number), "data": data}
        yield new("object.created", bad(number), made, "object.created-1")
        link = {
            "id": f"r-{number}-{bad(number)}",
            "type": bad(number),
            "source_id": made["id"],
            "target_id": "goal",
            "data": {"why": bad(number)},
        }
        yield new("relation.created", bad(number), link, "object.created-1")
    yield new("object.patched", bad(3), {"id": "goal", "patch": {"long": lengthy, bad(0): bad(1)}})
    report = {
        "type": "Report",
        "id": "report",
        "data": {"title": bad(0), "text": everything, "status": bad(1)},
    }
    yield new("object.created", bad(4), report, "object.created-1")
    for kind in ("text/html", "text/markdown", "text/plain", "image/svg+xml"):
        artifact = {
            "name": bad(0) + kind,
            "media_type": kind,
            "text": everything,
            "problem": bad(1),
        }
        made = {"id": kind, "type": "Artifact", "data": artifact}
        yield new("object.created", bad(4), made, "object.created-1")


def _hostile_calls(new: _New, bad: _Bad, everything: str, lengthy: str) -> Iterator[KandoEvent]:
    for number, text in enumerate([everything, lengthy]):
        asked = {
            "messages": [{"role": "system", "content": text}, {"role": "user", "content": text}],
            "model": bad(number),
            "max_tokens": 10,
            "cause_object_id": "goal",
            "tools": [{"name": bad(0), "description": text, "parameters": {"type": "object"}}],
        }
        request = new("llm.request", bad(number), asked, "object.created-1")
        yield request
        answer = {"text": text, "model": bad(number), "cost_usd": 0.5, "finish_reason": bad(2)}
        yield new("llm.response", bad(number), answer, request.id, seconds=1)
        called = {"tool": bad(number), "arguments": {bad(0): text, "path": bad(2)}}
        call = new("tool.called", bad(number), called, request.id)
        yield call
        result = {"result": {"text": text, "html": bad(0), bad(3): [text]}}
        yield new("tool.returned", bad(number), result, call.id, seconds=1)
        failing = new("tool.called", bad(number), called, request.id)
        yield failing
        error = {"error": {"type": bad(0), "message": text}}
        yield new("tool.returned", bad(number), error, failing.id, seconds=1)
        failed = {
            "responder": bad(number),
            "trigger": call.id,
            "call": False,
            "attempt": 1,
            "outcome": "retried",
            "error": {"type": bad(0), "message": text},
            "observed": {"traceback": text, "file": bad(1), "line": 1},
        }
        yield new("responder.failed", bad(number), failed, call.id)
        yield new(bad(number)[:60] or "x", bad(number), {bad(1): text}, call.id)


def _hostile_people(new: _New, bad: _Bad, everything: str, lengthy: str) -> Iterator[KandoEvent]:
    chat = {"id": "chat", "type": "Conversation", "data": {"title": bad(0)}}
    yield new("object.created", bad(0), chat)
    for number, text in enumerate([everything, lengthy]):
        said = {"text": text, "cause_object_id": "chat"}
        message = new("human.message", bad(number), said)
        yield message
        turn = {
            "messages": [{"role": "user", "content": text}],
            "model": "default",
            "max_tokens": None,
            "cause_object_id": "chat",
            "conversation": {"id": "chat", "turn": number},
        }
        request = new("llm.request", bad(number), turn, message.id)
        yield request
        answer = {
            "text": text,
            "model": bad(0),
            "cost_usd": 0,
            "cause_object_id": "chat",
            "conversation": {"id": "chat", "turn": number},
        }
        yield new("llm.response", bad(number), answer, request.id)
        question = {"question": text, "schema": None, "cause_object_id": "goal"}
        yield new("person.asked", bad(number), question, "object.created-1")
        open_call = new("tool.called", bad(0), {"tool": bad(1), "arguments": {"a": text}})
        yield open_call
        waits = {"type": "tool.called", "intent": open_call.id, "reason": text}
        yield new("approval.requested", bad(number), waits, open_call.id)


def main() -> None:
    """Add the run that the command line names."""
    url, what = sys.argv[1:]
    with open_store(url) as store:
        print(add_hostile_run(store) if what == "hostile" else add_large_run(store, int(what)))


if __name__ == "__main__":
    main()
