"""Prompts that a person selects in the host to have a run examined."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.context import Context
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, GetPromptResult, InputRequiredResult
from pydantic import Field

from kando_mcp.results.paging import truncate

__all__ = ["PromptServer", "add_prompts"]


class PromptServer(MCPServer[Any]):
    """A server that answers a wrong prompt request with the protocol's error."""

    async def get_prompt(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        context: Context[Any, Any] | None = None,
    ) -> GetPromptResult | InputRequiredResult:
        """Return a prompt; see `mcp.server.MCPServer.get_prompt`.

        Raises:
            MCPError: the prompt does not exist, or an argument is missing.
        """
        prompts = {prompt.name: prompt for prompt in await self.list_prompts()}
        if name not in prompts:
            msg = f"Unknown prompt {truncate(name, 100)!r}. The prompts are {', '.join(prompts)}."
            raise MCPError(INVALID_PARAMS, msg)
        wanted = [each.name for each in prompts[name].arguments or () if each.required]
        missing = [each for each in wanted if each not in (arguments or {})]
        if missing:
            msg = f"{name} requires {', '.join(wanted)}. Missing: {', '.join(missing)}."
            raise MCPError(INVALID_PARAMS, msg)
        return await super().get_prompt(name, dict(arguments or {}), context)


def add_prompts(server: MCPServer) -> None:
    """Add the prompts to a server."""

    @server.prompt(
        title="Debug a run", description="Find out why a run failed, stopped or is waiting."
    )
    def debug_run(
        run_id: Annotated[str, Field(description="Id of the run or branch.")],
    ) -> str:
        return (
            f"Find out why run {run_id} is in the state it is in.\n"
            f"1. get_run(run_id={run_id}): its state, its problem and its last event.\n"
            "2. explain_trace of the last event, and of each event it names: what led to it.\n"
            f"3. query_world(run_id={run_id}): which objects are unfinished.\n"
            "Report what happened, at which event, and why. Then propose the tool call that "
            "resolves it. Change nothing before I agree."
        )

    @server.prompt(
        title="Compare branches", description="Find where and why two runs or branches diverge."
    )
    def compare_branches(
        run_a: Annotated[
            str, Field(description="Id of the first run or branch, usually the parent.")
        ],
        run_b: Annotated[
            str, Field(description="Id of the second run or branch, usually the branch.")
        ],
    ) -> str:
        return (
            f"Compare {run_a} with {run_b}.\n"
            "1. get_run of both: state, cost and, for a branch, the fork position.\n"
            f"2. diff_branches(run_a={run_a}, run_b={run_b}), all pages.\n"
            "3. For each difference that matters, explain_trace in the run that has it.\n"
            "Report which difference caused the others, and which result is better supported. "
            "Cite ids."
        )

    @server.prompt(
        title="Explain a result", description="Explain step by step how a run produced a result."
    )
    def explain_result(
        run_id: Annotated[str, Field(description="Id of the run or branch.")],
        id: Annotated[str, Field(description="Id of the object, relation or event to explain.")],
    ) -> str:
        return (
            f"Explain how run {run_id} produced {id}.\n"
            f"1. explain_trace(event_id={id}, run_id={run_id}): the chain back to its goal.\n"
            f"2. query_world(run_id={run_id}): the objects that the chain created.\n"
            "List the steps from the goal to the result, one per line with its event id. State "
            "which steps came from a model and which followed from rules."
        )
