"""The tool that forks a run, with or without changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from mcp.server.mcpserver.context import Context
from mcp.server.mcpserver.tools import Tool
from pydantic import Field

from kando.app.allowed_providers import reject_file_argument, require_allowed_provider
from kando.app.store import Store
from kando.branch.fork import BranchMeta
from kando.errors import InvalidData
from kando_mcp.access import Access
from kando_mcp.results.shapes import Branch
from kando_mcp.tools.make import make_tool, write_annotations
from kando_mcp.tools.start import BudgetUsd, KitSettings, Llm, MaxTokens
from kando_mcp.tools.wait import DEFAULT_WAIT_SECONDS, RunId, WaitSeconds, wait_for_run
from kando_mcp.worker.pool import Workers
from kando_mcp.worker.start import ensure_worker

__all__ = ["fork_tool"]

_CALLS = ("llm.", "tool.")

Patch = Annotated[
    dict[str, dict[str, Any]] | None,
    Field(description="Objects to patch: object id to the fields to set."),
]
Events = Annotated[
    list[dict[str, Any]] | None,
    Field(
        max_length=100,
        description='First events of the branch: {"type": ..., "data": {...}, "cause": [...]}.',
    ),
]
ForkAt = Annotated[
    int | None, Field(ge=0, le=2**31, description="Number of events to share with the parent.")
]
Before = Annotated[
    str | None, Field(description="Id of the first event not to share; instead of fork_at.")
]
Continue = Annotated[bool, Field(alias="continue", description="Run the branch immediately.")]
Goal = Annotated[str | None, Field(description="An additional goal.")]
Model = Annotated[
    str | None, Field(description="Model for the branch, instead of the models named in requests.")
]
Fresh = Annotated[bool, Field(description="Ignore responses cached before the fork.")]


def fork_tool(access: Access, workers: Workers) -> Tool:
    """Return the tool that forks a run."""

    async def fork_run(
        ctx: Context,
        run_id: RunId,
        fork_at: ForkAt = None,
        before: Before = None,
        continue_: Continue = False,
        patch: Patch = None,
        events: Events = None,
        goal: Goal = None,
        model: Model = None,
        fresh: Fresh = False,
        wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS,
        budget_usd: BudgetUsd = None,
        llm: Llm = None,
        max_tokens: MaxTokens = None,
        settings: KitSettings = None,
    ) -> Branch:
        """Fork a run: the branch shares its first fork_at events, or those before an event.

        Forking copies no events and makes no calls. Changes are recorded as the first events of the
        branch. With continue, the branch runs; responses that its parent received are free.
        """

        def fork(store: Store) -> BranchMeta:
            require_allowed_provider(store.context, llm, access.settings.limits)
            _reject_outside_effects(access, store, model, events or ())
            branch = store.run(run_id).fork(
                at=fork_at,
                before=before,
                patches=list((patch or {}).items()),
                events=events or (),
                goal=goal,
                model=model,
                llm=llm,
                fresh=fresh,
                settings=settings,
                actor="mcp",
            )
            if continue_:
                ensure_worker(access, workers, store, branch.id, llm, budget_usd, max_tokens)
            meta = branch.branch_meta()
            assert meta is not None, "a fork is a branch"
            return meta

        meta = await access.call(fork)
        branch: Branch = {
            "summary": f"branch {meta.branch_id} shares {meta.fork_position} events with"
            f" {meta.parent_run_id}",
            "branch_id": meta.branch_id,
            "parent_run_id": meta.parent_run_id,
            "fork_position": meta.fork_position,
        }
        if continue_:
            run = await wait_for_run(access, workers, meta.branch_id, wait_s, ctx)
            branch["run"] = run
            branch["summary"] += f"; {run['summary']}"
        return branch

    return make_tool(fork_run, "Fork run", write_annotations(is_open_world=True))


def _reject_outside_effects(
    access: Access, store: Store, model: str | None, events: Sequence[Mapping[str, Any]]
) -> None:
    """Reject changes that could read a file or make a call.

    Raises:
        ConfigurationError: the model could be the path of a file.
        InvalidData: an event requests or answers a call.
    """
    if model is not None:
        reject_file_argument(model, store.context.plugins, access.settings.limits)
    for event in events:
        if str(event.get("type")).startswith(_CALLS):
            msg = f"Only responders may emit events of type {event.get('type')!r:.80}."
            raise InvalidData(msg, hint="Create or patch an object to which responders react.")
