"""Have a run worked on, within what the operator allows."""

from __future__ import annotations

from kando.app.opened import open_run
from kando.app.status import CANCELLED, FINISHED
from kando.app.store import Store
from kando.errors import RunCancelled
from kando_mcp.access import Access
from kando_mcp.spending import allowance
from kando_mcp.worker.order import Order
from kando_mcp.worker.pool import Workers, is_at_work
from kando_mcp.worker.provider import allowed_provider

__all__ = ["go_on", "order_for", "require_allowed"]


def go_on(
    access: Access,
    workers: Workers,
    app: Store,
    run: str,
    llm: str | None,
    budget_usd: float | None,
) -> str:
    """Have a run worked on, unless it is, and return its id.

    Raises:
        RunCancelled: it was cancelled.
        ConfigurationError: it has no kit, or its provider may not answer.
    """
    require_allowed(access, app, llm)
    named = app.run(run)
    run_id = named.id
    if is_at_work(app, run_id):
        return run_id
    status = named.status()
    if status.state == CANCELLED:
        msg = f"{named.source} was cancelled."
        raise RunCancelled(msg, hint="fork_run goes on from any of its positions.")
    if status.state == FINISHED and not app.context.substrate().inbox(run_id):
        return run_id
    open_run(app.context, run_id).require_kit()
    workers.start(app, order_for(access, app, run_id, llm, budget_usd, status.llm_cost_usd))
    return run_id


def require_allowed(access: Access, app: Store, llm: str | None) -> None:
    """Refuse a provider that the client must not name."""
    default = app.context.environ.get("KANDO_LLM")
    allowed_provider(llm, default, app.context.plugins, allows_live=access.settings.allows_live_llm)


def order_for(
    access: Access,
    app: Store,
    run_id: str,
    llm: str | None,
    budget_usd: float | None,
    spent: float,
) -> Order:
    allowed = access.settings
    limit = allowance(
        app,
        access.spending,
        spent,
        budget_usd,
        allowed.max_usd_per_run,
        allowed.max_usd_per_day,
    )
    return Order(run_id, app.url, llm, allowed.allows_live_llm, limit, allowed.max_usd_per_day)
