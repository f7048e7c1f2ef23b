"""A loop that is recovered from a snapshot has the state that its whole ledger gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

from checks import Difference
from kando.runtime import Runtime
from kando.runtime.loop import Loop
from kando.runtime.snapshots import Snapshots
from kando.schema.firing import Firing

__all__ = ["compared", "state_of"]


@contextmanager
def compared(interval: int, note: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Compare each recovery from a snapshot with one from nothing.

    Args:
        interval: minimum number of events between two snapshots during a run.
        note: called for each recovery from a snapshot.
    """
    original = Snapshots.recover

    def recover(self: Snapshots, new_loop: Callable[[], Loop]) -> Loop:
        loop = original(self, new_loop)
        if loop.recorder.restored_length:
            note()
            whole = new_loop()
            whole.recover(whole.recorder.ledger.read_all())
            _expect_equal(state_of(loop), state_of(whole))
        return loop

    defaults = dict(Runtime.__init__.__kwdefaults__ or {}) | {"snapshot_interval": interval}
    with (
        mock.patch.object(Snapshots, "recover", recover),
        mock.patch.object(Runtime.__init__, "__kwdefaults__", defaults),
    ):
        yield


def _events_of(queued: Any) -> Sequence[Any]:
    """Return what an entry of the queue of a cursor stands for."""
    return queued.events() if isinstance(queued, Firing) else (queued,)


def state_of(loop: Loop) -> dict[str, Any]:
    """Return everything that a recovery restores."""
    recorder, cursor, gate = loop.recorder, loop.cursor, loop.gate
    objects, relations = recorder.world.objects, recorder.world.relations
    return {
        "state": loop.state(),
        "lookups": recorder.lookups(),
        "objects": list(objects.items()),
        "relations": list(relations.items()),
        "index": {type: list(ids) for type, ids in objects.index.items() if ids},
        "ends": {id: list(ids) for id, ids in relations.index.items() if ids},
        "former types": objects.former_types,
        "queue": [event.id for each in cursor._queue for event in _events_of(each)],
        "done": cursor.done,
        "open firing": cursor.open_firing,
        "pending": cursor.pending,
        "kit": cursor.kit,
        "orders": cursor.orders,
        "intents": gate._intents,
        "verdicts": {id: repr(each) for id, each in gate._verdicts.items()},
        "requested": gate._requested,
        "open": gate._open,
        "granted": gate._granted,
        "granted elsewhere": gate._granted_elsewhere,
        "planned": list(loop.intents.effects._waiting),
    }


def _expect_equal(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, value in wanted.items():
        if found[name] != value:
            msg = f"{name}: {found[name]!r:.600} from the snapshot, {value!r:.600} from the ledger"
            raise Difference("recovery", msg)
