"""conversation: a model that calls a tool in each turn, against LangGraph with a list and with deltas.

The model is scripted, and each result of the tool is a text of its own, in a file that is flushed to
disk before each call. Costs are compared turn by turn, and their growth with the number of turns.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import log
from pathlib import Path
from statistics import linear_regression, median
from typing import Any

from kando.app.builtin import installed_plugins
from kando.app.providers import Provider
from kando.app.run import Run
from kando.app.store import Store, open_store
from kando.kit import Kit
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.responders.budget import Budget
from kando.responders.llm_executor import provider_executor
from kando.runtime import Runtime
from kando.schema.events import OBJECT_CREATED, TOOL_RETURNED, KandoEvent, make_event
from kando.world.graph import World
from measuring import Figure, Settings, bytes_of, fresh_folder, progress, repetition, timed
from peer import LANGGRAPH
from table import Goal, Line, missing
from workload import answer_of, result_of

__all__ = ["lines"]

_SIZES = (200, 19_000)
_LENGTHS = dict.fromkeys(_SIZES, (100, 200, 400, 1_000))
_QUICK = {200: (20, 40, 80), 19_000: (20, 40)}
_ACTIONS = ("load", "strict")
_LINEAR = Goal(most=1.05)

#: The list of LangGraph is written at every step; files beyond this are not worth the time.
_MOST_BYTES_OF_A_LIST = 500_000_000

_Found = dict[tuple[str, int], list[Figure]]


def lines(settings: Settings) -> Iterator[Line]:
    """Compare each size of results at each number of turns, and the growth of what they cost."""
    for size in _SIZES:
        lengths = (_QUICK if settings.is_quick else _LENGTHS)[size]
        found: _Found = {}
        # Sizes in bytes differ from run to run by less than a page, times by much more.
        for number in range(settings.repetitions):
            for turns in lengths:
                progress(
                    f"conversation of {turns:,} turns, {_name(size)}, "
                    f"{number + 1} of {settings.repetitions}"
                )
                _measure(turns, size, found, is_first=number == 0)
        yield from _lines_of(size, lengths, found)


def _name(size: int) -> str:
    return f"{size:,} B results"


def _measure(turns: int, size: int, found: _Found, *, is_first: bool) -> None:
    with fresh_folder() as folder:
        path = folder / "kando.db"
        ours = repetition("conversation.py", "run", turns, size, path)
        if ours.facts["turns"] < turns:
            return
        _keep(found, "kando", turns, ours, path)
        for action in _ACTIONS:
            done = repetition("conversation.py", action, turns, size, path)
            found.setdefault((action, turns), []).append(done)
        if not LANGGRAPH.is_installed:
            return
        path = folder / "delta.db"
        done = LANGGRAPH.repetition("conversation", turns, size, path, "delta")
        _keep(found, "delta", turns, done, path)
        # Each turn writes all messages twice.
        if is_first and turns * turns * (size + 150) < _MOST_BYTES_OF_A_LIST:
            path = folder / "list.db"
            done = LANGGRAPH.repetition("conversation", turns, size, path, "list")
            _keep(found, "list", turns, done, path)


def _keep(found: _Found, name: str, turns: int, figure: Figure, path: Path) -> None:
    figure.facts["bytes"] = bytes_of(path)
    found.setdefault((name, turns), []).append(figure)


def _lines_of(size: int, lengths: Sequence[int], found: _Found) -> Iterator[Line]:
    for turns in lengths:
        where = f"{turns:,} turns, {_name(size)}"
        ours = found.get(("kando", turns))
        if ours is None:
            yield missing("conversation", where, "Kando: the conversation becomes too long")
            continue
        for name, goals in (("delta", (Goal(most=1), Goal(most=1.3))), ("list", (None, None))):
            theirs = found.get((name, turns))
            if theirs is None:
                is_here = LANGGRAPH.is_installed
                why = f"langgraph {name}: not measured" if is_here else LANGGRAPH.absence
                yield missing("conversation", where, why)
                continue
            # The list is measured once.
            pairs = list(zip(ours, theirs, strict=False))
            for (quantity, of), goal in zip(_QUANTITIES.items(), goals, strict=True):
                mine, others = ([of(each) for each in side] for side in zip(*pairs, strict=True))
                against = f"langgraph {name}"
                yield Line("conversation", where, quantity, mine, against, others, goal)
    yield from _growth(size, [n for n in lengths if ("kando", n) in found], found)


def _growth(size: int, lengths: Sequence[int], found: _Found) -> Iterator[Line]:
    """Yield the exponents: 1 is linear in the number of turns, 2 is its square."""
    if len(lengths) < 2:
        return
    where = f"{lengths[0]:,} to {lengths[-1]:,} turns, {_name(size)}"
    cpu, bytes_ = _QUANTITIES["cpu ms"], _QUANTITIES["KB"]
    for name, what, of, goal in (
        ("kando", "KB", bytes_, _LINEAR),
        ("kando", "cpu", cpu, None),
        ("load", "cpu of load", cpu, _LINEAR),
        ("strict", "cpu of strict replay", cpu, _LINEAR),
    ):
        ours = [_exponent(lengths, [of(each) for each in _row(found, name, lengths)])]
        theirs, against = [1.0], "linear"
        if name == "kando" and ("delta", lengths[0]) in found:
            delta = [_exponent(lengths, [of(each) for each in _row(found, "delta", lengths)])]
            yield Line("conversation", where, f"exponent of {what}", ours, "langgraph delta", delta)
        yield Line("conversation", where, f"exponent of {what}", ours, against, theirs, goal)


def _row(found: _Found, name: str, lengths: Sequence[int]) -> list[Figure]:
    """Return one figure for each length: the medians of its repetitions."""
    medians = []
    for turns in lengths:
        figures = found[name, turns]
        facts = {"bytes": median(figure.facts.get("bytes", 0) for figure in figures)}
        medians.append(Figure(median(figure.cpu for figure in figures), 0.0, facts))
    return medians


def _exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """Return the exponent of growth: the slope of the least squares through the logarithms."""
    return linear_regression([log(each) for each in sizes], [log(each) for each in values]).slope


def _cpu(figure: Figure) -> float:
    return 1000 * figure.cpu


def _kilobytes(figure: Figure) -> float:
    found: float = figure.facts["bytes"] / 1000
    return found


_QUANTITIES: Mapping[str, Callable[[Figure], float]] = {"KB": _kilobytes, "cpu ms": _cpu}


def _kit(turns: int, size: int) -> Kit:
    kit = Kit("conversation", prompts={"question": "What is there?"})

    @kit.seeds
    def seed(goal: str, run_id: str) -> list[KandoEvent]:
        data = {"id": "topic", "type": "Topic", "data": {}}
        return [make_event(OBJECT_CREATED, "", "cli", [], data)]

    @kit.tool(effect="read")
    def look(turn: int) -> str:
        """Look at one thing.

        Args:
            turn: which.
        """
        return result_of(turn, size)

    @kit.llm_responder(
        OBJECT_CREATED, type="Topic", prompt="question", tools=["look"], max_turns=turns + 1
    )
    def question(event: KandoEvent, world: World) -> dict[str, Any]:
        """Ask the question of the conversation."""
        return {}

    return kit


def _provider(turns: int) -> Provider:
    def complete(request: dict[str, Any]) -> dict[str, Any]:
        # A user's message comes first, then an answer and a result for each turn.
        turn = len(request["messages"]) // 2 + 1
        answer = answer_of(turn) if turn <= turns else {"text": "done"}
        return {**answer, "model": "scripted", "cost_usd": 0.0}

    return Provider("scripted", "", provider_executor(complete))


# A process looks for installed plugins once, however many stores it opens.
_PLUGINS = installed_plugins({"KANDO_PLUGINS": ""})


def _store(url: str, *kits: Kit) -> Store:
    return open_store(url, kits=kits, plugins=_PLUGINS, environ={})


def _start(store: Store, turns: int, size: int) -> Run:
    # Each turn is deeper than the one before; the limit is for runs that do not end.
    budget = Budget(max_recursion_depth=100 * turns)
    return store.start(_kit(turns, size), "go", llm=_provider(turns), budget=budget)


def run(turns: str, size: str, path: str) -> None:
    """Run a conversation, and report.

    Args:
        turns: how many calls the model makes.
        size: bytes of each result of the tool.
        path: of the new SQLite file; the id of the run is kept next to it.
    """
    # Imports and caches, which happen once in a process, must not count.
    with _store("memory:") as store:
        _start(store, 1, 10)
    with timed() as watch, _store(f"sqlite:{path}") as store:
        id = _start(store, int(turns), int(size)).id
    with _store(f"sqlite:{path}") as store:
        events = store.run(id).events()
        found = sum(event.type == TOOL_RETURNED for event in events)
    Path(f"{path}.id").write_text(id)
    watch.report(turns=found)


def load(turns: str, size: str, path: str) -> None:
    """Load the world, and all that a run resumes from, without a snapshot, and report."""
    with SQLiteSubstrate(path, read_only=True) as substrate:
        ledger = substrate.open(Path(f"{path}.id").read_text())
        with timed() as watch:
            Runtime(ledger, []).load()
    watch.report()


def strict(turns: str, size: str, path: str) -> None:
    """Replay strictly, and report."""
    with _store(f"sqlite:{path}", _kit(int(turns), int(size))) as store, timed() as watch:
        store.run(Path(f"{path}.id").read_text()).replay(strict=True)
    watch.report()


if __name__ == "__main__":
    {"run": run, "load": load, "strict": strict}[sys.argv[1]](*sys.argv[2:])
