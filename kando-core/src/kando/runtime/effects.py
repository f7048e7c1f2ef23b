"""Effects: calls to the outside run side by side; their answers are taken in the intents' order."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from kando.responders.base import Effect, Responder
from kando.schema.events import RecordedEvent
from kando.world.graph import World

__all__ = ["Effects"]


class Effects:
    """The calls of one run that wait to start, and those in flight.

    Args:
        limit: how many calls may be in flight at once.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: list[tuple[RecordedEvent, Effect]] = []
        self._flying: dict[str, Future[dict[str, Any]]] = {}
        self._asked: set[str] = set()
        self._pool: ThreadPoolExecutor | None = None

    @property
    def has_waiting(self) -> bool:
        """Whether a call waits for its intent to be saved."""
        return bool(self._waiting)

    def is_flying(self, intent: RecordedEvent) -> bool:
        """Whether the call for an intent has been started."""
        return intent.id in self._flying

    def want(self, intent: RecordedEvent, executor: Responder, world: World) -> None:
        """Plan the call for a recorded intent; nothing starts yet.

        An intent that is remembered, or equal to one that was asked already in this run, gets no
        call of its own: when its turn comes, the answer is there.
        """
        effect = executor.effect
        if effect is None or effect.recall(intent, world) is not None:
            return
        sameness = effect.sameness(intent, world)
        if sameness is not None:
            if sameness in self._asked:
                return
            self._asked.add(sameness)
        self._waiting.append((intent, effect))

    def start(self) -> None:
        """Start the planned calls. The caller has saved their intents."""
        if not self._waiting:
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._limit, thread_name_prefix="kando-effect")
        for intent, effect in self._waiting:
            self._flying[intent.id] = self._pool.submit(effect.call, intent)
        self._waiting.clear()

    def answer(self, intent: RecordedEvent, executor: Responder, world: World) -> dict[str, Any]:
        """Return the data that answers an intent: remembered, from its call, or called now.

        Raises:
            Exception: whatever the call raised.
        """
        effect = executor.effect
        assert effect is not None
        flying = self._flying.pop(intent.id, None)
        recalled = effect.recall(intent, world)
        if recalled is not None:
            return recalled
        return flying.result() if flying is not None else effect.call(intent)

    def close(self) -> None:
        """Forget what was planned and cancel what has not started."""
        self._waiting.clear()
        self._asked.clear()
        flying, self._flying = self._flying, {}
        for future in flying.values():
            future.cancel()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
