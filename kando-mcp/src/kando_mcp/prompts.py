"""Prompts: what a person picks in the host to have a run looked into."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.context import Context
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, GetPromptResult, InputRequiredResult
from pydantic import Field

from kando_mcp.results.paging import clip

__all__ = ["PromptServer", "add_prompts"]


class PromptServer(MCPServer[Any]):
    """A server that says what is wrong with a request for a prompt, as the protocol wants it."""

    async def get_prompt(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        context: Context[Any, Any] | None = None,
    ) -> GetPromptResult | InputRequiredResult:
        """Return a prompt; see `mcp.server.MCPServer.get_prompt`.

        Raises:
            MCPError: there is no such prompt, or an argument is missing.
        """
        prompts = {prompt.name: prompt for prompt in await self.list_prompts()}
        if name not in prompts:
            msg = f"There is no prompt {clip(name, 100)!r}. There is: {', '.join(prompts)}."
            raise MCPError(INVALID_PARAMS, msg)
        wanted = [each.name for each in prompts[name].arguments or () if each.required]
        missing = [each for each in wanted if each not in (arguments or {})]
        if missing:
            msg = f"{name} needs {', '.join(wanted)}; {', '.join(missing)} is missing."
            raise MCPError(INVALID_PARAMS, msg)
        return await super().get_prompt(name, dict(arguments or {}), context)


def add_prompts(server: MCPServer) -> None:
    """Give a server its prompts."""

    @server.prompt(title="Debug a run", description="Find out why a run failed, stopped or waits.")
    def debug_run(
        run_id: Annotated[str, Field(description="Id of the run or branch.")],
    ) -> str:
        return (
            f"Find out why run {run_id} is in the state it is in.\n"
            f"1. get_run(run_id={run_id}): its state, its problem and its last event.\n"
            "2. explain_trace of the last event, and of each event it names: what led there.\n"
            f"3. query_world(run_id={run_id}): which objects are unfinished.\n"
            "Say what happened, at which event, and why; then which tool call goes on from "
            "there. Change nothing before I agree."
        )

    @server.prompt(
        title="Compare branches", description="Say how two runs or branches differ, and since when."
    )
    def compare_branches(
        run_a: Annotated[str, Field(description="Id of the first, usually the parent.")],
        run_b: Annotated[str, Field(description="Id of the second, usually the branch.")],
    ) -> str:
        return (
            f"Compare {run_a} with {run_b}.\n"
            f"1. get_run of both: state, cost and, for a branch, where it was forked.\n"
            f"2. diff_branches(run_a={run_a}, run_b={run_b}), all pages.\n"
            "3. For each difference that matters, explain_trace in the run that has it.\n"
            "Say which difference is the first cause of the others, and which result is better "
            "supported. Name ids."
        )

    @server.prompt(
        title="Explain a result", description="Explain why a run came to a result, step by step."
    )
    def explain_result(
        run_id: Annotated[str, Field(description="Id of the run or branch.")],
        id: Annotated[str, Field(description="Id of the object, relation or event to explain.")],
    ) -> str:
        return (
            f"Explain how run {run_id} came to {id}.\n"
            f"1. explain_trace(event_id={id}, run_id={run_id}): the chain back to its goal.\n"
            f"2. query_world(run_id={run_id}): the objects that the chain created.\n"
            "Tell it from the goal to the result, one step a line, each with its event id. Say "
            "which steps came from a model and which followed from rules."
        )
