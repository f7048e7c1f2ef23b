"""A firing: one responder handles one event, and its outputs are one batch."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from types import GeneratorType
from typing import Any

from kando.errors import ConfigurationError
from kando.responders.base import Responder
from kando.runtime.approval_gate import ApprovalGate
from kando.runtime.batch import Batch, diverged
from kando.runtime.cursor import OpenFiring
from kando.runtime.emission import step
from kando.runtime.recorder import Recorder
from kando.schema.events import RecordedEvent
from kando.world.projection import project

__all__ = ["collect", "is_productive", "missing_responder", "repeat"]


def collect(
    batch: Batch,
    responder: Responder,
    outputs: object,
    trigger: RecordedEvent,
    present: Sequence[RecordedEvent] | None = None,
    is_within_limits: Callable[[], bool] | None = None,
) -> int | None:
    """Add the outputs of a responder to `batch`, after ``responder.fired``.

    A generator gets each event back as recorded. Without outputs the batch stays empty.

    Args:
        batch: empty.
        responder: emits the outputs.
        outputs: the result of its function.
        trigger: the event it handles.
        present: the outputs of an open firing that the ledger holds: the repeated outputs are
            compared with them and not added again, nor is ``responder.fired``. None for a whole
            firing.
        is_within_limits: called after each event; False ends the collection. None for no limits.

    Returns:
        The number of outputs, including those present; None if a limit would be exceeded.

    Raises:
        RefusedEvent: an event must not be recorded.
        ReplayDivergence: the outputs differ from those present.
    """
    count, known = 0, present or ()
    iterator: Any = outputs
    if not isinstance(outputs, GeneratorType):
        iterator = _iterator(outputs, responder)
    recorded: RecordedEvent | None = None
    while True:
        try:
            event = step(iterator, recorded)
        except StopIteration:
            break
        if event is None:
            msg = "A responder yielded None, not an event."
            raise ConfigurationError(msg, hint="Yield what make_event() or kando.emit returns.")
        if count < len(known):
            recorded = batch.checked(event, known[count])
        else:
            if count == 0 and present is None:
                batch.open()
            recorded = batch.add(event, count)
            if is_within_limits is not None and not is_within_limits():
                if isinstance(iterator, Generator):
                    iterator.close()
                return None
        count += 1
    if count < len(known):
        raise diverged(known[count], f"{responder.name} emitted {count} events")
    return count


def repeat(
    batch: Batch,
    responder: Responder,
    firing: OpenFiring,
    before: Iterable[RecordedEvent],
    gate: ApprovalGate,
    context: dict[str, Any],
) -> int:
    """Repeat a plain firing that the ledger holds in part, and return the number of its outputs.

    Args:
        batch: empty; gets the outputs that the ledger lacks.
        responder: of the firing.
        firing: its recorded part.
        before: the events before it, from which the world that it saw is projected.
        gate: holds what needs an approval.
        context: of the world.

    Raises:
        RefusedEvent: an event must not be recorded.
        ReplayDivergence: the outputs differ from those that the ledger holds.
    """
    world = project(before)
    world.context = context
    outputs = gate.outputs(responder, firing.trigger, world)
    return collect(batch, responder, outputs, firing.trigger, firing.outputs) or 0


def missing_responder(source: str, firing: OpenFiring) -> ConfigurationError:
    """Return the error for a firing that the ledger holds in part and that cannot be repeated.

    Args:
        source: of the ledger.
        firing: its recorded part.
    """
    msg = f"{source} ends inside a firing of {firing.responder!r}, but no responder has this name."
    hint = "Resume it with the kit and the provider that it was started with."
    return ConfigurationError(msg, hint=hint)


def is_productive(responder: Responder, trigger: RecordedEvent, recorder: Recorder) -> bool:
    """Whether a firing would emit anything; nothing is recorded."""
    batch = Batch(recorder, trigger, responder.name)
    outputs = responder.fn(trigger, recorder.world)
    return collect(batch, responder, outputs, trigger, is_within_limits=lambda: False) != 0


def _iterator(outputs: object, responder: Responder) -> Any:
    if outputs is None:
        return iter(())
    if isinstance(outputs, Iterable) and not isinstance(outputs, str | bytes | dict):
        return iter(outputs)
    msg = f"Responder {responder.name!r} returned a {type(outputs).__name__}, not events."
    raise ConfigurationError(msg, hint="Yield events, or return a list of them.")
