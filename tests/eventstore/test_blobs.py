"""The parts of events on a server: stored once, before the events that refer to them."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from kando.emit import ask, create
from kando.errors import StoreDamaged
from kando.ledger.verification import verify
from kando.responders.llm_executor import LLMExecutorResponder
from kando.runtime import Runtime
from kando.schema.events import LLM_REQUEST, LLM_RESPONSE
from kando.schema.parts import has_references
from kando_eventstore._streams import NewEvent
from kando_eventstore.substrate import EventStoreSubstrate, open_eventstore
from kando_eventstore.testing import FakeEventStoreServer

LONG_TEXT = "An article. " * 200


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeEventStoreServer]:
    with FakeEventStoreServer(tmp_path / "store") as started:
        yield started


@pytest.fixture
def substrate(server: FakeEventStoreServer) -> Iterator[EventStoreSubstrate]:
    with open_eventstore(server.url) as opened:
        yield opened


def said(messages: list[dict[str, Any]], model: str, max_tokens: int) -> tuple[str, float]:
    return f"{messages[-1]['content']} {'and so on ' * 20}", 0.0


def converse(ledger: Any, turns: int) -> None:
    """Send the whole conversation with each request."""
    messages: list[dict[str, Any]] = []
    for turn in range(turns):
        messages = [*messages, {"role": "user", "content": f"{turn} {'word ' * 50}"}]
        Runtime(ledger, [LLMExecutorResponder(said)], edge_logic=()).run([ask(messages)])
        answer = [e.data["text"] for e in ledger.read_all() if e.type == LLM_RESPONSE][-1]
        messages = [*messages, {"role": "assistant", "content": answer}]


def stored_bytes(substrate: EventStoreSubstrate, ledger: str) -> int:
    return sum(len(each.data) for each in substrate._streams.forwards(f"run:{ledger}"))


def test_a_conversation_takes_bytes_in_proportion_to_its_words_and_is_whole_to_every_reader(
    server: FakeEventStoreServer, substrate: EventStoreSubstrate
) -> None:
    ledger = substrate.create("r1")
    converse(ledger, 12)

    with open_eventstore(server.url, read_only=True) as other:
        events = list(other.open("r1").read_all())
    requests = [e for e in events if e.type == LLM_REQUEST]
    assert [len(e.data["messages"]) for e in requests] == [*range(1, 24, 2)]
    assert requests[-1].data["messages"][:3] == requests[1].data["messages"]
    assert any(has_references(e.encoded) for e in requests)
    assert verify(ledger).is_intact
    late = sum(len(e.encoded) for e in requests[6:])
    assert late < 6 * 400
    Runtime(ledger, [LLMExecutorResponder(said)], edge_logic=()).replay(strict=True)


def test_the_server_sees_json(substrate: EventStoreSubstrate) -> None:
    ledger = substrate.create("r1")
    Runtime(ledger, [], edge_logic=()).run([create("Page", {"text": LONG_TEXT})])

    (event,) = ledger.read_all()
    assert has_references(event.encoded)
    assert event.data["data"]["text"] == LONG_TEXT
    (stored,) = substrate._streams.forwards("run:r1")
    name = sha256(LONG_TEXT.encode()).hexdigest()
    assert name in json.dumps(json.loads(stored.data))
    assert substrate._streams.content(name) == LONG_TEXT.encode()


def test_a_text_is_stored_once(substrate: EventStoreSubstrate) -> None:
    for run in ("r1", "r2"):
        seeds = [create("Page", {"text": LONG_TEXT}) for _ in range(3)]
        Runtime(substrate.create(run), [], edge_logic=()).run(seeds)

    name = sha256(LONG_TEXT.encode()).hexdigest()
    assert len(list(substrate._streams.forwards(f"blob:{name}"))) == 1


@pytest.mark.parametrize("size", [499_999, 500_000, 900_000])
def test_a_text_whose_writer_was_killed_between_two_chunks_is_completed(
    substrate: EventStoreSubstrate, size: int
) -> None:
    text = "x" * size
    name = sha256(text.encode()).hexdigest()
    if size > 500_000:
        half = NewEvent("kando.chunk", text[:500_000].encode(), is_json=False)
        substrate._streams.append(f"blob:{name}", [half], after=-1)

    ledger = substrate.create("r1")
    Runtime(ledger, [], edge_logic=()).run([create("Page", {"text": text})])

    assert next(ledger.read_all()).data["data"]["text"] == text
    assert verify(ledger).is_intact


def test_a_branch_reads_the_parts_of_its_parent_and_adds_its_own(
    substrate: EventStoreSubstrate,
) -> None:
    ledger = substrate.create("r1")
    converse(ledger, 6)
    length = ledger.length()
    branch = substrate.fork("r1", length, "b1")
    messages = [e.data["messages"] for e in ledger.read_all() if e.type == LLM_REQUEST][-1]
    more = [*messages, {"role": "user", "content": "more"}]
    Runtime(branch, [LLMExecutorResponder(said)], edge_logic=()).run([ask(more)])

    request = [e for e in branch.read(length) if e.type == LLM_REQUEST][-1]
    assert request.data["messages"] == more


def test_a_text_that_is_lost_is_reported(
    server: FakeEventStoreServer, substrate: EventStoreSubstrate
) -> None:
    Runtime(substrate.create("r1"), [], edge_logic=()).run([create("Page", {"text": LONG_TEXT})])
    name = sha256(LONG_TEXT.encode()).hexdigest()
    substrate.connection.client().delete_stream(f"blob:{name}", current_version=0)

    with open_eventstore(server.url) as other:
        (event,) = other.open("r1").read_all()
        with pytest.raises(StoreDamaged, match=name[:12]):
            _ = event.data
