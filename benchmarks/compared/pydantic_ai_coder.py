"""The coder in Pydantic AI, with its capability for durable execution on DBOS."""

import os

from dbos import DBOS
from pydantic_ai import Agent, DeferredToolRequests, DeferredToolResults, UsageLimits
from pydantic_ai.durable_exec.dbos import DBOSDurability

import project

FOLDER = os.environ["CODER_FOLDER"]
LIMITS = UsageLimits(request_limit=8)
agent = Agent(
    "openai-chat:scripted",
    name="coder",
    instructions="Mend the code until its tests pass.",
    output_type=[str, DeferredToolRequests],
    capabilities=[DBOSDurability()],
)


@agent.tool_plain
@DBOS.step()
def read_file(path: str) -> str:
    """Read a file."""
    return project.read(FOLDER, path)


@agent.tool_plain(requires_approval=True)
@DBOS.step()
def write_file(path: str, content: str) -> str:
    """Write a file."""
    return project.write(FOLDER, path, content)


@agent.tool_plain
@DBOS.step()
def run_tests() -> str:
    """Run the tests."""
    return project.test(FOLDER)


@DBOS.workflow()
async def code(goal: str) -> str:
    result = await agent.run(goal, usage_limits=LIMITS)
    while isinstance(result.output, DeferredToolRequests):
        decisions = DeferredToolResults()
        for call in result.output.approvals:
            await DBOS.set_event_async("waiting", [call.tool_name, call.args])
            granted = await DBOS.recv_async("decision", timeout_seconds=7 * 24 * 3600)
            decisions.approvals[call.tool_call_id] = bool(granted)
        await DBOS.set_event_async("waiting", None)
        result = await agent.run(
            message_history=result.all_messages(),
            deferred_tool_results=decisions,
            usage=result.usage,
            usage_limits=LIMITS,
        )
    return result.output
