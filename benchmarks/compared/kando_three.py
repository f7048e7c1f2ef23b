"""Three tasks at once in one run of Kando: each line of the goal is a task of its own."""

import attrs

from kando import Kit, create
from kando_coder import read_file, run_tests, write_file

PROMPTS = {"system": "Mend the code until its tests pass.", "task": "$goal"}
kit = Kit("coder", prompts=PROMPTS)
kit.tool("read_file", effect="read")(read_file)
kit.tool("write_file", effect="write")(write_file)
kit.tool("run_tests", effect="read")(run_tests)


@kit.object
@attrs.frozen
class Task:
    goal: str
    text: str = ""


@kit.seeds
def seeds(goal, run_id):
    return [create(Task(each)) for each in goal.splitlines()]


@kit.llm_responder(
    "object.created",
    type=Task,
    prompt="task",
    system="system",
    tools=["read_file", "write_file", "run_tests"],
    max_turns=50,
)
def on_task(event, world):
    return {"goal": event.object["goal"]}
