"""Ledgers of each format: their kit, and the program that writes them.

``python tests/helpers/ledger_fixtures.py tests/fixtures/ledgers/format-N.sqlite`` adds the fixture
of a new format. An existing fixture is never overwritten.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from kando.branch.fork import fork
from kando.cache.llm import LLMCache
from kando.emit import ask, create, patch, relate, unrelate
from kando.kit import Kit
from kando.ledger.interface import LedgerStore
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.responders.llm_executor import LLMExecutorResponder
from kando.runtime import Runtime
from kando.schema.events import KandoEvent, RecordedEvent
from kando.world.graph import World

__all__ = ["notes_kit", "runtime_on"]


def notes_kit() -> Kit:
    """Return the kit of the fixtures: it creates notes about topics and asks a model about them."""
    kit = Kit("notes", version="1")

    @kit.responder("object.created", type="Topic")
    def on_topic(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        for n in range(2):
            note = yield create("Note", {"n": n, "text": "কাণ্ড \u2028 \x00"})
            yield relate("about", note, event)
            yield ask([{"role": "user", "content": f"{n}?"}], about=note, max_tokens=1024)

    @kit.responder("llm.response")
    def on_answer(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        note = event.data["cause_object_id"]
        yield patch(note, {"text": event.data["text"]})
        if world.objects[note].data["n"]:
            yield unrelate(world.get_relations(note)[0])

    return kit


def runtime_on(ledger: LedgerStore, kit: Kit | None = None) -> Runtime:
    """Return a runtime of the kit, or of a later version of it, with a model."""
    answers = LLMExecutorResponder(lambda messages, model, n: (messages[-1]["content"] * 2, 0.5))
    responders = [*(kit or notes_kit()).create(), answers]
    return Runtime(ledger, responders, cache=LLMCache(), edge_logic=())


def _write(path: Path) -> None:
    if path.exists():
        msg = f"{path} already exists and is left unchanged."
        raise FileExistsError(msg)
    with SQLiteSubstrate(path) as substrate:
        run = substrate.create("run")
        runtime_on(run).run([create("Topic", {"name": "ledgers"}, id="topic")])
        branch = fork(substrate, "run", 5, "branch")
        runtime_on(branch).run([patch("topic", {"name": "branches"})])
        nested = fork(substrate, "branch", 9, "nested")
        runtime_on(nested).run([create("Topic", {"name": "more"})])


if __name__ == "__main__":
    _write(Path(sys.argv[1]))
