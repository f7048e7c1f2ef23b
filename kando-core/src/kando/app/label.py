"""Label runs: change the names and values by which people find them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping

from kando.app.claims import RunClaim
from kando.app.inbox import Delivery, SubstrateInbox
from kando.app.opened import OpenedRun
from kando.errors import RunBusy
from kando.ledger.groups import Job
from kando.ledger.inbox import InboxEntry
from kando.runtime import Runtime
from kando.views.labels import check_changes, labels_event

__all__ = ["label_run"]

#: How long a change waits for the process that works on the run, in seconds. That process reads the
#: inbox between two firings, and about once a second while a call is in flight.
_PATIENCE_SECONDS = 2.0
_POLL_SECONDS = 0.05


def label_run(run: OpenedRun, changes: Mapping[str, str | None], *, actor: str = "cli") -> Delivery:
    """Change labels of a run; its state stays what it is.

    The change is put into the inbox of the run. The process that works on the run records it. If
    none does, it is recorded at once, without the kit, and no work on the run is done.

    Args:
        run: opened for writing.
        changes: the new values by name; None removes a label.
        actor: who changes them.

    Raises:
        InvalidData: a name or a value is malformed, there are no changes, or the run would have more
            labels than a run may have.
    """
    event = labels_event(check_changes(changes, run.labels), actor)
    entry = InboxEntry(secrets.token_hex(8), event)
    substrate = run.context.substrate(read_only=False)
    is_new = substrate.deliver(run.id, entry)
    last = substrate.last_claim(run.id)
    # The claim of its group, so that later messages still wake the workers of that group.
    group = last.worker.group if last is not None else ""
    until = time.monotonic() + _PATIENCE_SECONDS
    while any(each.key == entry.key for each in substrate.inbox(run.id)):
        try:
            with RunClaim(run.context, run.id, group=group) as claim:
                _record(OpenedRun(run.context, run.ledger), claim)
        except RunBusy:
            if time.monotonic() >= until:
                break
            time.sleep(_POLL_SECONDS)
    else:
        return Delivery(run.id, entry.key, is_new)
    if group:
        substrate.group(group).offer(Job(run.id))
    return Delivery(run.id, entry.key, is_new)


def _record(run: OpenedRun, claim: RunClaim) -> None:
    """Record the labels that wait in the inbox of a run that this process has claimed."""
    rest = run.snapshot.rest() if run.snapshot is not None else None
    runtime = Runtime(
        run.ledger,
        [],
        edge_logic=(),
        inbox=SubstrateInbox(run.context.substrate(read_only=False), run.id),
        upcasters=run.context.plugins.upcasters(),
        require_claim=claim.require,
    )
    runtime.record_labels()
    store = run.snapshots(read_only=False)
    if rest is None or store is None:
        return
    # No responder handles labels: a kit that had nothing left to do has nothing to do now.
    labelled = OpenedRun(run.context, run.ledger).snapshot
    if labelled is not None and not labelled.is_inherited:
        store.put(labelled.resting(rest.kit, rest.installed))
