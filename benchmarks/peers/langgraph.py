"""LangGraph: a chain of steps, a conversation with a tool and a fork, in a SQLite file.

Every checkpoint is written before the next step starts (``durability="sync"``).
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph

from stopwatch import timed
from workload import answer_of, result_of, short_data_of

__all__: list[str] = []

_CONFIG: Any = {"configurable": {"thread_id": "bench"}, "recursion_limit": 1_000_000}


class _Step(TypedDict):
    number: int
    text: str


def _chain(count: int) -> Any:
    def step(state: _Step) -> dict[str, Any]:
        return short_data_of(state["number"] + 1)

    graph: Any = StateGraph(_Step)
    graph.add_node("step", step)
    graph.add_edge(START, "step")
    graph.add_conditional_edges(
        "step", lambda state: "step" if state["number"] < count else END, ["step", END]
    )
    return graph


def steps(size: str, path: str) -> None:
    """Run a chain whose state is the data of its last step, and report.

    Args:
        size: how many steps.
        path: of the new SQLite file.
    """
    count = int(size)
    with SqliteSaver.from_conn_string(path) as saver:
        graph = _chain(count).compile(checkpointer=saver)
        with timed() as watch:
            state = graph.invoke({"number": 0, "text": ""}, _CONFIG, durability="sync")
    if state["number"] != count:
        msg = f"LangGraph made {state['number']} steps, not {count}."
        raise RuntimeError(msg)
    watch.report()


def fork(size: str, path: str) -> None:
    """Fork the chain at its middle, and report how many bytes are added.

    Args:
        size: how many steps it has.
        path: of the file that `steps` made.
    """
    count = int(size)
    with SqliteSaver.from_conn_string(path) as saver:
        graph = _chain(count).compile(checkpointer=saver)
        history = graph.get_state_history(_CONFIG)
        middle = next(each for each in history if each.values.get("number") == count // 2)
        before = _bytes_of(path)
        with timed() as watch:
            graph.update_state(middle.config, {"text": "a branch"})
        added = _bytes_of(path) - before
    watch.report(added=added)


def _joined(state: list[Any], writes: Sequence[list[Any]]) -> list[Any]:
    return [*state, *(each for write in writes for each in write)]


# Plain values: a delta channel turns what has a "role" into objects of LangChain, at a cost.
class _List(TypedDict):
    said: Annotated[list[Any], operator.add]


class _Delta(TypedDict):
    said: Annotated[list[Any], DeltaChannel(_joined)]


def _conversation(turns: int, size: int, channel: str) -> Any:
    def model(state: Any) -> dict[str, Any]:
        turn = len(state["said"]) // 2 + 1
        if turn > turns:
            return {"said": [{"by": "assistant", "content": "done"}]}
        answer = answer_of(turn)
        message = {"by": "assistant", "content": answer["text"]}
        return {"said": [{**message, "tool_calls": answer["tool_calls"]}]}

    def tool(state: Any) -> dict[str, Any]:
        (call,) = state["said"][-1]["tool_calls"]
        content = result_of(call["arguments"]["turn"], size)
        return {"said": [{"by": "tool", "tool_call_id": call["id"], "content": content}]}

    def next_node(state: Any) -> str:
        return "tool" if state["said"][-1].get("tool_calls") else END

    graph: Any = StateGraph(_Delta if channel == "delta" else _List)
    graph.add_node("model", model)
    graph.add_node("tool", tool)
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", next_node, ["tool", END])
    graph.add_edge("tool", "model")
    return graph


def conversation(turns: str, size: str, path: str, channel: str) -> None:
    """Run a conversation with a scripted model that calls a tool in each turn, and report.

    Args:
        turns: how many calls the model makes.
        size: bytes of each result of the tool.
        path: of the new SQLite file.
        channel: ``list``, or ``delta`` for a `DeltaChannel`, as it is by default.
    """
    question: Any = {"said": [{"by": "user", "content": "What is there?"}]}
    # Imports and caches, which happen once in a process, must not count.
    _conversation(1, 10, channel).compile(checkpointer=InMemorySaver()).invoke(question, _CONFIG)
    with SqliteSaver.from_conn_string(path) as saver:
        graph = _conversation(int(turns), int(size), channel).compile(checkpointer=saver)
        with timed() as watch:
            state = graph.invoke(question, _CONFIG, durability="sync")
    if len(state["said"]) != 2 * int(turns) + 2:
        msg = f"The conversation has {len(state['messages'])} messages."
        raise RuntimeError(msg)
    watch.report()


def _bytes_of(path: str) -> int:
    files = (Path(path), Path(f"{path}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


if __name__ == "__main__":
    actions = {"steps": steps, "fork": fork, "conversation": conversation}
    actions[sys.argv[1]](*sys.argv[2:])
