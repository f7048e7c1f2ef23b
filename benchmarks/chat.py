"""chat: a person who talks with a model through `kit.conversation`, and long results of tools.

Each turn comes through the inbox of one run that stays open, and is answered. The model is
scripted. Run it with ``python benchmarks/chat.py [TURNS]``; it prints bytes, time per turn, and what
a branch at the middle takes.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from kando import Kit, Run, Store, open_store
from kando.app.providers import Provider
from kando.responders.budget import Budget
from kando.responders.llm_executor import provider_executor
from kando.schema.events import CONVERSATION_COMPACTED, TOOL_RETURNED
from measuring import bytes_of, fresh_folder

_TURN = 1_000
_RESULT = 15_000
_BASE = 840_000
_RESULTS = 100


def _provider(complete: Any) -> Provider:
    def priced(request: dict[str, Any]) -> dict[str, Any]:
        return {"model": "scripted", "cost_usd": 0.0, **complete(request)}

    return Provider("scripted", "", provider_executor(priced))


def _store(path: Path) -> Store:
    return open_store(f"sqlite:{path}", environ={"KANDO_PLUGINS": ""})


def turns(count: int) -> None:
    """Measure turns of 1 KB."""
    kit = Kit("chat")
    kit.conversation(system="Be brief.")
    marks: list[tuple[int, float, int]] = []
    number = 0

    def complete(request: dict[str, Any]) -> dict[str, Any]:
        # The next turn comes while this one is answered, as from a person who types ahead.
        nonlocal number
        if request["conversation"].get("compacts"):
            return {"text": "A summary. " * 100}
        number += 1
        if number % 100 == 0:
            marks.append((number, time.process_time(), bytes_of(path)))
            _print_mark(*marks[-2:])
        if number < count:
            run.say(f"{number} " + "x" * _TURN)
        return {"text": f"{number} " + "y" * _TURN}

    with fresh_folder() as folder:
        path = folder / "kando.db"
        with _store(path) as store:
            run = store.start(kit, "0 " + "x" * _TURN, work=False)
            budget = Budget(max_recursion_depth=100 * count)
            run.resume(kit=kit, llm=_provider(complete), budget=budget)
            _print_whole(run, kit, path)


def _print_mark(*marks: tuple[int, float, int]) -> None:
    if len(marks) < 2 or marks[1][0] % 1_000 not in (0, 200):
        return
    (n1, cpu1, size1), (n2, cpu2, size2) = marks
    per_turn, bytes_per_turn = (cpu2 - cpu1) / (n2 - n1), (size2 - size1) / (n2 - n1)
    line = f"turn {n2:>5,}: {1000 * per_turn:6.2f} ms CPU, {bytes_per_turn:8,.0f} B a turn"
    print(line, flush=True)


def _print_whole(run: Run, kit: Kit, path: Path) -> None:
    compactions = sum(each.type == CONVERSATION_COMPACTED for each in run.events())
    before = bytes_of(path)
    run.fork(at=run.length() // 2, kit=kit)
    print(f"{run.length():,} events, {compactions} compactions, {before:,} B")
    print(f"a branch at the middle: {bytes_of(path) - before:,} B")


def results() -> None:
    """Measure long results of a tool after a long message."""
    kit = Kit("reader")

    @kit.tool(effect="read")
    def read(n: int) -> str:
        """Read a part."""
        return f"{n} " + "z" * _RESULT

    kit.conversation(max_turns=_RESULTS + 1)
    asked = 0

    def complete(request: dict[str, Any]) -> dict[str, Any]:
        nonlocal asked
        if request["conversation"].get("compacts"):
            return {"text": "A summary. " * 100}
        asked += 1
        if asked > _RESULTS:
            return {"text": "done"}
        call = {"id": f"c{asked}", "name": "read", "arguments": {"n": asked}}
        return {"text": "", "tool_calls": [call], "stop": "tool"}

    with fresh_folder() as folder:
        path = folder / "kando.db"
        with _store(path) as store:
            begun = time.process_time()
            run = store.start(kit, "b" * _BASE, llm=_provider(complete))
            cpu = time.process_time() - begun
            events = [*run.events()]
            returned = sum(each.type == TOOL_RETURNED for each in events)
            compactions = sum(each.type == CONVERSATION_COMPACTED for each in events)
            print(
                f"{returned} results of {_RESULT:,} B after {_BASE:,} B: {run.status().state}, "
                f"{compactions} compactions, {cpu:.1f} s CPU, {bytes_of(path):,} B"
            )


if __name__ == "__main__":
    turns(int(sys.argv[1]) if len(sys.argv) > 1 else 5_000)
    results()
