"""Clean-up: what a kit does after its run was cancelled, once, within a time limit.

`clean_up` fires the kit's responders of ``run.cancelled`` (`kando.kit.Kit.on_cancelled`) out of turn: all
other work of the run stays as it was when it was cancelled. It then makes the tool calls that they
emit, one after the other. Failures and timeouts are recorded as parked. After a crash it resumes
where it stopped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from kando.responders.base import AnswerPending, Responder
from kando.runtime.approval_gate import ApprovalGate
from kando.runtime.batch import Batch
from kando.runtime.commit import Committer
from kando.runtime.firing import collect
from kando.runtime.handlers import Handlers
from kando.runtime.intents import Intents
from kando.schema.events import PARKED, TOOL_CALLED, RecordedEvent

__all__ = ["clean_up"]

_Result = TypeVar("_Result")


def clean_up(
    committer: Committer, intents: Intents, handlers: Handlers, gate: ApprovalGate
) -> None:
    """Clean up after the run was cancelled, as far as that is not done yet.

    Args:
        committer: records the firings.
        intents: makes the calls.
        handlers: the responders; those that clean up among them.
        gate: holds what needs an approval; such calls are not made.
    """
    cursor = committer.cursor
    cancelled = cursor.cancelled
    if cancelled is None:
        return
    for handler in handlers.cleaning:
        end = time.monotonic() + (handler.cleanup_seconds or 0.0)
        if cursor.cleaned.isdisjoint((handler.name, *handler.was)):
            _fire(committer, gate, handler, cancelled, end)
        committer.save()
        for intent in intents.in_order():
            is_own = intent.type == TOOL_CALLED and intent.position > cancelled.position
            if is_own and gate.may_call(intent.id):
                try:
                    intents.answer_within(intent, end - time.monotonic())
                except AnswerPending:
                    # Another process makes the calls.
                    return
    committer.save()


def _fire(
    committer: Committer,
    gate: ApprovalGate,
    handler: Responder,
    cancelled: RecordedEvent,
    end: float,
) -> None:
    recorder = committer.recorder
    batch = Batch(recorder, cancelled, handler.name)

    def fire() -> int:
        outputs = gate.outputs(handler, cancelled, recorder.world)
        return collect(batch, handler, outputs, cancelled) or 0

    try:
        _within(end - time.monotonic(), fire, handler.name)
    except (Exception, SystemExit) as error:
        committer.record_failure(handler, cancelled, error, cancelled, PARKED)
        return
    # Recorded even without outputs: a clean-up happens once.
    batch.close()
    committer.record(batch, cancelled)


def _within(seconds: float, work: Callable[[], _Result], name: str) -> _Result:
    """Return the result of `work`, which runs in a thread that is abandoned after a time.

    Raises:
        TimeoutError: it did not end in time.
        BaseException: its own exception.
    """
    done: list[_Result] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="kando-clean-up", daemon=True)
    thread.start()
    thread.join(max(seconds, 0.0))
    if failed:
        raise failed[0]
    if not done:
        msg = f"{name} did not clean up within {seconds:.3g} s."
        raise TimeoutError(msg)
    return done[0]
