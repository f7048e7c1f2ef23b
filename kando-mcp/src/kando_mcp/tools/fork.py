"""The tool that forks a run: a branch that is as its parent was, or different in what is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from mcp.server.mcpserver.context import Context
from mcp.server.mcpserver.tools import Tool
from pydantic import Field

from kando.app.store import Store
from kando.branch.fork import BranchMeta
from kando.errors import InvalidData
from kando_mcp.access import Access
from kando_mcp.results.shapes import Branch
from kando_mcp.tools.make import make_tool, writes
from kando_mcp.tools.start import BudgetUsd, Llm
from kando_mcp.tools.wait import DEFAULT_WAIT, RunId, WaitSeconds, awaited_state
from kando_mcp.worker.pool import Workers
from kando_mcp.worker.provider import refuse_files
from kando_mcp.worker.start import go_on, require_allowed

__all__ = ["fork_tool"]

_CALLS = ("llm.", "tool.")

Patch = Annotated[
    dict[str, dict[str, Any]] | None,
    Field(description="Objects to change: by id, the fields to set."),
]
Events = Annotated[
    list[dict[str, Any]] | None,
    Field(
        max_length=100,
        description='Events to begin the branch with: {"type": ..., "data": {...}, "cause": [...]}.',
    ),
]
ForkAt = Annotated[
    int, Field(ge=0, le=2**31, description="How many of its first events are shared.")
]
Continue = Annotated[bool, Field(alias="continue", description="Work on the branch at once.")]
Goal = Annotated[str | None, Field(description="A goal in addition to what is shared.")]
Model = Annotated[
    str | None, Field(description="Model that the branch asks, whatever was asked before.")
]
Fresh = Annotated[bool, Field(description="Ask anew what was answered before the fork.")]


def fork_tool(access: Access, workers: Workers) -> Tool:
    """Return the tool that forks, and has the branch worked on if that is wanted."""

    async def fork_run(
        ctx: Context,
        run_id: RunId,
        fork_at: ForkAt,
        continue_: Continue = False,
        patch: Patch = None,
        events: Events = None,
        goal: Goal = None,
        model: Model = None,
        fresh: Fresh = False,
        wait_s: WaitSeconds = DEFAULT_WAIT,
        budget_usd: BudgetUsd = None,
        llm: Llm = None,
    ) -> Branch:
        """Fork a run: a branch shares its first events and goes its own way from there.

        Forking copies nothing and calls nothing. What shall be different is recorded as the
        branch's first events. With continue the branch is worked on; answers that its parent got
        already cost nothing.
        """

        def fork(app: Store) -> BranchMeta:
            require_allowed(access, app, llm)
            _require_harmless(app, model, events or ())
            branch = app.run(run_id).fork(
                at=fork_at,
                patches=list((patch or {}).items()),
                events=events or (),
                goal=goal,
                model=model,
                llm=llm,
                fresh=fresh,
                actor="mcp",
            )
            if continue_:
                go_on(access, workers, app, branch.id, llm, budget_usd)
            meta = branch.branch_meta()
            assert meta is not None, "a fork is a branch"
            return meta

        meta = await access.ask(fork)
        branch: Branch = {
            "summary": f"branch {meta.branch_id} shares {fork_at} events with {meta.parent_run_id}",
            "branch_id": meta.branch_id,
            "parent_run_id": meta.parent_run_id,
            "fork_position": meta.fork_position,
        }
        if continue_:
            run = await awaited_state(access, workers, meta.branch_id, wait_s, ctx)
            branch["run"] = run
            branch["summary"] += f"; {run['summary']}"
        return branch

    return make_tool(fork_run, "Fork run", writes(is_open_world=True))


def _require_harmless(app: Store, model: str | None, events: Sequence[Mapping[str, Any]]) -> None:
    """Refuse changes that reach outside in a way that only a run's own responders may.

    Raises:
        ConfigurationError: the model names a file.
        InvalidData: an event asks for a call.
    """
    if model is not None:
        refuse_files(model, app.context.plugins)
    for event in events:
        if str(event.get("type")).startswith(_CALLS):
            msg = f"Events of type {event.get('type')!r:.80} are a responder's to emit."
            raise InvalidData(msg, hint="Create or patch an object that responders react to.")
