"""The coder in Kando: a kit in a file, for `kando run ./kando_coder.py`."""

import os

import attrs

import project
from kando import Kit, create
from kando.responders.policies import Ask
from kando.schema.events import OBJECT_CREATED

FOLDER = os.environ["CODER_FOLDER"]
PROMPTS = {"system": "Mend the code until its tests pass.", "task": "$goal"}
kit = Kit("coder", prompts=PROMPTS)


@kit.object
@attrs.frozen
class Task:
    goal: str
    text: str = ""


@kit.seeds
def seeds(goal, run_id):
    return [create(Task(each)) for each in goal.splitlines()]


@kit.tool("read_file", effect="read")
def read_file(path: str) -> str:
    """Read a file."""
    return project.read(FOLDER, path)


@kit.tool("write_file", effect="write")
def write_file(path: str, content: str) -> str:
    """Write a file."""
    return project.write(FOLDER, path, content)


@kit.tool("run_tests", effect="read")
def run_tests() -> str:
    """Run the tests."""
    return project.test(FOLDER)


@kit.policy
def careful(intent, world):
    return Ask("write?") if intent.data["tool"] == "write_file" else None


@kit.llm_responder(
    OBJECT_CREATED,
    type=Task,
    prompt="task",
    system="system",
    tools=["read_file", "write_file", "run_tests"],
    max_turns=50,
)
def on_task(event, world):
    return {"goal": event.object["goal"]}
