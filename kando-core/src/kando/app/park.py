"""Park a firing by hand: the run steps over one event for one responder."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from kando.app.inbox import OWN_PREFIX, Delivery, deliver
from kando.app.kits.find import kit_data
from kando.app.opened import OpenedRun
from kando.app.status import FINISHED, WAITING, status_of
from kando.app.tool_servers import responders_of
from kando.cache.llm import LLMCache
from kando.errors import ConfigurationError, InvalidData, RunCancelled
from kando.responders.llm_executor import provider_executor
from kando.runtime import Runtime

__all__ = ["park_firing"]


def park_firing(
    run: OpenedRun,
    event_id: str,
    responder: str,
    *,
    reason: str | None = None,
    by: str = "cli",
) -> Delivery:
    """Have a run step over a firing that it cannot get past.

    The process that works on the run records it. All other responders handle the event as before. If
    the responder is the executor of a request, the request is closed without an answer.

    Args:
        run: opened for writing.
        event_id: id of the event that is handled.
        responder: name of the responder that is to be stepped over.
        reason: why; `kando status` shows it.
        by: who parks the firing.

    Raises:
        EventNotFound: the run has no such event.
        NotFoundError: no such responder handles the event.
        InvalidData: the firing is not pending: it is done, parked, or waits for a person.
        RunCancelled: the run was cancelled.
        ConfigurationError: the run has no kit.
    """
    event = _runtime(run).parking_event(event_id, responder, reason, by)
    if not event.data["call"] and _is_idle(run):
        msg = f"The firing of {event.data['responder']} for {event_id} is done already."
        raise InvalidData(msg, hint=f"`kando status {run.id}` shows its state.")
    firing = json.dumps([event_id, event.data["responder"]]).encode()
    key = f"{OWN_PREFIX}park:{hashlib.sha256(firing).hexdigest()[:32]}"
    return deliver(run, event, key)


def _runtime(run: OpenedRun) -> Runtime:
    """Return a runtime that knows the responders of a run; the executors of models have one name.

    Raises:
        RunCancelled: the run was cancelled.
    """
    kit, steps = run.require_kit(), run.context.plugins.upcasters()
    responders = [*responders_of(kit, run.choices.kit), provider_executor(_no_call)]
    runtime = Runtime(
        run.ledger,
        responders,
        cache=LLMCache(max_entries=0),
        kits=[kit],
        edge_logic=(),
        kit_loaded=kit_data(kit),
        upcasters=steps,
        snapshots=run.snapshots(),
    )
    if runtime.is_cancelled:
        msg = f"{run.ledger.stream_name()} was cancelled: no firing of it is pending."
        raise RunCancelled(msg, hint="Fork it to continue from any position.")
    return runtime


def _no_call(request: dict[str, Any]) -> dict[str, Any]:
    msg = "This process makes no calls."
    raise ConfigurationError(msg, hint="Resume the run.")


def _is_idle(run: OpenedRun) -> bool:
    """Whether each firing is done: also those without outputs, which the ledger does not show.

    To find out, the pending firings are repeated. If a process has died at work on the run, that might
    kill this one too, so the ledger alone decides then.
    """
    if run.context.substrate().claim_of(run.id) is not None:
        return False
    return status_of(run).state in (FINISHED, WAITING)
