"""Events that Kando did not record may lack fields: readers say so, or read on, and never break."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO
from typing import Any

import pytest

from kando.app.run import Run
from kando.app.store import Store, open_store
from kando.cli.inspect import summary
from kando.errors import KandoError, StoreDamaged
from kando.kit import Kit
from kando.schema.events import KNOWN_TYPES, RESPONDER_FAILED, make_event

#: Fields that readers use, of events of any type.
FIELDS = (
    *("answers", "approval", "arguments", "attempt", "call", "cause_object_id", "conversation"),
    *("cost_usd", "data", "error", "event_id", "expires", "fork_position", "goal", "held", "id"),
    *("in_turn", "intent", "kit", "limits", "messages", "name", "outcome", "outputs", "patch"),
    *("question", "reason", "reasons", "remind", "responder", "result", "run_id", "schema"),
    *("seconds", "settings", "source_id", "started_by", "target_id", "text", "timer", "tool"),
    *("tool_servers", "tree", "trigger", "type", "usage", "version", "observed"),
)

READERS: dict[str, Callable[[Store, Run], object]] = {
    "status": lambda store, run: [run.status(), run.status(at=3)],
    "progress": lambda store, run: run.progress(),
    "events": lambda store, run: [summary(each) for each in run.events()],
    "world": lambda store, run: run.world(),
    "metrics": lambda store, run: run.metrics(),
    "cache": lambda store, run: run.cache(),
    "trace": lambda store, run: run.trace("object.created-1", down=True),
    "conversations": lambda store, run: run.conversations(),
    "artifacts": lambda store, run: run.artifacts(),
    "questions": lambda store, run: run.questions(),
    "approvals": lambda store, run: run.approvals(decided=True),
    "files": lambda store, run: run.files(),
    "diff": lambda store, run: run.diff(run),
    "compare": lambda store, run: store.compare([run.id]),
    "runs": lambda store, run: list(store.runs()),
    "export": lambda store, run: run.export(BytesIO(), format="svg"),
    "fork": lambda store, run: run.fork(at=2),
    "replay": lambda store, run: run.replay(strict=True),
    "resume": lambda store, run: run.resume(),
}


@pytest.fixture
def store() -> Iterator[Store]:
    with open_store("memory:") as opened:
        opened.context.remember(Kit("tiny", version="1"))
        yield opened


def written(store: Store, type: str, data: dict[str, Any]) -> Run:
    """Return a run whose third event was written to the ledger by another program."""
    loaded = {"name": "tiny", "version": "1"}
    root = {"id": "goal", "type": "Goal", "data": {"text": "x"}}
    events = [
        make_event("kit.loaded", "run:r", "cli", [], loaded),
        make_event("object.created", "run:r", "cli", [], root),
        make_event(type, "run:r", "other", ["object.created-1"], data),
    ]
    store.context.substrate(read_only=False).create("r").append(events)
    return store.run("r")


@pytest.mark.parametrize("data", [{}, {key: [[]] for key in FIELDS}], ids=["empty", "lists"])
@pytest.mark.parametrize("type", sorted(KNOWN_TYPES))
def test_each_reader_reads_a_malformed_event_or_refuses_it(
    type: str, data: dict[str, Any], store: Store
) -> None:
    run = written(store, type, data)

    for read in READERS.values():
        with suppress(KandoError):
            read(store, run)


def test_a_failure_without_its_outcome_is_shown(store: Store) -> None:
    failed = {"responder": "tiny.f", "trigger": "object.created-1", "error": {"type": "E"}}
    run = written(store, RESPONDER_FAILED, failed)

    assert run.status().parked == 0
    assert "E" in summary([*run.events()][-1])


def test_a_failure_that_names_no_firing_is_damage_with_its_position(store: Store) -> None:
    run = written(store, RESPONDER_FAILED, {"outcome": "raised"})

    with pytest.raises(StoreDamaged, match="does not name its trigger") as raised:
        run.resume()

    assert raised.value.position == 2
