"""Three tasks at once in one run of LangGraph: a graph that sends each to the coder."""

import json
import operator
import sys
from typing import Annotated, TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

from langgraph_coder import coder


class Tasks(TypedDict):
    goals: list[str]
    texts: Annotated[list[str], operator.add]


def work(task):
    result = coder(None).invoke({"messages": [{"role": "user", "content": task["goal"]}]})
    return {"texts": [result["messages"][-1].content]}


def main(action, thread, goal):
    with SqliteSaver.from_conn_string("langgraph.sqlite") as saver:
        graph = StateGraph(Tasks)
        graph.add_node("work", work)
        graph.add_conditional_edges(
            START, lambda state: [Send("work", {"goal": each}) for each in state["goals"]], ["work"]
        )
        graph.add_edge("work", END)
        state = graph.compile(checkpointer=saver).invoke(
            {"goals": [goal] * 3}, {"configurable": {"thread_id": thread}}, durability="sync"
        )
    print(json.dumps({"waiting": [], "next": [], "text": state["texts"][0]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
