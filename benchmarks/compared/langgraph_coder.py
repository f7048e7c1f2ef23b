"""The coder in LangGraph: an agent of LangChain, which is a graph, with middleware."""

import os

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware, ModelCallLimitMiddleware
from langchain_openai import ChatOpenAI

import project

FOLDER = os.environ["CODER_FOLDER"]


def read_file(path: str) -> str:
    """Read a file."""
    return project.read(FOLDER, path)


def write_file(path: str, content: str) -> str:
    """Write a file."""
    return project.write(FOLDER, path, content)


def run_tests() -> str:
    """Run the tests."""
    return project.test(FOLDER)


def coder(checkpointer):
    return create_agent(
        ChatOpenAI(model="scripted"),
        tools=[read_file, write_file, run_tests],
        system_prompt="Mend the code until its tests pass.",
        middleware=[
            HumanInTheLoopMiddleware(interrupt_on={"write_file": True}),
            ModelCallLimitMiddleware(thread_limit=8, exit_behavior="end"),
        ],
        checkpointer=checkpointer,
    )
