"""A conversation of n turns takes bytes in proportion to n, and no limit of Kando's own ends it."""

import sqlite3
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest

from kando.branch.fork import fork
from kando.cache.llm import LLMCache
from kando.emit import ask, create, patch
from kando.errors import PayloadTooLarge
from kando.kit import Kit
from kando.ledger.interface import LedgerStore
from kando.ledger.jsonl import lines_of, read_lines
from kando.ledger.memory import MemoryLedgerStore
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.ledger.verification import verify
from kando.responders.base import Responder
from kando.responders.budget import Budget, BudgetEnforcer
from kando.responders.llm_executor import provider_executor
from kando.runtime import Runtime
from kando.schema.events import LLM_REQUEST, LLM_RESPONSE, KandoEvent
from kando.schema.exact_json import decode, encode, exact_and_encoded
from kando.world.graph import World

RESULT = "a result of a tool " * 50
Build = Callable[[int], list[Responder]]


@attrs.frozen
class Job:
    """The subject of the conversation."""

    name: str
    text: str = ""


def tool_loop(turns: int) -> list[Responder]:
    """Return a kit whose model calls a tool in each turn, and its model."""
    kit = Kit("loop", version="1", prompts={"p": "Go."})
    kit.object(Job)

    @kit.tool("look")
    def look(n: int) -> str:
        """Look."""
        return f"{n} {RESULT}"

    @kit.llm_responder("object.created", type=Job, prompt="p", tools=["look"], max_turns=turns)
    def on_job(event: KandoEvent, world: World) -> dict[str, Any]:
        return {}

    def complete(request: dict[str, Any]) -> dict[str, Any]:
        n = len(request["messages"])
        call = {"id": f"c{n}", "name": "look", "arguments": {"n": n}}
        calls = {"tool_calls": [call]} if n < 2 * turns - 1 else {}
        return {"text": "" if calls else "done", "model": "m", "cost_usd": 0.0, **calls}

    return [*kit.create(), provider_executor(complete)]


