"""The worker process: `python -m kando_mcp.worker.process`, with an order on stdin."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

from kando.app.allowed_providers import open_allowed_provider
from kando.app.claims import RunClaim
from kando.app.daily_limit import DailyLimit
from kando.app.daily_spending import spent_budget
from kando.app.limits import default_limits
from kando.app.opened import open_run
from kando.app.operator import daily_limit_reached
from kando.app.slots import StoreSlots
from kando.app.status import WAITING, RunStatus
from kando.app.store import Store, open_store
from kando.app.termination import Termination
from kando.errors import KandoError
from kando.responders.budget import Budget
from kando.runtime.timers import seconds_until_due
from kando.schema.events import TIMER_FIRED, TIMER_SET, RecordedEvent
from kando.settings import GRACE_SECONDS, value_of
from kando.world.projection import due_at
from kando_mcp.settings import operator_limits
from kando_mcp.worker.order import Order, Report, decode_order, encode
from kando_mcp.worker.pool import RUNS_LANE, has_worker, runs_limit_reached

__all__ = ["main", "work"]

_POLL_SECONDS = 1.0


def main() -> None:
    """Execute the order on stdin, and write a report to stdout if it ends early."""
    body = sys.stdin.buffer.read()
    # Discard the output of kits: the server that would read it may have ended.
    report_to = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    try:
        with Termination(value_of(GRACE_SECONDS, os.environ)):
            report = work(decode_order(body))
    except ValueError:
        report = Report("no_order", "The order was truncated.", 0)
    except KeyboardInterrupt:
        # The answers of calls in flight are kept; the run can be resumed.
        sys.exit(130)
    if report is not None:
        try:
            os.write(report_to, encode(report))
        except BrokenPipeError:
            # The server has ended; the next one reads the ledger.
            return


def work(order: Order) -> Report | None:
    """Run a run until it stops.

    Args:
        order: the run, and its limits.

    Returns:
        The error that ended the work early, or None.
    """
    with open_store(order.ledger_url) as store:
        release = None
        try:
            release = _own_slot(store, order)
            return _work(store, order)
        except (Exception, SystemExit) as error:
            return _report(store, order, error)
        finally:
            if release is not None:
                release()


def _own_slot(store: Store, order: Order) -> Callable[[], None] | None:
    """Keep the place among the parallel runs that the server acquired for this process.

    Raises:
        ConfigurationError: it has ended, and others have taken all places.
    """
    limit = order.max_parallel_runs
    if limit is None:
        return None
    release = StoreSlots(store.context).inherit(RUNS_LANE, limit)
    if release is None:
        raise runs_limit_reached(limit, order.run_id)
    return release


def _work(store: Store, order: Order) -> Report | None:
    named = Budget(**order.limits)  # type: ignore[arg-type]
    at_most = named.capped_by(Budget(max_llm_cost_usd=order.max_usd))
    fallback = named.with_defaults(default_limits(store.context.environ)).fallback_usd_per_call
    limit = None
    if order.max_usd_per_day is not None:
        limit = DailyLimit(store.context, order.max_usd_per_day, fallback)
        store.context.close_later(limit.close)
    options = {} if order.max_tokens is None else {"max_tokens": order.max_tokens}
    provider = open_allowed_provider(
        open_run(store.context, order.run_id),
        order.llm,
        operator_limits(allows_live_llm=order.allows_live_llm),
        daily=limit,
        options=options,
    )
    if provider is not None:
        store.context.close_later(provider.close)
    reached: float | None = None
    substrate = store.context.substrate(read_only=False)
    seen: set[str] = set()
    while True:
        with RunClaim(store.context, order.run_id, inherits=not seen) as claim:
            run = store.run(order.run_id)
            status = run.resume(llm=provider, at_most=at_most, claim=claim).status
            while status.state == WAITING:
                if limit is not None and limit.is_reached:
                    # The run stops as for a limit of its own: no further call is within it.
                    at_most = at_most.capped_by(spent_budget(store.context, status, fallback))
                    limit.is_reached, reached = False, limit.usd
                elif status.timers:
                    _wait_for_timer(store, status)
                else:
                    break
                status = run.resume(llm=provider, at_most=at_most, claim=claim).status
        # Senders that saw our claim rely on this process to read the inbox.
        sent = {entry.key for entry in substrate.inbox(order.run_id)} - seen
        if not sent or has_worker(store, order.run_id):
            return None if reached is None else _limit_report(store, order, reached)
        seen |= sent


def _wait_for_timer(store: Store, status: RunStatus) -> None:
    """Return when a timer of the run is due, or a message has arrived in its inbox."""
    substrate = store.context.substrate(read_only=False)
    timers: dict[str, RecordedEvent] = {}
    for event in substrate.open(status.run_id).read_all():
        if event.type == TIMER_SET:
            timers[event.id] = event
        elif event.type == TIMER_FIRED:
            timers.pop(event.data.get("timer", ""), None)
    while not substrate.inbox(status.run_id):
        seconds = seconds_until_due(map(due_at, timers.values()), datetime.now(UTC))
        if not seconds:
            return
        time.sleep(min(seconds, _POLL_SECONDS))


def _limit_report(store: Store, order: Order, usd: float) -> Report:
    return Report("daily_limit", daily_limit_reached(usd), store.run(order.run_id).length())


def _report(store: Store, order: Order, error: BaseException) -> Report:
    code = error.code if isinstance(error, KandoError) else "failed"
    message = str(error) if isinstance(error, KandoError) else f"{type(error).__name__}: {error}"
    return Report(code, message, store.run(order.run_id).length())


if __name__ == "__main__":
    main()
