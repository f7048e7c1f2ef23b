"""The process that works on one run: `python -m kando_mcp.worker.process`, with an order on stdin."""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime

from kando.app.status import WAITING, RunStatus
from kando.app.store import Store, open_store
from kando.errors import ConcurrencyError, KandoError
from kando.ledger.notice import this_process
from kando.responders.budget import Budget
from kando.runtime.timers import seconds_until_due
from kando.schema.events import TIMER_FIRED, TIMER_SET, RecordedEvent
from kando_mcp.worker.order import Order, Report, decode_order, encode
from kando_mcp.worker.provider import answering_provider

__all__ = ["main", "work"]

_LOOK_SECONDS = 1.0


def main() -> None:
    """Carry out the order on stdin and say on stdout what ended it, if anything did."""
    body = sys.stdin.buffer.read()
    # What kits print goes nowhere; nobody may be there to read it.
    answer = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    try:
        report = work(decode_order(body))
    except ValueError:
        report = Report("no_order", "The order was not complete.", 0)
    if report is not None:
        try:
            os.write(answer, encode(report))
        except BrokenPipeError:
            # The server has gone; the ledger tells its successor.
            return


def work(order: Order) -> Report | None:
    """Work on a run until nothing is left to do.

    Args:
        order: which run, and within which limits.

    Returns:
        What ended the work too early, or None.
    """
    with open_store(order.ledger_url) as app:
        try:
            _refuse_second_worker(app, order.run_id)
            _work(app, order)
        except (Exception, SystemExit) as error:
            return _told(app, order, error)
    return None


def _refuse_second_worker(app: Store, run_id: str) -> None:
    notice = app.context.substrate().worker(run_id)
    if notice is not None and notice != this_process() and notice.may_be_alive():
        msg = f"Process {notice.pid} of {notice.host} is at work on {run_id}."
        raise ConcurrencyError(msg, hint="Wait for it.")


def _work(app: Store, order: Order) -> None:
    provider = answering_provider(
        app,
        order.run_id,
        order.llm,
        allows_live=order.allows_live_llm,
        max_usd_per_day=order.max_usd_per_day,
    )
    at_most = Budget(max_llm_cost_usd=order.max_usd)
    substrate = app.context.substrate(read_only=False)
    heard: set[str] = set()
    while True:
        status = app.run(order.run_id).resume(llm=provider, at_most=at_most).status
        if status.state == WAITING and status.timers:
            # With a notice on the door: nobody else need wait for the same timer.
            substrate.register_worker(order.run_id, this_process())
            _wait_for_timer(app, status)
            continue
        # Who saw our notice until now has relied on us to hear what was sent to the run.
        sent = {entry.key for entry in substrate.inbox(order.run_id)} - heard
        if not sent:
            return
        heard |= sent


def _wait_for_timer(app: Store, status: RunStatus) -> None:
    """Return when a timer of the run is due, or something was sent to it."""
    substrate = app.context.substrate(read_only=False)
    timers: dict[str, RecordedEvent] = {}
    for event in substrate.open(status.run_id).read_all():
        if event.type == TIMER_SET:
            timers[event.id] = event
        elif event.type == TIMER_FIRED:
            timers.pop(event.data.get("timer", ""), None)
    while not substrate.inbox(status.run_id):
        seconds = seconds_until_due(timers.values(), datetime.now(UTC))
        if not seconds:
            return
        time.sleep(min(seconds, _LOOK_SECONDS))


def _told(app: Store, order: Order, error: BaseException) -> Report:
    code = error.code if isinstance(error, KandoError) else "failed"
    what = str(error) if isinstance(error, KandoError) else f"{type(error).__name__}: {error}"
    return Report(code, what, app.run(order.run_id).length())


if __name__ == "__main__":
    main()
