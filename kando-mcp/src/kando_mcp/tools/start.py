"""The tools that start, resume and cancel runs."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server.mcpserver.context import Context
from mcp.server.mcpserver.tools import Tool
from pydantic import Field

from kando.app.allowed_providers import require_allowed_provider
from kando.app.store import Store
from kando_mcp.access import Access
from kando_mcp.results.shapes import RunState
from kando_mcp.tools.make import make_tool, write_annotations
from kando_mcp.tools.wait import DEFAULT_WAIT_SECONDS, RunId, WaitSeconds, wait_for_run
from kando_mcp.worker.order import Order
from kando_mcp.worker.pool import Workers, require_place
from kando_mcp.worker.start import ensure_worker, order_for

__all__ = [
    "BudgetUsd",
    "KitSettings",
    "Llm",
    "MaxTokens",
    "cancel_tool",
    "resume_tool",
    "start_tool",
]


BudgetUsd = Annotated[
    float | None,
    Field(
        ge=0,
        allow_inf_nan=False,
        description="Limit of the LLM cost of the whole run, in US dollars.",
    ),
]
Llm = Annotated[
    str | None,
    Field(description="LLM provider: a name from list_kits, or PROVIDER:MODEL."),
]
KitSettings = Annotated[
    dict[str, Any] | None,
    Field(description="Kit settings by name."),
]
MaxTokens = Annotated[
    int | None,
    Field(ge=1, description="Token limit of each answer."),
]


def start_tool(access: Access, workers: Workers) -> Tool:
    """Return the tool that starts a run."""

    async def start_run(
        ctx: Context,
        kit: Annotated[str, Field(description="Name of a kit from list_kits.")],
        goal: Annotated[
            str | None,
            Field(description="The goal in words. Required, except with demo."),
        ] = None,
        demo: Annotated[
            bool,
            Field(description="Run the kit's demo with its own input and answers, at no cost."),
        ] = False,
        wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS,
        budget_usd: BudgetUsd = None,
        llm: Llm = None,
        max_tokens: MaxTokens = None,
        settings: KitSettings = None,
        labels: Annotated[
            dict[str, str] | None, Field(description="Labels, to find it by.")
        ] = None,
    ) -> RunState:
        """Start a run of a kit with a goal.

        The run continues in a separate process after this call, and even after the host ends. The
        result is its state after at most wait_s seconds. Its run_id identifies it in other tools.
        """

        def start(store: Store) -> str:
            # A forbidden provider must be rejected before the run is created.
            require_allowed_provider(store.context, llm, access.settings.limits)
            require_place(store, access.settings.max_parallel_runs)
            started = store.start(
                kit, goal, demo=demo, settings=settings, labels=labels, work=False
            )
            run_id = started.id
            order = order_for(access, store, run_id, llm, budget_usd, max_tokens)
            workers.start(store, order)
            return run_id

        run_id = await access.call(start)
        return await wait_for_run(access, workers, run_id, wait_s, ctx)

    return make_tool(start_run, "Start run", write_annotations(is_open_world=True))


def resume_tool(access: Access, workers: Workers) -> Tool:
    """Return the tool that resumes a run."""

    async def resume_run(
        ctx: Context,
        run_id: RunId,
        wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS,
        budget_usd: BudgetUsd = None,
        llm: Llm = None,
        max_tokens: MaxTokens = None,
    ) -> RunState:
        """Resume a run or branch where it stopped; completed steps are not repeated.

        Sends requests that are still unanswered. Does nothing if the run is running or finished.
        """
        known = await access.call(
            lambda store: ensure_worker(access, workers, store, run_id, llm, budget_usd, max_tokens)
        )
        return await wait_for_run(access, workers, known, wait_s, ctx)

    annotations = write_annotations(is_idempotent=True, is_open_world=True)
    return make_tool(resume_run, "Resume run", annotations)


def message_tool(access: Access, workers: Workers) -> Tool:
    """Return the tool that continues a conversation of a run."""

    async def send_message(
        ctx: Context,
        run_id: RunId,
        text: Annotated[str, Field(description="What is said.")],
        attachments: Annotated[
            list[dict[str, Any]] | None,
            Field(description='Images, files: {"type", "media_type", "data": base64}.'),
        ] = None,
        about: Annotated[str | None, Field(description="Object of the conversation.")] = None,
        wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS,
    ) -> RunState:
        """Continue the conversation of a run. The run resumes; `query_world` shows the answer."""

        def send(store: Store) -> str:
            require_allowed_provider(store.context, None, access.settings.limits)
            run = store.run(run_id)
            run.say(text, attachments=attachments or (), about=about or None, actor="mcp")
            return ensure_worker(access, workers, store, run_id, None, None)

        known = await access.call(send)
        return await wait_for_run(access, workers, known, wait_s, ctx)

    return make_tool(send_message, "Send message", write_annotations(is_open_world=True))


def cancel_tool(access: Access, workers: Workers) -> Tool:
    """Return the tool that cancels a run."""

    async def cancel_run(ctx: Context, run_id: RunId, wait_s: WaitSeconds = 10) -> RunState:
        """Cancel a run permanently after its current step. It can still be read and forked."""

        def cancel(store: Store) -> str:
            delivery = store.run(run_id).cancel()
            if store.context.substrate().inbox(delivery.run_id):
                # If the run has no worker, start one that records the message.
                workers.start(store, Order(delivery.run_id, store.url))
            return delivery.run_id

        known = await access.call(cancel)
        return await wait_for_run(access, workers, known, wait_s, ctx)

    annotations = write_annotations(is_destructive=True, is_idempotent=True)
    return make_tool(cancel_run, "Cancel run", annotations)
