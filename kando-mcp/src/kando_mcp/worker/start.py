"""Start the worker process of a run within the operator's limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from kando.app.limits import default_limits
from kando.app.opened import open_run
from kando.app.status import CANCELLED, FINISHED
from kando.app.store import Store
from kando.errors import RunCancelled
from kando.settings import LLM, value_of
from kando_mcp.access import Access
from kando_mcp.worker.order import Order
from kando_mcp.worker.pool import Workers, has_worker
from kando_mcp.worker.provider import allowed_provider

__all__ = ["ensure_worker", "order_for", "require_allowed_provider"]

_Number = TypeVar("_Number", int, float)


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
    require_allowed_provider(access, store, llm)
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


def require_allowed_provider(access: Access, store: Store, llm: str | None) -> None:
    """Reject a provider that this server does not allow.

    Raises:
        UnknownPlugin: no installed plugin offers the provider.
        ConfigurationError: the provider is not allowed.
    """
    default = value_of(LLM, store.context.environ)
    allowed_provider(
        llm, default, store.context.plugins, allows_live=access.settings.allows_live_llm
    )


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
    allowed = access.settings
    # No client lifts a limit of the environment.
    operators = default_limits(store.context.environ).max_llm_cost_usd
    per_run = [allowed.max_usd_per_run, operators, budget_usd]
    return Order(
        run_id,
        store.url,
        llm,
        allowed.allows_live_llm,
        _least(per_run),
        allowed.max_usd_per_day,
        allowed.budget.limits(),
        _least([allowed.max_tokens, max_tokens]),
        allowed.max_parallel_runs,
    )


def _least(limits: Sequence[_Number | None]) -> _Number | None:
    return min((limit for limit in limits if limit is not None), default=None)
