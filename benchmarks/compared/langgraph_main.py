"""Start, resume, decide and fork the coder in LangGraph from a shell, in a SQLite file."""

import json
import sys

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import Command

from langgraph_coder import coder


def main(action, thread, *arguments):
    with SqliteSaver.from_conn_string("langgraph.sqlite") as saver:
        agent = coder(saver)
        config = {"configurable": {"thread_id": thread}}
        if action == "start":
            agent.invoke(
                {"messages": [{"role": "user", "content": arguments[0]}]}, config, durability="sync"
            )
        elif action == "resume":
            agent.invoke(None, config, durability="sync")
        elif action in ("approve", "reject"):
            decision = {"decisions": [{"type": action}]}
            agent.invoke(Command(resume=decision), config, durability="sync")
        elif action == "fork":
            config = _before(agent, config, int(arguments[0]))
            agent.invoke(None, config, durability="sync")
            config = {"configurable": {"thread_id": thread}}
        state = agent.get_state(config)
        waiting = [each.value["action_requests"] for each in state.interrupts]
        last = state.values["messages"][-1].content
        print(json.dumps({"waiting": waiting, "next": state.next, "text": last}))


def _before(agent, config, answer):
    """The newest checkpoint from which the model gives its answer of that number."""
    for snapshot in agent.get_state_history(config):
        answers = [m for m in snapshot.values.get("messages", []) if m.type == "ai"]
        if len(answers) == answer and snapshot.next == ("ModelCallLimitMiddleware.before_model",):
            return snapshot.config
    raise LookupError(answer)


if __name__ == "__main__":
    main(*sys.argv[1:])