def _chat(turns: int, all_said: Callable[[World, str], list[dict[str, Any]]]) -> list[Responder]:
    """Return responders that send the whole conversation in each turn, and their model."""

    def on_answer(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        said = all_said(world, event.data["text"])
        yield patch("chat", {"history": said, "texts": [m["content"] for m in said[-1:]]})
        if len(said) < 2 * turns:
            yield ask([*said, {"role": "user", "content": f"{len(said)} {RESULT}"}])

    def on_chat(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        yield ask([{"role": "user", "content": RESULT}])

    def complete(request: dict[str, Any]) -> dict[str, Any]:
        return {"text": f"Answer {len(request['messages'])}.", "model": "m", "cost_usd": 0.0}

    return [
        Responder("start", {"object.created"}, on_chat),
        Responder("chat", {LLM_RESPONSE}, on_answer),
        provider_executor(complete),
    ]


def kept_history(turns: int) -> list[Responder]:
    """Return a chat that keeps its messages in an object, and adds to it."""

    def all_said(world: World, text: str) -> list[dict[str, Any]]:
        said = world.objects["chat"].data.get("history", [])
        asked = {"role": "user", "content": f"{len(said)} {RESULT}" if said else RESULT}
        return [*said, asked, {"role": "assistant", "content": text}]

    return _chat(turns, all_said)


def rebuilt_history(turns: int) -> list[Responder]:
    """Return a chat that writes each message anew in each turn."""

    def all_said(world: World, text: str) -> list[dict[str, Any]]:
        said = kept_history_of(world)
        asked = {"role": "user", "content": f"{len(said)} {RESULT}" if said else RESULT}
        copies: list[dict[str, Any]] = decode(encode(said))
        return [*copies, asked, {"role": "assistant", "content": text}]

    return _chat(turns, all_said)


def kept_history_of(world: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = world.objects["chat"].data.get("history", [])
    return found


KINDS = [tool_loop, kept_history, rebuilt_history]


def converse(path: Path, responders: list[Responder], **options: Any) -> int:
    """Run a conversation in a new file; return the bytes of the file."""
    with SQLiteSubstrate(path) as substrate:
        runtime = Runtime(substrate.create("r1"), responders, cache=LLMCache(), **options)
        runtime.run([create("Job", {"name": "x"}, id="chat")])
        assert not runtime.has_pending_work()
    return sum(each.stat().st_size for each in path.parent.glob(f"{path.name}*"))


@pytest.mark.parametrize("build", KINDS)
def test_a_conversation_takes_bytes_in_proportion_to_its_messages(
    tmp_path: Path, build: Build
) -> None:
    sizes = [converse(tmp_path / f"{turns}", build(turns)) for turns in (50, 100, 200)]

    assert sizes[2] <= 2_000_000
    assert (sizes[2] - sizes[1]) <= 2.2 * (sizes[1] - sizes[0])


@pytest.mark.parametrize("build", KINDS)
def test_a_conversation_is_whole_to_every_reader(tmp_path: Path, build: Build) -> None:
    path = tmp_path / "store"
    converse(path, build(20))

    with SQLiteSubstrate(path, read_only=True) as substrate:
        ledger = substrate.open("r1")
        requests = [event.data for event in ledger.read_all() if event.type == LLM_REQUEST]
        assert [len(request["messages"]) for request in requests] == [2 * n + 1 for n in range(20)]
        for before, after in pairwise(requests):
            assert after["messages"][: len(before["messages"])] == before["messages"]
            assert exact_and_encoded(after)[0] == after
        assert verify(ledger).is_intact
        runtime = Runtime(ledger, build(20), cache=LLMCache())
        assert runtime.replay(strict=True) == runtime.load()
        exported = b"".join(lines_of(ledger, ledger.length()))
    _, events = read_lines(BytesIO(exported))
    with SQLiteSubstrate(tmp_path / "other") as substrate:
        copy = substrate.create("r1")
        copy.append([*events])
        assert verify(copy).is_intact
        assert [event.data for event in copy.read_all() if event.type == LLM_REQUEST] == requests
    assert len(exported) < 200_000


@pytest.mark.parametrize("build", KINDS)
def test_a_branch_from_the_middle_takes_few_bytes_and_continues_the_conversation(
    tmp_path: Path, build: Build
) -> None:
    path = tmp_path / "store"
    converse(path, build(40))
    pages = _pages(path)

    with SQLiteSubstrate(path) as substrate:
        run = substrate.open("r1")
        branch = fork(substrate, "r1", run.length() // 2, "b1")
        forked = _pages(path)
        Runtime(branch, build(40), cache=LLMCache()).run([])

        assert forked - pages < 8
        assert _last_messages(branch) == _last_messages(run)
        assert verify(branch).is_intact


def _last_messages(ledger: LedgerStore) -> list[dict[str, Any]]:
    requests = [event.data for event in ledger.read_all() if event.type == LLM_REQUEST]
    messages: list[dict[str, Any]] = requests[-1]["messages"]
    return messages


def _pages(path: Path) -> int:
    """Return the size of a file in pages of 1 KiB."""
    with sqlite3.connect(path) as file:
        found: int = file.execute("PRAGMA page_count").fetchone()[0]
    return found


def test_the_limit_of_an_event_does_not_end_a_conversation(tmp_path: Path) -> None:
    path = tmp_path / "store"
    converse(path, tool_loop(60), max_payload_bytes=10_000)

    with SQLiteSubstrate(path, read_only=True) as substrate:
        requests = [e for e in substrate.open("r1").read_all() if e.type == LLM_REQUEST]
        assert len(requests) == 60
        assert len(encode(requests[-1].data)) > 50_000


def test_a_message_above_the_limit_of_an_event_is_refused() -> None:
    runtime = Runtime(MemoryLedgerStore("r"), [], max_payload_bytes=10_000)
    said = [{"role": "user", "content": "x" * 9_000}] * 3

    runtime.run([ask(said)])

    with pytest.raises(PayloadTooLarge, match=r"takes 12,\d\d\d bytes"):
        runtime.run([ask([*said, {"role": "user", "content": "é" * 6_000}])])
    with pytest.raises(PayloadTooLarge):
        runtime.run([ask(said, note="x" * 10_000)])


def test_the_worst_case_of_a_call_counts_the_whole_conversation(tmp_path: Path) -> None:
    path, responders = tmp_path / "store", tool_loop(30)
    converse(path, responders)
    effect = responders[-1].effect
    assert effect is not None
    account = BudgetEnforcer(Budget(max_llm_tokens=10**9))

    with SQLiteSubstrate(path, read_only=True) as substrate:
        for event in substrate.open("r1").read_all():
            if event.type == LLM_REQUEST:
                charge, _ = account.worst_case(event, effect)
                assert charge.llm_tokens >= len(encode(event.data))
                assert charge.llm_tokens < len(encode(event.data)) + 10_000
