"""Start the worker process of a run within the operator's limits."""

from __future__ import annotations

from kando.app.allowed_providers import require_allowed_provider
from kando.app.opened import open_run
from kando.app.status import CANCELLED, FINISHED
from kando.app.store import Store
from kando.errors import RunCancelled
from kando_mcp.access import Access
from kando_mcp.worker.order import Order
from kando_mcp.worker.pool import Workers, has_worker

__all__ = ["ensure_worker", "order_for"]


def ensure_worker(
    access: Access,
    workers: Workers,
    store: Store,
    run: str,
    llm: str | None,
    budget_usd: float | None,
    max_tokens: int | None = None,
) -> str:
    """Start a worker for a run, unless it is running or finished, and return the run's id.

    Raises:
        RunCancelled: the run was cancelled.
        ConfigurationError: the run has no kit, its provider is not allowed, or as many runs are
            running as may.
    """
    require_allowed_provider(store.context, llm, access.settings.limits)
    named = store.run(run)
    run_id = named.id
    if has_worker(store, run_id):
        return run_id
    status = named.status()
    if status.state == CANCELLED:
        msg = f"{named.source} was cancelled."
        raise RunCancelled(msg, hint="fork_run continues from any of its positions.")
    if status.state == FINISHED:
        return run_id
    open_run(store.context, run_id).require_kit()
    workers.start(store, order_for(access, store, run_id, llm, budget_usd, max_tokens))
    return run_id


def order_for(
    access: Access,
    store: Store,
    run_id: str,
    llm: str | None,
    budget_usd: float | None,
    max_tokens: int | None = None,
) -> Order:
    """Return the order for the worker of a run.

    Args:
        access: the operator's limits.
        store: the store of the run.
        run_id: id of the run.
        llm: provider given by the client.
        budget_usd: cost limit given by the client.
        max_tokens: limit of each answer given by the client.
    """
    allowed = access.settings.limits
    return Order(
        run_id,
        store.url,
        llm,
        allowed.allows_live_llm,
        allowed.usd_of_run(store.context.environ, budget_usd),
        allowed.max_usd_per_day,
        allowed.budget.limits(),
        allowed.tokens_of_answer(max_tokens),
        access.settings.max_parallel_runs,
    )
