"""Slots for calls that are limited over all processes of a store, renewed while they are held."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from kando.app.claims import HEARTBEAT, lease_seconds
from kando.app.context import Context
from kando.errors import KandoError
from kando.ledger.claims import Slot, calls_lane, this_process
from kando.runtime.call_pool import Lane

__all__ = ["StoreSlots"]

# Of the lane that only marks the calls of a run.
_NO_LIMIT = 2**31


class StoreSlots:
    """Acquires slots for this process, and renews them until they are released.

    Args:
        context: the settings and the substrate.
        group: whose calls are made; empty if this process works alone.
    """

    def __init__(self, context: Context, group: str = "") -> None:
        self._substrate = context.substrate(read_only=False)
        self._seconds = lease_seconds(context)
        self._worker = this_process(group)
        self._held: dict[str, Slot] = {}
        self._is_renewing = False
        self._lock = threading.Lock()

    def acquire(self, lanes: Sequence[Lane]) -> Callable[[], None] | None:
        """Acquire a slot in each lane, and return the function that releases them.

        Returns:
            None if a lane is full; then no slot is held.

        Raises:
            StoreError: the substrate cannot be used.
        """
        return self._acquire([("calls/" + "/".join(lane), limit, 1.0) for lane, limit in lanes])

    def reserve(self, lane: str, limit: float, weight: float) -> Callable[[], None] | None:
        """Reserve a part of what a lane may hold, and return the function that gives it back.

        A reservation ends with this process.

        Args:
            lane: any text.
            limit: of the sum of all reservations in the lane, by all processes of the store.
            weight: of the reservation.

        Returns:
            None if it does not fit.

        Raises:
            StoreError: the substrate cannot be used.
        """
        return self._acquire([(lane, limit, weight)])

    def mark(self, run_id: str) -> Callable[[], None]:
        """Show all processes that this one makes a call of a run, and return the function that
        ends it.
        """
        release = self._acquire([(calls_lane(run_id), _NO_LIMIT, 1.0)])
        assert release is not None, "the lane has no limit"
        return release

    def inherit(self, lane: str, limit: float) -> Callable[[], None] | None:
        """Keep the slot that the parent process acquired for this one, or acquire one.

        Args:
            lane: any text.
            limit: how many slots of the lane may be live at once.

        Returns:
            A function that gives it back; None if the slot has ended and the lane is full.
        """
        held = [slot for slot in self._substrate.slots(lane) if slot.worker == self._worker]
        if not held:
            return self._acquire([(lane, limit, 1.0)])
        self._keep(held)
        return lambda: self._release(held)

    def _acquire(self, lanes: Sequence[tuple[str, float, float]]) -> Callable[[], None] | None:
        acquired: list[Slot] = []
        try:
            for lane, limit, weight in lanes:
                slot = self._acquired(lane, limit, weight)
                if slot is None:
                    self._release(acquired)
                    return None
                acquired.append(slot)
        except BaseException:
            self._release(acquired)
            raise
        self._keep(acquired)
        return lambda: self._release(acquired)

    def _acquired(self, lane: str, limit: float, weight: float) -> Slot | None:
        worker, seconds = self._worker, self._seconds
        if weight == 1:
            return self._substrate.acquire_slot(lane, limit, worker, seconds)
        return self._substrate.acquire_slot(lane, limit, worker, seconds, weight)

    def _release(self, slots: Sequence[Slot]) -> None:
        for slot in slots:
            with self._lock:
                self._held.pop(slot.token, None)
            # If it cannot be released, it ends with its lease.
            with suppress(KandoError):
                self._substrate.release_slot(slot)

    def _keep(self, slots: Sequence[Slot]) -> None:
        with self._lock:
            self._held |= {slot.token: slot for slot in slots}
            is_needed = bool(slots) and not self._is_renewing
            self._is_renewing = self._is_renewing or is_needed
        if is_needed:
            threading.Thread(target=self._renew, name="kando-slots", daemon=True).start()

    def _renew(self) -> None:
        """Renew the slots that are held, until none is."""
        while True:
            time.sleep(self._seconds * HEARTBEAT)
            with self._lock:
                held = [*self._held.values()]
                if not held:
                    self._is_renewing = False
                    return
            for slot in held:
                # If it fails now, the next attempt may succeed.
                with suppress(KandoError):
                    self._substrate.renew_slot(slot, self._seconds)
