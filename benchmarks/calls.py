"""calls: twenty calls to the outside at once, against a single one, durable."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

from kando.emit import ask
from kando.ledger.sqlite import SQLiteLedgerStore
from kando.responders.base import responder
from kando.responders.llm_executor import LLMExecutorResponder
from kando.runtime import Runtime
from kando.schema.events import OBJECT_CREATED, KandoEvent, make_event
from measuring import Figure, Settings, fresh_folder, progress, repetition, timed
from table import Goal, Line

__all__ = ["lines"]

_CALLS = 20
_SECONDS = 0.2


def lines(settings: Settings) -> Iterator[Line]:
    """Compare twenty calls with one; the ledger must be that of twenty calls made in turn."""
    twenty: list[Figure] = []
    single: list[Figure] = []
    with fresh_folder() as folder:
        in_turn = repetition("calls.py", _CALLS, 1, folder / "kando.db").facts["digest"]
    for number in range(settings.repetitions):
        progress(f"calls, {number + 1} of {settings.repetitions}")
        with fresh_folder() as folder:
            twenty.append(repetition("calls.py", _CALLS, _CALLS, folder / "kando.db"))
            single.append(repetition("calls.py", 1, 1, folder / "single.db"))
    if any(figure.facts["digest"] != in_turn for figure in twenty):
        msg = "Calls side by side made another ledger than calls in turn."
        raise RuntimeError(msg)
    yield Line(
        "calls",
        f"{_CALLS} of {1000 * _SECONDS:.0f} ms",
        "wall ms",
        [1000 * figure.wall for figure in twenty],
        "a single call",
        [1000 * figure.wall for figure in single],
        Goal(most=1.5),
    )


def main(count: str, limit: str, path: str) -> None:
    """Make the calls and report, with what the ledger says of them apart from its times.

    Args:
        count: how many.
        limit: how many may be in flight at once.
        path: of the new SQLite file.
    """

    @responder("asks", {OBJECT_CREATED})
    def asks(event: Any, world: Any) -> Iterator[KandoEvent]:
        for number in range(int(count)):
            yield ask([{"role": "user", "content": f"question {number}"}])

    def answer(messages: list[dict[str, Any]], model: str, max_tokens: int) -> tuple[str, float]:
        time.sleep(_SECONDS)
        return f"an answer to {messages[-1]['content']}", 0.001

    ledger = SQLiteLedgerStore("bench", path)
    responders = [asks, LLMExecutorResponder(answer)]
    runtime = Runtime(ledger, responders, max_parallel_calls=int(limit))
    data = {"id": "goal", "type": "Goal", "data": {}}
    with timed() as watch:
        runtime.run([make_event(OBJECT_CREATED, "", "cli", [], data)])
    facts = [(e.id, e.type, e.actor, e.cause, e.data) for e in ledger.read_all()]
    ledger.close()
    watch.report(digest=repr(facts))


if __name__ == "__main__":
    main(*sys.argv[1:])
